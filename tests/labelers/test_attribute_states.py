"""Sides and sizes as columns of their own."""

from __future__ import annotations

import numpy as np
import pytest

from labelers.errors import UserError
from labelers.rules import RuleLabeler

SIDED = RuleLabeler(attributes=("side", "size"))


def states(row: np.ndarray) -> dict[str, float]:
    names = ("left", "right", "small", "large")
    found = {name: float(row[SIDED.observations.index(f"Pleural Effusion ({name})")]) for name in names}
    return {name: state for name, state in found.items() if not np.isnan(state)}


@pytest.mark.parametrize(
    ("text", "sentence", "report"),
    [
        ("Large left pleural effusion.", {"left": 1, "large": 1}, {"left": 1, "right": 0, "small": 0, "large": 1}),
        ("Small bilateral effusions.", {"left": 1, "right": 1, "small": 1},
         {"left": 1, "right": 1, "small": 1, "large": 0}),
        ("Pleural effusion.", {}, {}),
        ("No right effusion.", {"right": 0}, {"right": 0}),
        ("Possible left effusion.", {"left": -1}, {"left": -1}),
        ("Moderate right effusion.", {"right": 1}, {"left": 0, "right": 1, "small": 0, "large": 0}),
        ("Left effusion. Small right effusion.", {"left": 1, "right": 1, "small": 1},
         {"left": 1, "right": 1, "small": 1, "large": 0}),
    ],
)  # fmt: skip
def test_a_report_denies_the_other_side_and_a_sentence_does_not(
    text: str, sentence: dict[str, float], report: dict[str, float]
) -> None:
    assert states(SIDED.label_sentences([text])[0]) == sentence
    assert states(SIDED([text])[0]) == report


def test_observations_stay_as_they_are() -> None:
    plain, texts = RuleLabeler(), ["Large left effusion. No pneumothorax.", ""]
    both = SIDED(texts)
    assert SIDED.observations[: len(plain.observations)] == plain.observations
    assert both.shape == (2, len(SIDED.observations))
    np.testing.assert_array_equal(both[:, : len(plain.observations)], plain(texts))
    np.testing.assert_array_equal(SIDED.labels_and_findings(texts)[0], both)


def test_an_unknown_attribute_is_refused() -> None:
    with pytest.raises(UserError, match="found colour; choose from side, size"):
        RuleLabeler(attributes=("colour",))
