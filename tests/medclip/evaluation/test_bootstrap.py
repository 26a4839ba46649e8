from __future__ import annotations

import numpy as np
import pytest

from medclip.evaluation import bootstrap as module
from medclip.evaluation.bootstrap import Metric, Sampled, bootstrap, flat, interval, mean_sampled
from medclip.evaluation.metrics import accuracy, auroc


def test_bootstrap_draws_patients_not_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def weights(rows: slice = slice(None)) -> np.ndarray:
        drawn = bootstrap(np.array(["a", "a", "b", "c"]), resamples=50, seed=0)
        return np.concatenate(list(drawn.take(np.arange(4)[rows]).blocks()))

    monkeypatch.setattr(module, "_BLOCK", 28)  # seven resamples at a time
    assert weights().shape == (50, 4)
    assert (weights()[:, 0] == weights()[:, 1]).all()
    assert (weights()[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert (weights()[:, 2:] == weights(slice(2, None))).all()
    assert bootstrap(np.array(["a"]), resamples=0, seed=0) is None


def test_interval_holds_the_value_and_narrows_with_size() -> None:
    rng = np.random.default_rng(0)

    def width(count: int) -> float:
        truth = rng.random(count) < 0.5
        scores = truth + rng.standard_normal(count)
        found = interval(lambda w: auroc(truth, scores, w), bootstrap(np.arange(count), resamples=300, seed=0))
        assert found.low < found.value < found.high
        return found.high - found.low

    assert width(2000) < width(100)


def test_mean_leaves_out_what_is_undefined() -> None:
    parts = [Sampled(np.nan, np.array([0.1, np.nan])), Sampled(0.5, np.array([0.3, 0.2])), Sampled(0.7, np.ones(2))]
    mean = mean_sampled(parts)
    assert mean.value == pytest.approx(0.6)
    assert mean.drawn.tolist() == pytest.approx([1.4 / 3, 0.6])
    assert np.isnan(mean_sampled([]).metric().value)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Patients with several images and noise of their own; benchmarks/intervals.py does it at length."""
    covered, runs = 0, 120
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        patients = np.repeat(np.arange(150), 3)
        right = rng.random(450) < (0.7 + 0.2 * rng.choice([-1, 1], 150))[patients]
        found = interval(
            lambda w, r=right: accuracy(r, np.ones(450, bool), w), bootstrap(patients, resamples=400, seed=seed)
        )
        covered += found.low <= 0.7 <= found.high
    assert 0.88 <= covered / runs <= 0.99


def test_a_metric_is_written_with_what_is_known_of_it() -> None:
    metrics = {"auroc/mean": Metric(0.7, low=0.6, high=0.8), "draws": Metric(0.5, sd=0.1), "a": Metric(1.0, count=3)}
    assert flat(metrics) == {
        "auroc/mean": 0.7, "auroc/mean/low": 0.6, "auroc/mean/high": 0.8, "draws": 0.5, "draws/sd": 0.1, "a": 1.0,
        "a/rows": 3.0,
    }  # fmt: skip
