from __future__ import annotations

import pytest

from labelers.sentences import MAX_CHARACTERS, sentence_spans


def cut(text: str) -> list[str]:
    return [text[a:b] for a, b in sentence_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No effusion. Heart is normal.", ["No effusion.", "Heart is normal."]),
        ("no effusion. heart is normal.", ["no effusion.", "heart is normal."]),
        ("A 1.7 cm nodule. Stable.", ["A 1.7 cm nodule.", "Stable."]),
        ("1. Small effusion. 2. No pneumothorax.", ["Small effusion.", "No pneumothorax."]),
        ("1.Small effusion 2. No pneumothorax", ["Small effusion", "No pneumothorax"]),
        ("Seen by Dr. XXXX. No change.", ["Seen by Dr. XXXX.", "No change."]),
        ("Pneumonia? Yes.", ["Pneumonia?", "Yes."]),
        ("Right base ? pneumonia", ["Right base ? pneumonia"]),
        ("Line one\ngoes on. Next", ["Line one\ngoes on.", "Next"]),
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
