from __future__ import annotations

import pytest

from labelers.lines import unwrap
from labelers.sentences import MAX_CHARACTERS, sentence_spans


def cut(text: str) -> list[str]:
    plain = unwrap(text)
    return [text[a:b] for a, b in sentence_spans(plain)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No effusion. Heart is normal.", ["No effusion.", "Heart is normal."]),
        ("no effusion. heart is normal.", ["no effusion.", "heart is normal."]),
        ("A 1.7 cm nodule. Stable.", ["A 1.7 cm nodule.", "Stable."]),
        ("1. Small effusion. 2. No pneumothorax.", ["Small effusion.", "No pneumothorax."]),
        ("1.Small effusion 2. No pneumothorax", ["Small effusion", "No pneumothorax"]),
        ("Seen by Dr. XXXX. No change.", ["Seen by Dr. XXXX.", "No change."]),
        ("Pneumonia? Yes.", ["Pneumonia? Yes."]),
        ("Pneumonia? The heart is large.", ["Pneumonia?", "The heart is large."]),
        ("No effusion; heart is large", ["No effusion;", "heart is large"]),
        ("No left effusion; small right one.", ["No left effusion; small right one."]),
        ("1)No effusion 2)Heart is large", ["No effusion", "Heart is large"]),
        ("a) No effusion b) Heart is large", ["No effusion", "Heart is large"]),
        ("\u2022No effusion \u2022Heart is large", ["No effusion", "Heart is large"]),
        ("No effusion | Heart is large", ["No effusion", "Heart is large"]),
        ("No effusion\nHeart is large", ["No effusion", "Heart is large"]),
        ("No effusion or\npneumothorax", ["No effusion or\npneumothorax"]),
        ("-No effusion\n-Heart is large", ["No effusion", "Heart is large"]),
        ("Right base ? pneumonia", ["Right base ? pneumonia"]),
        ("This line\ngoes on below. Next", ["This line\ngoes on below.", "Next"]),
        ("One\n\nTwo", ["One", "Two"]),
        ("- first\n- second", ["first", "second"]),
        ("clear.The heart", ["clear.", "The heart"]),
        ("...", []),
        ("", []),
        ("双肺清晰。心影增大。", ["双肺清晰。", "心影增大。"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert cut(text) == expected


def test_a_text_without_full_stops_is_cut_at_white_space() -> None:
    pieces = cut("word " * 1000)
    assert max(map(len, pieces)) <= MAX_CHARACTERS
    assert " ".join(pieces).split() == ["word"] * 1000
