from __future__ import annotations

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
    texts = {"edema": (1, 0), "more edema": (0.8, 0.6), "fracture": (0, 1), "fracture both": (0.6, 0.8)}
    monkeypatch.setattr(retrieval, "embed_images", lambda m, keys, *a, **k: np.array([images[x] for x in keys], float))
    monkeypatch.setattr(retrieval, "embed_texts", lambda m, said, *a: np.array([texts[x] for x in said], float))
    evaluator = Retrieval(data(), classes=CLASSES, ks=(1, 2), resamples=0)
    return evaluator(None, SimpleNamespace(image_size=8)).numbers


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
