from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from labelers.observations import CHEXPERT14, LabelPolicy
from labelers.rules import RuleLabeler
from medclip.data.cache import PixelCache
from medclip.data.datasets import ImageSide, TextSide, image_side, text_side, with_partners
from medclip.data.partners import prompts_of_labels, reports_of_equal_labels, reports_of_studies
from medclip.data.tokens import tokenize
from tests.fixtures.sentences import reports, tables


def test_only_train_rows_become_a_side(tmp_path) -> None:
    table = pd.DataFrame({"_key": ["a", "b"], "split": ["train", "test"], "study_id": ["s", "t"], "Edema": [1.0, 1.0]})
    policy = LabelPolicy(uncertain="zero", negative="absent")
    side = image_side([table], observations=["Edema"], policy=policy, cache=PixelCache(tmp_path, 8), study_numbers={})
    assert side.keys.tolist() == [b"a"]
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
                     study_numbers=(numbers := {"t": 0, "x": 1, "s": 2}),
                     partners=reports_of_studies([reports()], [said], numbers) if whole else None)  # fmt: skip
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


def labelled(rows: list[list[float]]) -> ImageSide:
    labels = np.array(rows, dtype=np.float32)
    return ImageSide(np.arange(len(rows)).astype(object), labels, np.arange(len(rows)), cache=None)


def test_pseudo_pairs_claim_the_same_or_what_is_nearest() -> None:
    names = ["Edema", "Fracture", "Pneumonia"]
    nan = np.nan
    told = pd.DataFrame(
        [("a", "edema", 1, 0, nan), ("b", "edema too", -1, nan, nan), ("c", "fracture, pneumonia", nan, 1, 1),
         ("d", "all", 1, 1, 1)],
        columns=["study_id", "text", *names],
    ).assign(split=["train", "train", "train", "test"], patient_id="p")  # fmt: skip
    said = told[["study_id", "patient_id", "split"]].assign(sentence=0)
    images = labelled([[1, -1, 0], [0.5, 0, -1], [1, 1, 1], [-1, 1, 0]])
    paired, partners = reports_of_equal_labels(images, [told], [said], names)
    texts = partners.texts["text"]
    of = {
        study: sorted(texts[row] for row in partners.links["row"][partners.links["study"] == study])
        for study in set(paired.studies)
    }
    assert paired.studies[0] == paired.studies[1]
    # The first two claim edema, the third is one off from the report of the train split with two of its three claims.
    assert of[paired.studies[0]] == ["edema", "edema too"]
    assert of[paired.studies[2]] == ["fracture, pneumonia"]
    assert of[paired.studies[3]] == ["fracture, pneumonia"]
    with pytest.raises(ValueError, match="no report"):
        reports_of_equal_labels(images, [told.assign(split="test")], [said], names)


@pytest.mark.parametrize("negative", ["opposite", "absent"])
def test_prompts_say_what_the_labels_say(negative: str) -> None:
    names = [name for name in CHEXPERT14 if name != "Support Devices"]
    rng = np.random.default_rng(0)
    states = rng.choice([1.0, 0.0, 0.0, -1.0], (12, len(names)))
    states[:, 0] = 0
    images = labelled(LabelPolicy(uncertain="soft", negative=negative)(states).tolist())
    paired, partners = prompts_of_labels(images, names, seed=0, zero_is_denied=negative == "absent")
    labeler = RuleLabeler()
    columns = [labeler.observations.index(name) for name in names]
    for image, study in enumerate(paired.studies):
        texts = partners.texts["text"][partners.links["row"][partners.links["study"] == study]]
        assert len(set(texts)) > 1
        read = labeler(texts.tolist())[:, columns]
        for name, column, state in zip(names, read.T, states[image], strict=True):
            if name in ("No Finding", "Lung Opacity", "Pleural Other", "Enlarged Cardiomediastinum"):
                continue  # what a pneumonia is as well, and names that are no words of a report
            assert set(column[~np.isnan(column)]) <= {state}
            assert state == 0 or not np.isnan(column).any()
