"""Rewordings say the same: the states of every one are those of its sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labelers.rewordings import rewordings
from labelers.rules import RuleLabeler

LABELER = RuleLabeler()
TABLE = Path(__file__).parent / "sentences.txt"
SENTENCES = [line.split("|")[0].strip() for line in TABLE.read_text(encoding="utf-8").splitlines() if "|" in line][:200]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("No pneumothorax.", "Negative for pneumothorax."),
        ("There is a large left effusion.", "Large left effusion is seen."),
        ("No edema, effusion or fracture.", "No fracture, effusion or edema."),
        ("The heart is enlarged.", "The heart is increased in size."),
    ],
)
def test_what_is_written_instead(sentence: str, expected: str) -> None:
    assert expected in rewordings(sentence, LABELER)


def test_states_are_kept() -> None:
    pairs = [(text, other) for text in SENTENCES for other in rewordings(text, LABELER)]
    assert len(pairs) > 100
    before, after = (LABELER.label_sentences([pair[side] for pair in pairs]) for side in (0, 1))
    np.testing.assert_array_equal(before, after)
    assert all(text != other for text, other in pairs)


def test_a_sentence_that_the_rules_do_not_know_stays_alone() -> None:
    assert rewordings("Comparison is made to yesterday.", LABELER) == []
