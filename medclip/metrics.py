"""Metrics as pure functions of arrays, and their bootstrap intervals over patients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Interval:
    """A value and the bounds of its 95 % interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


def auroc(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> Array:
    """Returns the area under the ROC curve, for each row of `weights` (B, N), or a single one without them.

    It is the chance that a positive scores above a negative, ties counting half; NaN with one class only. Weighted,
    it serves the bootstrap: all resamples share one sort.

    Args:
        truth: (N,) booleans.
        scores: (N,) numbers, higher for positive.
        weights: (B, N) how often each row is drawn.
    """
    truth, scores = np.asarray(truth, dtype=bool), np.asarray(scores, dtype=np.float64)
    weights = np.ones((1, len(truth))) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(scores, kind="stable")
    _, starts = np.unique(scores[order], return_index=True)
    positive = np.add.reduceat(weights[:, order] * truth[order], starts, axis=1)
    negative = np.add.reduceat(weights[:, order] * ~truth[order], starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    wins = (positive * (below + negative / 2)).sum(axis=1)
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    return np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def accuracy(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> Array:
    """Returns the share of rows predicted right, for each row of `weights` (B, N)."""
    hit = (np.asarray(truth) == np.asarray(predicted)).astype(np.float64)
    weights = np.ones((1, len(hit))) if weights is None else weights
    total = weights.sum(axis=1)
    return np.divide(weights @ hit, total, out=np.full(len(total), np.nan), where=total > 0)


def bootstrap_weights(patients: np.ndarray, *, resamples: int, seed: int) -> Array:
    """Returns (resamples, N): how often each row is drawn when patients are drawn with replacement.

    Images of one patient are alike; drawing patients rather than images keeps intervals honest.
    """
    names, member = np.unique(np.asarray(patients).astype(str), return_inverse=True)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return counts[:, member].astype(np.float64)


def interval(statistic: Callable[[np.ndarray | None], Array], weights: np.ndarray) -> Interval:
    """Returns the statistic and its 95 % percentile interval over the resamples `weights` (B, N)."""
    value = float(statistic(None)[0])
    drawn = statistic(weights)
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(drawn) < 2:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Interval(value, float(low), float(high))


def mean_of(statistics: list[Callable[[np.ndarray | None], Array]]) -> Callable[[np.ndarray | None], Array]:
    """Returns the statistic that averages `statistics` within each resample, leaving out undefined ones."""

    def mean(weights: np.ndarray | None) -> Array:
        values = np.stack([statistic(weights) for statistic in statistics])
        known = np.isfinite(values)
        total = np.where(known, values, 0.0).sum(axis=0)
        count = known.sum(axis=0)
        return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)

    return mean
