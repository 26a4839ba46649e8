from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labelers.flips import Flip, flips
from labelers.observations import CHEXPERT14
from labelers.rules import RuleLabeler

LABELER = RuleLabeler()
TABLE = Path(__file__).parent / "sentences.txt"


@pytest.mark.parametrize(
    ("sentence", "observation", "claimed", "expected"),
    [
        ("There is a small left pneumothorax.", "Pneumothorax", True, "There is no small left pneumothorax."),
        ("Moderate cardiomegaly.", "Cardiomegaly", True, "No moderate cardiomegaly."),
        ("The heart is enlarged.", "Cardiomegaly", True, "The heart is not enlarged."),
        ("Cardiomegaly and vascular congestion.", "Edema", True, "Cardiomegaly and no vascular congestion."),
        ("Heart size is normal.", "Cardiomegaly", False, "Heart size is enlarged."),
        ("No fracture.", "Fracture", False, "There is fracture."),
        ("No lobar pneumonia is present.", "Pneumonia", False, "Lobar pneumonia is present."),
        ("There is no evidence of acute infiltrate.", "Lung Opacity", False, "There is acute infiltrate."),
        ("Atelectasis without effusion.", "Pleural Effusion", False, "Atelectasis with effusion."),
    ],
)
def test_flips_by_hand(sentence: str, observation: str, claimed: bool, expected: str) -> None:
    assert flips([sentence], LABELER) == [Flip(0, observation, claimed, expected)]


@pytest.mark.parametrize(
    "sentence", ["No pneumothorax, effusion or consolidation.", "The patient is rotated.", "Possible pneumonia.", ""]
)
def test_what_cannot_be_turned_round_alone_is_left_out(sentence: str) -> None:
    assert flips([sentence], LABELER) == []


def test_exactly_one_state_is_turned_round() -> None:
    """Over every sentence of the labeler's own table, read again without the code under test."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    sentences = [line.partition("|")[0].strip() for line in lines if "|" in line and not line.startswith("#")]
    found = flips(sentences, LABELER)
    assert len(found) > 50
    assert {flip.claimed for flip in found} == {True, False}
    columns = [j for j, name in enumerate(CHEXPERT14) if name != "No Finding"]
    before = LABELER.label_sentences([sentences[flip.sentence] for flip in found])[:, columns]
    after = LABELER.label_sentences([flip.text for flip in found])[:, columns]
    for flip, old, new in zip(found, before, after, strict=True):
        changed = [
            CHEXPERT14[columns[j]] for j in np.flatnonzero(np.nan_to_num(old, nan=9) != np.nan_to_num(new, nan=9))
        ]
        assert changed == [flip.observation], flip
        place = columns.index(CHEXPERT14.index(flip.observation))
        assert (old[place], new[place]) == ((1, 0) if flip.claimed else (0, 1))
