"""Property-based: nothing crashes, and what means the same is labelled the same."""

from __future__ import annotations

import random
import string
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelers.rules import RuleLabeler
from tests.labelers.test_sentences_table import table

LABELER = RuleLabeler()
SENTENCES = [text for text, _ in table() if ":" not in text and "1." not in text]
#: Pieces that steer the labeler, in any order: cues, mentions, marks, headings.
WORDS = (
    "no not without effusion pneumothorax heart enlarged normal possible and or but XXXX ___ Dr. 1.7 1. , . ; : ? ... ("
)
PIECES = st.sampled_from([*WORDS.split(), "cannot be excluded", "FINDINGS:", "\n", "\n\n"])


def same(first: str, second: str) -> bool:
    a, b = LABELER([first, second])
    return bool(np.array_equal(a, b, equal_nan=True))


@given(st.text(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_text_gives_states(text: str) -> None:
    row = LABELER([text])[0]
    assert set(row[~np.isnan(row)].tolist()) <= {1.0, 0.0, -1.0}
    for evidence in LABELER.explain(text):
        assert text[slice(*evidence.span)].strip()


@given(st.lists(PIECES, max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_order_of_cues_and_marks_gives_states_that_explain_themselves(pieces: list[str]) -> None:
    text = " ".join(pieces)
    row = LABELER([text])[0]
    positive = {name for name, state in zip(LABELER.observations, row, strict=True) if state == 1} - {"No Finding"}
    assert positive == {e.observation for e in LABELER.explain(text) if e.state == "positive"} & set(
        LABELER.observations
    ) - {"No Finding"}


@given(st.sampled_from(SENTENCES), st.sampled_from([str.upper, str.lower, str.title]))
@settings(max_examples=200, deadline=None)
def test_case_does_not_matter(sentence: str, change) -> None:
    assert same(sentence, change(sentence))


@given(st.sampled_from(SENTENCES), st.sampled_from(["  ", "\t", "\u00a0", " \u2009"]))
@settings(max_examples=200, deadline=None)
def test_white_space_does_not_matter(sentence: str, space: str) -> None:
    assert same(sentence, space.join(sentence.split()))


@given(st.sampled_from(SENTENCES), st.sampled_from(["", ".", "..", " .", "!"]))
@settings(max_examples=200, deadline=None)
def test_the_final_mark_does_not_matter(sentence: str, mark: str) -> None:
    assert same(sentence, sentence.rstrip(".") + mark) or sentence.endswith("?")


@given(st.sampled_from(SENTENCES))
@settings(max_examples=100, deadline=None)
def test_a_sentence_in_an_unremarkable_report_adds_what_it_says(sentence: str) -> None:
    alone, joined = LABELER([sentence, f"The trachea is midline. {sentence} The patient was rotated."])
    assert np.array_equal(alone, joined, equal_nan=True)


#: Statements that depend on no other one: whole sentences with a subject of their own.
STATEMENTS = [s for s in SENTENCES if s.endswith(".") and ";" not in s and s[0].isupper() and len(s) > 20]
REPORTS = st.lists(st.sampled_from(STATEMENTS), min_size=2, max_size=6, unique=True)


@given(REPORTS, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_the_order_of_sentences_does_not_matter(statements: list[str], rng: random.Random) -> None:
    assert same(" ".join(statements), " ".join(rng.sample(statements, len(statements))))


@given(REPORTS, st.integers(1, 5))
@settings(max_examples=200, deadline=None)
def test_sections_do_not_matter(statements: list[str], cut: int) -> None:
    findings, impression = " ".join(statements[:cut]), " ".join(statements[cut:])
    assert same(" ".join(statements), f"FINDINGS: {findings}\n\nIMPRESSION:\n{impression}\n")
    assert same(" ".join(statements), f"INDICATION: Pneumonia?\nFINDINGS:\n{findings}\n{impression}")


@given(REPORTS, st.integers(50, 120), st.sampled_from(["\n", "\r\n", "\n\t"]))
@settings(max_examples=200, deadline=None)
def test_the_width_of_lines_does_not_matter(statements: list[str], width: int, end: str) -> None:
    text = " ".join(statements)
    assert same(text, textwrap.fill(text, width, break_on_hyphens=False).replace("\n", end))


@given(
    REPORTS, st.sampled_from(["The trachea is midline.", "Two views were obtained.", "Dr. Doe was called at 10.30."])
)
@settings(max_examples=200, deadline=None)
def test_a_neutral_sentence_changes_nothing(statements: list[str], neutral: str) -> None:
    assert same(" ".join(statements), " ".join([neutral, *statements, neutral]))


@given(st.text(alphabet=string.printable, min_size=1, max_size=20), st.integers(1, 200))
@settings(max_examples=100, deadline=None)
def test_repetition_is_no_trouble(piece: str, times: int) -> None:
    LABELER([piece * times])


@pytest.mark.parametrize("piece", [".", "?", "!)", "x-\n", "; ", "edema, ", "未见胸腔积液", "\n"])
def test_a_long_run_of_anything_takes_time_in_proportion_to_its_length(piece: str) -> None:
    """Where time grew with the square of the length, one of these took minutes."""
    assert LABELER([(piece * 50_000)[:50_000] + " The heart is enlarged."]).shape[0] == 1


@pytest.mark.slow
def test_a_hundred_thousand_random_and_adversarial_texts() -> None:
    rng = random.Random(0)
    pieces = [*WORDS.split(), "cannot be excluded", "FINDINGS:", "\n", "\n\n"]
    alphabet = [*range(32, 127), *range(1, 0x2FF), *range(0x4E00, 0x4F00)]
    for _ in range(25_000):
        words = " ".join(rng.choices(pieces, k=rng.randrange(80)))
        noise = "".join(map(chr, rng.choices(alphabet, k=rng.randrange(300))))
        report = " ".join(rng.sample(SENTENCES, 5))
        repeated = rng.choice(pieces) * rng.randrange(400)
        assert LABELER([words, noise, repeated, report]).shape == (4, 14)
        assert same(report, rng.choice((str.upper, str.lower))(report))
