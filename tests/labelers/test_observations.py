from __future__ import annotations

import numpy as np
import pytest

from labelers.observations import LabelPolicy, check_states, states_from_names

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
