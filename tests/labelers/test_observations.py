from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelers.observations import NEGATIVE_POLICIES, UNCERTAIN_POLICIES, LabelPolicy, check_states, states_from_names

STATES = np.array([[1.0, 0.0, -1.0, np.nan]])


@pytest.mark.parametrize(
    ("uncertain", "negative", "expected"),
    [
        ("zero", "absent", [1, 0, 0, 0]),
        ("one", "absent", [1, 0, 1, 0]),
        ("ignore", "opposite", [1, -1, 0, 0]),
        ("soft", "opposite", [1, -1, 0.5, 0]),
        ("zero", "opposite", [1, -1, -1, 0]),
    ],
)
def test_policies(uncertain: str, negative: str, expected: list[float]) -> None:
    vectors = LabelPolicy(uncertain=uncertain, negative=negative)(STATES)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [expected]


def test_unknown_policy_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="zero, one, ignore, soft"):
        LabelPolicy(uncertain="maybe", negative="absent")


def test_other_numbers_are_no_states() -> None:
    with pytest.raises(ValueError, match=r"Found states \[2.0\]"):
        check_states(np.array([1.0, 2.0]))


def test_states_from_names_joins_synonyms_and_leaves_silent_rows_open() -> None:
    columns = states_from_names([{"Mass"}, {"Nodule", "Effusion"}, {"No Finding"}, set()])
    assert columns["Lung Lesion"][:3].tolist() == [1, 1, 0]
    assert columns["Pleural Effusion"][:3].tolist() == [0, 1, 0]
    assert all(np.isnan(column[3]) for column in columns.values())


@given(
    states=st.lists(st.sampled_from([1.0, 0.0, -1.0, np.nan]), min_size=1, max_size=20),
    uncertain=st.sampled_from(UNCERTAIN_POLICIES), negative=st.sampled_from(NEGATIVE_POLICIES),
)  # fmt: skip
def test_a_policy_reads_each_state_alone_and_keeps_claims_and_silence(
    states: list[float], uncertain: str, negative: str
) -> None:
    policy, column = LabelPolicy(uncertain=uncertain, negative=negative), np.array(states)[:, None]
    vectors = policy(column)
    assert vectors.tolist() == [policy(row[None])[0].tolist() for row in column]
    assert (vectors[column == 1] == 1).all()
    assert (vectors[np.isnan(column)] == 0).all()
    assert (vectors[column == 0] == (-1 if negative == "opposite" else 0)).all()
    assert set(np.unique(vectors[column == -1])) <= {-1, 0, 0.5, 1}
