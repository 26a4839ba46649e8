from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from medclip.evaluation.evaluators import EvaluationData, flip
from medclip.evaluation.evaluators.flip import FlipTest

TEXTS = ["There is edema.", "No edema.", "There is a fracture.", "The patient is rotated."]


def data(*, paired: bool = True) -> EvaluationData:
    images = pd.DataFrame(
        {"image_id": list("abc"), "study_id": list("stu"), "patient_id": list("stu"), "split": "test",
         "_key": list("abc"), "Edema": [1.0, 0.0, np.nan], "Fracture": [np.nan, np.nan, 0.0]}
    )  # fmt: skip
    sentences = pd.DataFrame({"text": TEXTS, "split": "test", "count": 1})
    studies = list("stus") if paired else list("wxyz")
    return EvaluationData(images, cache=None, sentences=sentences,
                          occurrences=pd.DataFrame({"study_id": studies, "sentence": range(4)}))  # fmt: skip


def embed(monkeypatch, images: dict[str, tuple[float, float]], deaf: bool = False) -> None:
    """Embeddings by hand: the first axis is edema there, the second edema absent; what else is said is nothing."""

    def texts(_: object, said: list[str], *rest: object) -> np.ndarray:
        denied = ["no" in text.lower().split() and not deaf for text in said]
        about = [float("edema" in text) for text in said]
        return np.array([(a * (not d), a * d) for a, d in zip(about, denied, strict=True)])

    monkeypatch.setattr(flip, "embed_images", lambda m, keys, *a, **k: np.array([images[x] for x in keys], float))
    monkeypatch.setattr(flip, "embed_texts", texts)


SEEN = {"a": (1, 0), "b": (0, 1), "c": (0, 0)}


def test_accuracy_by_direction_of_own_reports(monkeypatch) -> None:
    embed(monkeypatch, SEEN)
    result = FlipTest(data(), resamples=50)(None, None)
    # a: edema is right. c: the fracture is nothing to these embeddings, a tie. b: no edema is right.
    assert result.numbers["flip/claimed"] == pytest.approx((1 + 0.5) / 2)
    assert result.numbers["flip/denied"] == 1
    assert result.numbers["flip/mean"] == pytest.approx((0.75 + 1) / 2)
    assert result.numbers["flip/claimed/rows"] == 2
    assert result.numbers["flip/mean/chance"] == 0.5
    assert result.numbers["flip/mean/low"] <= result.numbers["flip/mean"]
    assert set(result.tables["flip"]["sentences of"]) == {"own report"}
    assert result.numbers["flip/of_others"] < result.numbers["flip/mean"]


def test_who_does_not_hear_no_is_at_chance(monkeypatch) -> None:
    embed(monkeypatch, SEEN, deaf=True)
    assert FlipTest(data(), resamples=0)(None, None).numbers["flip/mean"] == 0.5


def test_who_always_denies_is_right_in_one_direction_only(monkeypatch) -> None:
    embed(monkeypatch, dict.fromkeys("abc", (0.0, 1.0)))
    found = FlipTest(data(), resamples=0)(None, None).numbers
    assert (found["flip/denied"], found["flip/claimed"]) == (1, 0.25)
    assert found["flip/of_others"] == found["flip/mean"]


def test_images_without_reports_take_sentences_that_are_true_of_their_label(monkeypatch) -> None:
    embed(monkeypatch, SEEN)
    result = FlipTest(data(paired=False), resamples=0)(None, None)
    assert set(result.tables["flip"]["sentences of"]) == {"same label"}
    assert result.tables["flip"]["n"].sum() == 2  # nothing is known of an image with a fracture
    assert result.numbers["flip/mean"] == 1


def test_no_texts_and_no_pairs_are_told_apart() -> None:
    with pytest.raises(ValueError, match="flip needs texts"):
        FlipTest(dataclasses.replace(data(), sentences=None))
    unlabelled = data(paired=False)
    images = unlabelled.images.drop(columns=["Edema", "Fracture"])
    with pytest.raises(ValueError, match="3 can be turned round, and none of them is known"):
        FlipTest(dataclasses.replace(unlabelled, images=images))


def test_sentences_of_one_kind_alone_have_no_mean(monkeypatch) -> None:
    embed(monkeypatch, SEEN)
    found = data()
    denials = dataclasses.replace(found, occurrences=found.occurrences[found.occurrences["sentence"] == 1])
    metrics = FlipTest(denials, resamples=0)(None, None).metrics
    assert metrics["flip/denied"].value == 1
    assert np.isnan(metrics["flip/mean"].value) and np.isnan(metrics["flip/of_others"].value)
