from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from medclip.evaluation.evaluators.severity import Severity
from medclip.evaluation.metrics import spearman
from medclip.inference.classifier import ZeroShotClassifier
from medclip.inference.embed import embed_images


@pytest.fixture(scope="module")
def scores(data, model) -> np.ndarray:
    embeds = embed_images(model[0], data.rows()["_key"].tolist(), model[1], cache=data.cache)
    classifier = ZeroShotClassifier(*model)
    return classifier.scores(embeds)[:, classifier.observations.index("Lung Opacity")]


@pytest.fixture(scope="module")
def graded(data, scores):
    """Two readers who see what the model sees, roughly; one leaves some images out."""
    rng = np.random.default_rng(0)
    ranks = pd.Series(scores).rank(pct=True).to_numpy()
    table = pd.DataFrame({"image_id": data.rows()["image_id"]})
    for reader in ("one", "other"):
        table[reader] = np.round(18 * np.clip(ranks + rng.normal(scale=0.3, size=len(ranks)), 0, 1))
    table.loc[:4, "other"] = np.nan
    return dataclasses.replace(data, severity=table)


def test_correlations_are_those_of_scipy(graded, scores, model) -> None:
    found = Severity(graded, resamples=50)(*model).numbers
    table = graded.severity
    mean = table[["one", "other"]].mean(axis=1)
    assert found["severity/spearman"] == pytest.approx(spearmanr(mean, scores).statistic)
    assert found["severity/spearman/one"] == pytest.approx(spearmanr(table["one"], scores).statistic)
    both = table.dropna()
    assert found["severity/readers"] == pytest.approx(spearmanr(both["one"], both["other"]).statistic)
    assert found["severity/readers/rows"] == len(both)
    assert found["severity/spearman/low"] <= found["severity/spearman"] <= found["severity/spearman/high"]
    assert found["severity/spearman/chance"] == 0
    views = graded.rows()["view"]
    parts = [(spearmanr(mean[views == v], scores[views == v]).statistic, (views == v).sum()) for v in ("AP", "PA")]
    expected = sum(value * count for value, count in parts) / sum(count for _, count in parts)
    assert found["severity/within_view"] == pytest.approx(expected)


def test_thumbnails_are_learned_on_other_patients(graded, model) -> None:
    """Severity that is how bright an image's upper half is can be read off thumbnails; noise cannot."""
    pixels = graded.cache.get(graded.rows()["_key"].tolist()).astype(float)
    bright = pixels[:, :16].mean(axis=(1, 2)) - pixels[:, 16:].mean(axis=(1, 2))
    noise = np.random.default_rng(1).normal(size=len(bright))
    readable, unreadable = (
        Severity(dataclasses.replace(graded, severity=graded.severity[["image_id"]].assign(r=r)), resamples=0)(*model)
        for r in (bright, noise)
    )
    assert readable.numbers["severity/pixels"] > 0.6 > unreadable.numbers["severity/pixels"]
    assert "severity/readers" not in readable.metrics


def test_resampled_rank_correlations_are_those_of_the_resampled_rows() -> None:
    rng = np.random.default_rng(0)
    truth, given = rng.integers(0, 5, 30).astype(float), rng.normal(size=30)
    weights = rng.integers(0, 4, (6, 30))
    slow = [spearmanr(np.repeat(truth, row), np.repeat(given, row)).statistic for row in weights]
    np.testing.assert_allclose(spearman(truth, given, weights), slow)
    assert spearman(truth, given)[0] == pytest.approx(spearmanr(truth, given).statistic)
    assert np.isnan(spearman(np.ones(30), given)[0])


def test_what_is_missing_is_said_before_any_work(data, graded) -> None:
    with pytest.raises(ValueError, match="severity needs readers' scores"):
        Severity(data)
    with pytest.raises(ValueError, match="there are no prompts for Croup"):
        Severity(graded, observation="Croup")
    few = dataclasses.replace(graded, severity=graded.severity[:3])
    with pytest.raises(ValueError, match="3 of the 3 scored images are in the test split; 10 are needed"):
        Severity(few)


def test_films_of_one_patient_have_no_line_of_pixels(graded, model) -> None:
    images = graded.images.assign(patient_id=graded.images["patient_id"].where(graded.images["split"] != "test", "p"))
    found = Severity(dataclasses.replace(graded, images=images), resamples=0)(*model).numbers
    assert "severity/pixels" not in found and np.isfinite(found["severity/spearman"])
