from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from labelers.observations import LabelPolicy
from medclip.data.cache import PixelCache
from medclip.data.datasets import ImageSide, TextSide, image_side, text_side, with_partners
from medclip.data.tokens import tokenize
from tests.fixtures.sentences import reports, tables


def test_only_train_rows_become_a_side(tmp_path) -> None:
    table = pd.DataFrame({"_key": ["a", "b"], "split": ["train", "test"], "study_id": ["s", "t"], "Edema": [1.0, 1.0]})
    policy = LabelPolicy(uncertain="zero", negative="absent")
    side = image_side([table], observations=["Edema"], policy=policy, cache=PixelCache(tmp_path, 8), study_numbers={})
    assert side.keys.tolist() == ["a"]
    with pytest.raises(ValueError, match="train split"):
        image_side([table[1:]], observations=["Edema"], policy=policy, cache=PixelCache(tmp_path, 8), study_numbers={})


class Words:
    """A tokenizer of one token a letter, whose words are separated by blanks."""

    pad_token_id, is_fast = 0, False

    def __call__(self, texts, truncation, max_length, **_):
        rows = [list(text[:max_length]) for text in texts]
        words = [[None if c == " " else text[:i].count(" ") for i, c in enumerate(text[:max_length])] for text in texts]
        encoded = type("Encoding", (dict,), {"word_ids": lambda self, i: words[i]})
        return encoded(input_ids=[[ord(c) for c in row] for row in rows])


letters = partial(tokenize, tokenizer=Words(), max_length=20)


@pytest.mark.parametrize("whole", [False, True])
def test_texts_know_whose_they_are(whole: bool) -> None:
    sentences, said = tables()
    policy = LabelPolicy(uncertain="soft", negative="absent")
    side = text_side([sentences], [said], tokenize=partial(letters, words=True), observations=["Edema"], policy=policy,
                     study_numbers={"t": 0, "x": 1, "s": 2}, reports=[reports()] if whole else [])  # fmt: skip
    assert side.drawn == 2
    assert side.pairs.count(np.array([0, 1, 2])).tolist() == ([1, 0, 1] if whole else [2, 0, 1])
    text = side.pairs.pick(np.array([0]), np.array([0.0]))[0]
    assert "".join(chr(c) for c in side.tokens[text]) == ("edema c" if whole else "edema")
    assert side.labels[text].tolist() == [0.5 if whole else 1.0]  # a report has the label that was read from all of it
    if whole:
        assert side.words[text].tolist() == [0, 0, 0, 0, 0, -1, 1]


@pytest.mark.parametrize(
    ("denials", "texts", "no_finding"),
    [("as-is", 3, [0, 0, 0]), ("no-finding", 3, [0, 1, 0]), ("skip", 2, [0, 0])],
)
def test_texts_that_only_deny(denials: str, texts: int, no_finding: list[int]) -> None:
    nan = np.nan
    sentences = pd.DataFrame(
        {"text": ["edema", "no edema", "perhaps edema, no fracture"], "split": "train", "count": 1,
         "No Finding": nan, "Edema": [1.0, 0.0, -1.0], "Fracture": [nan, nan, 0.0]}
    )  # fmt: skip
    said = pd.DataFrame({"study_id": ["s"] * 3, "patient_id": "p", "split": "train", "sentence": [0, 1, 2]})
    side = text_side([sentences], [said], tokenize=letters, study_numbers={"s": 0}, denials=denials,
                     observations=["No Finding", "Edema", "Fracture"],
                     policy=LabelPolicy(uncertain="zero", negative="absent"))  # fmt: skip
    assert side.drawn == texts
    assert side.labels[:, 0].tolist() == no_finding


def test_images_without_a_report_are_no_pairs(images: ImageSide, texts: TextSide) -> None:
    kept = with_partners(images, texts)
    assert kept.studies.tolist() == [0, 1, *range(3, 12)]
    with pytest.raises(ValueError, match="no pairs"):
        with_partners(images, replace(texts, pairs=None))
