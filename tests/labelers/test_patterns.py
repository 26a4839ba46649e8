from __future__ import annotations

import pytest

from labelers.patterns import PatternSet, expand, fold, token_spans, tokenize


def test_tokens_and_their_spans_agree() -> None:
    text = "No air-space disease; 1.7 cm nodule (stable), isn’t XXXX ___ 右侧."
    tokens, spans = tokenize(text), token_spans(text)
    assert tokens == [
        "no", "air", "space", "disease", ";", "1.7", "cm", "nodule", "(", "stable", ")", ",", "isn't", "xxxx", "___",
        "右", "侧", ".",
    ]  # fmt: skip
    assert [fold(text[a:b]) for a, b in spans] == tokens


def test_folding_keeps_every_offset() -> None:
    text = "İSTANBUL Größe ÉDÈME"
    assert len(fold(text)) == len(text)


@pytest.mark.parametrize(
    ("pattern", "sequences"),
    [
        ("a|b c", [[("a", "b"), ("c",)]]),
        ("a (b|d) c", [[("a",), ("b", "d"), ("c",)], [("a",), ("c",)]]),
        ("a|x-ray c", [[("a",), ("c",)], [("x",), ("ray",), ("c",)]]),
        ("air-space opacit*", [[("air",), ("space",), ("opacit*",)]]),
        ("effusion (-)", [[("effusion",), ("(-)",)]]),
    ],
)
def test_expand(pattern: str, sequences: list[list[tuple[str, ...]]]) -> None:
    assert list(expand(pattern)) == sequences


@pytest.mark.parametrize("pattern", ["", "... a", "a ...", "*", "a*b", "a (b c)"])
def test_wrong_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="Pattern"):
        list(expand(pattern))


def found(pattern: str, text: str, **options: list[str]) -> list[tuple[int, int, int]]:
    return [(m.start, m.end, m.head) for m in PatternSet([pattern], **options).find(tokenize(text))]


def test_gap_spans_other_words_up_to_its_limit() -> None:
    assert found("heart ... enlarge*", "heart is mildly enlarged") == [(0, 4, 3)]
    assert found("heart ... enlarge*", "heart one two three four five enlarged") == [(0, 7, 6)]
    assert found("heart ... enlarge*", "heart one two three four five six enlarged") == []


def test_gap_does_not_cross_a_stop() -> None:
    assert found("heart ... enlarge*", "heart normal. aorta enlarged") == []
    assert found("heart ... enlarge*", "heart but enlarged", gap_stops=["but"]) == []


def test_all_overlapping_matches_are_found() -> None:
    patterns = PatternSet(["effusion*", "pleural effusion*", "pericardial effusion*"])
    assert [(m.start, m.end, m.entry) for m in patterns.find(["pleural", "effusions"])] == [(0, 2, 1), (1, 2, 0)]


def test_a_gap_is_crossed_by_each_pattern_alone() -> None:
    patterns = PatternSet(["aorta ... calcified", "aorta ... tortuous"])
    tokens = ["aorta", "is", "tortuous", "and", "calcified", "and", "tortuous"]
    assert [(m.end, m.entry) for m in patterns.find(tokens)] == [(3, 1), (5, 0)]


def test_plain_and_other_text_give_the_same_tokens() -> None:
    text = "No (+) 1.7 cm 'stable' isn't x-ray -- a - b ___ e/f = g? (h) [i] 2,5 ;"
    assert [*tokenize(text), "é"] == tokenize(f"{text} é")
