from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from medclip.evaluation.evaluators import EvaluationData, retrieval
from medclip.evaluation.evaluators.retrieval import Retrieval

CLASSES = ["Edema", "Fracture"]


def data() -> EvaluationData:
    images = pd.DataFrame(
        {"image_id": list("abcd"), "study_id": list("stuv"), "patient_id": list("stuv"), "split": "test",
         "_key": list("abcd"), "Edema": [1.0, 1.0, 0.0, 1.0], "Fracture": [0.0, 0.0, 1.0, 1.0]}
    )  # fmt: skip
    sentences = pd.DataFrame(
        {"text": ["edema", "fracture", "more edema", "both"], "split": "test", "count": 1,
         "Edema": [1.0, np.nan, 1.0, 1.0], "Fracture": [np.nan, 1.0, np.nan, 1.0]}
    )  # fmt: skip
    said = pd.DataFrame({"study_id": ["s", "t", "u", "u"], "sentence": [0, 2, 1, 3]})
    return EvaluationData(images, cache=None, sentences=sentences, occurrences=said)


@pytest.fixture
def evaluate(monkeypatch):
    """Embeddings by hand: image c and its fracture are alike, image b is mistaken for a fracture."""
    images = {"a": (1, 0), "b": (0, 1), "c": (0, 1), "d": (1, 0)}
    texts = {
        "edema": (1, 0),
        "more edema": (0.8, 0.6),
        "fracture": (0, 1),
        "fracture both": (0.6, 0.8),
        "both": (0.8, 0.6),
    }
    monkeypatch.setattr(retrieval, "embed_images", lambda m, keys, *a, **k: np.array([images[x] for x in keys], float))
    monkeypatch.setattr(retrieval, "embed_texts", lambda m, said, *a: np.array([texts[x] for x in said], float))
    evaluator = Retrieval(data(), classes=CLASSES, ks=(1, 2), resamples=0)
    return evaluator(None, SimpleNamespace(image_size=8)).numbers


def test_graded_relevance_by_hand(evaluate) -> None:
    # a and b share all they have, d shares a half with everybody. Nearest: a and d find each other, b and c, too. The
    # best that a and b could find is 1, that c and d could is a half.
    assert evaluate["ndcg@1/image_to_image"] == pytest.approx(np.mean([0.5 / 1, 0 / 1, 0 / 0.5, 0.5 / 0.5]))
    # By chance a finds b (1), c (0), d (.5).
    assert evaluate["ndcg@1/image_to_image/chance"] == pytest.approx(np.mean([0.5, 0.5, (0.5 / 3) / 0.5, 0.5 / 0.5]))
    assert evaluate["ndcg@1/image_to_image/rows"] == 4
    # "edema" finds "more edema"; "more edema" and "both" are alike; "fracture" finds "both" or "more edema".
    assert 0 <= evaluate["ndcg@1/text_to_text/chance"] <= evaluate["ndcg@2/text_to_text"] <= 1


def test_chance_stands_beside_every_number(evaluate) -> None:
    names = [n for n in evaluate if n.count("/") == 1 and n != "recall/pairs"]
    assert len(names) == 2 * (2 + 2 + 4 + 1)  # no study has two images; one report has two sentences
    for name in names:
        assert 0 < evaluate[f"{name}/chance"] <= 1, name
    assert evaluate["precision@1/image_to_text/chance"] == 0.5 * (2 / 3 + 1 / 3)
    assert evaluate["recall@2/image_to_text/chance"] == pytest.approx(2 / 3)


def test_the_own_study_among_images_and_sentences(evaluate, monkeypatch) -> None:
    # "fracture" and "both" are of one report: each is the other's second; of three others, one is right.
    assert evaluate["recall@1/text_to_text/chance"] == pytest.approx(1 / 3)
    assert evaluate["recall@1/text_to_text/rows"] == 2
    images = {"a": (1, 0), "b": (0, 1), "c": (0, 1), "d": (1, 0)}
    monkeypatch.setattr(retrieval, "embed_images", lambda m, keys, *a, **k: np.array([images[x] for x in keys], float))
    monkeypatch.setattr(retrieval, "embed_texts", lambda m, said, *a: np.ones((len(said), 2)))
    twice = data()
    table = twice.images.assign(study_id=list("sstu"))  # two images of study s, which are not alike
    found = Retrieval(dataclasses.replace(twice, images=table), classes=CLASSES, ks=(1, 3), resamples=0)(None, None)
    assert found.numbers["recall@1/image_to_image"] == 0
    assert found.numbers["recall@3/image_to_image"] == 1
    assert found.numbers["recall@1/image_to_image/chance"] == pytest.approx(1 / 3)
    assert found.numbers["recall@1/image_to_image/rows"] == 2


def test_class_precision_by_hand(evaluate) -> None:
    # Image d has both classes and the sentence "both" too; they take no part. Of the edema images a finds edema
    # first, b the fracture; c finds the fracture.
    assert evaluate["precision@1/image_to_text"] == pytest.approx((0.5 + 1.0) / 2)
    # Second nearest: a and b "more edema", c "more edema".
    assert evaluate["precision@2/image_to_text"] == pytest.approx(((1.0 + 0.5) / 2 + 0.5) / 2)


def test_instance_recall_by_hand(evaluate) -> None:
    assert evaluate["recall/pairs"] == 3
    # a finds its report; b is nearest to c's; c finds its own.
    assert evaluate["recall@1/image_to_text"] == pytest.approx(2 / 3)


def test_texts_are_needed() -> None:
    with pytest.raises(ValueError, match="--texts"):
        Retrieval(EvaluationData(data().images, cache=None))
