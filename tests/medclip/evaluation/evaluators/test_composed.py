from __future__ import annotations

import numpy as np
import pytest

from medclip.data.tables import label_matrix
from medclip.evaluation.evaluators import composed
from medclip.evaluation.evaluators.composed import Composed
from medclip.inference.prompts import load_prompts
from medclip.inference.scoring import Directions


def test_a_model_whose_space_is_the_labels_finds_what_is_wanted(data, model, monkeypatch) -> None:
    """Embeddings that hold a number for each observation: films what they have, prompts what they claim or deny."""
    names = [name for name in data.observations() if name != "No Finding"]
    films = np.where(label_matrix(data.rows(), names) == 1, 1.0, -1.0) / np.sqrt(len(names))
    claims = {entry.positive for entry in load_prompts("chexpert14").values()}

    def directions(model, processor, prompts, **_):
        rows = [np.eye(len(names))[i] * (1.0 if tuple(p) in claims else -1.0) for i, p in enumerate(prompts)]
        texts = [str(i) for i in range(len(names))]
        return Directions.of([(t,) for t in texts], dict(zip(texts, rows, strict=True)), dim=len(names),
                             ensemble="embeddings")  # fmt: skip

    evaluator = Composed(data, k=1)
    monkeypatch.setattr(composed, "embed_images", lambda *a, **k: films)
    monkeypatch.setattr(composed, "prompt_directions", directions)
    found = evaluator(*model).metrics
    assert found["composed/composed/recall"].value > 0.95
    assert found["composed/image/recall"].value < found["composed/composed/recall"].value
    assert found["composed/text/kept"].value < found["composed/composed/kept"].value
    assert found["composed/composed/lacking"].value > found["composed/composed/lacking"].chance
    assert 0 < found["composed/composed/recall"].chance < 0.5


def test_an_untrained_model_is_near_chance(data, model) -> None:
    found = Composed(data)(*model).metrics
    metric = found["composed/composed/lacking"]
    assert metric.value == pytest.approx(metric.chance, abs=0.2)
