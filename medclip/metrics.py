"""Metrics as pure functions of arrays, and their bootstrap intervals over patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.floating]
#: A number as a function of resample weights (B, N): one value for each resample, or one without weights.
Statistic = Callable[[np.ndarray | None], NDArray[np.floating]]


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
    return weighted_mean((np.asarray(truth) == np.asarray(predicted)).astype(np.float64), weights)


def weighted_mean(values: np.ndarray, weights: np.ndarray | None = None) -> Array:
    """Returns the mean of `values` (N,), for each row of `weights` (B, N); NaN where nothing was drawn."""
    weights = np.ones((1, len(values))) if weights is None else weights
    total = weights.sum(axis=1)
    return np.divide(weights @ values, total, out=np.full(len(total), np.nan), where=total > 0)


def bootstrap_weights(patients: np.ndarray, *, resamples: int, seed: int) -> Array:
    """Returns (resamples, N): how often each row is drawn when patients are drawn with replacement.

    Images of one patient are alike; drawing patients rather than images keeps intervals honest.
    """
    names, member = np.unique(np.asarray(patients).astype(str), return_inverse=True)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return counts[:, member].astype(np.float64)


def interval(statistic: Statistic, weights: np.ndarray | None) -> Interval:
    """Returns the statistic and its 95 % percentile interval over the resamples `weights` (B, N), if there are any."""
    value = float(statistic(None)[0])
    drawn = np.empty(0) if weights is None else statistic(weights)
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(drawn) < 2:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Interval(value, float(low), float(high))


def mean_of(statistics: Sequence[Statistic]) -> Statistic:
    """Returns the statistic that averages `statistics` within each resample, leaving out undefined ones."""

    def mean(weights: np.ndarray | None) -> Array:
        values = np.stack([statistic(weights) for statistic in statistics])
        known = np.isfinite(values)
        total = np.where(known, values, 0.0).sum(axis=0)
        count = known.sum(axis=0)
        return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)

    return mean


def multilabel(
    states: np.ndarray, scores: np.ndarray, names: Sequence[str], *, weights: np.ndarray | None, min_count: int
) -> tuple[dict[str, float], pd.DataFrame]:
    """Returns AUROC of each observation and their mean, as flat metrics and as a table.

    Args:
        states: (N, O); rows whose state is neither 1 nor 0 do not count for that observation.
        scores: (N, O), higher for positive.
        names: of the O observations.
        weights: (B, N) bootstrap weights, or None for no intervals.
        min_count: positives and negatives an observation needs to count in the mean.
    """
    rows, counted = [], []
    metrics: dict[str, float] = {}
    for j, name in enumerate(names):
        known = np.isin(states[:, j], (0.0, 1.0))
        truth = states[known, j] == 1
        statistic = partial(_auroc_among, truth, scores[known, j], known)
        found = interval(statistic, weights)
        positives, negatives = int(truth.sum()), int((~truth).sum())
        if min(positives, negatives) >= min_count:
            counted.append(statistic)
        metrics |= with_bounds(f"auroc/{name}", found)
        rows.append((name, found.value, found.low, found.high, positives, negatives))
    mean = interval(mean_of(counted), weights) if counted else Interval(float("nan"), float("nan"), float("nan"))
    table = pd.DataFrame(rows, columns=["observation", "auroc", "low", "high", "positive", "negative"])
    return with_bounds("auroc/mean", mean) | metrics, table


def multiclass(
    states: np.ndarray, scores: np.ndarray, names: Sequence[str], classes: Sequence[str], *, weights: np.ndarray | None
) -> tuple[dict[str, float], pd.DataFrame]:
    """Returns accuracy and mean recall over rows with exactly one of `classes` positive, and their confusion.

    Args:
        states: (N, O); rows with an uncertain class do not count.
        scores: (N, O); the class with the highest wins.
        names: of the O observations.
        classes: some of `names`.
        weights: (B, N) bootstrap weights, or None for no intervals.
    """
    columns = [list(names).index(name) for name in classes]
    among = states[:, columns]
    single = ((among == 1).sum(axis=1) == 1) & ~(among == -1).any(axis=1)
    truth, predicted = among[single].argmax(axis=1), scores[single][:, columns].argmax(axis=1)
    metrics = {"accuracy/rows": float(single.sum())}
    if single.any():
        recalls = [partial(_share_right, truth, predicted, single, c) for c in np.unique(truth)]
        metrics |= with_bounds("accuracy", interval(partial(_share_right, truth, predicted, single, None), weights))
        metrics |= with_bounds("balanced_accuracy", interval(mean_of(recalls), weights))
    confusion = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(confusion, (truth, predicted), 1)
    return metrics, pd.DataFrame(confusion, columns=list(classes)).assign(truth=list(classes)).set_index(
        "truth"
    ).reset_index()


def with_bounds(name: str, found: Interval) -> dict[str, float]:
    """Returns a value and its bounds as flat metrics: `name`, `name/low`, `name/high`."""
    bounds = {f"{name}/low": found.low, f"{name}/high": found.high}
    return {name: found.value} | (bounds if np.isfinite(found.low) else {})


def _auroc_among(truth: np.ndarray, scores: np.ndarray, known: np.ndarray, weights: np.ndarray | None) -> Array:
    if not len(truth):
        return np.full(1 if weights is None else len(weights), np.nan)
    return auroc(truth, scores, None if weights is None else weights[:, known])


def _share_right(
    truth: np.ndarray, predicted: np.ndarray, single: np.ndarray, label: int | None, weights: np.ndarray | None
) -> Array:
    wanted = np.ones(len(truth), dtype=bool) if label is None else truth == label
    drawn = None if weights is None else weights[:, single][:, wanted]
    return accuracy(truth[wanted], predicted[wanted], drawn)


def precision_recall(
    truth: np.ndarray, predicted: np.ndarray, names: Sequence[str], *, weights: np.ndarray | None
) -> pd.DataFrame:
    """Returns precision, recall and F1 of each column, micro (of all decisions) and macro (mean over columns).

    Args:
        truth: (N, O) booleans.
        predicted: (N, O) booleans.
        names: of the O columns; those without any true row do not count in the macro mean.
        weights: (B, N) bootstrap weights, or None for no intervals.
    """
    resamples = np.ones((1, len(truth))) if weights is None else np.vstack([np.ones((1, len(truth))), weights])
    counts = [
        resamples @ cell.astype(np.float64) for cell in (truth & predicted, ~truth & predicted, truth & ~predicted)
    ]
    scored = {name: _rates(*(cell[:, j] for cell in counts)) for j, name in enumerate(names)}
    scored["micro"] = _rates(*(cell.sum(axis=1) for cell in counts))
    counted = [scored[name] for j, name in enumerate(names) if truth[:, j].any()]
    if counted:
        scored["macro"] = np.nanmean(np.stack(counted), axis=0)
    rows = []
    for name, rates in scored.items():
        row: dict[str, object] = {"observation": name}
        for rate, values in zip(("precision", "recall", "f1"), rates, strict=True):
            row[rate] = values[0]
            if weights is not None:
                row[f"{rate}_low"], row[f"{rate}_high"] = np.nanquantile(values[1:], (0.025, 0.975))
        rows.append(
            row | {"count": int(truth[:, list(names).index(name)].sum()) if name in names else int(truth.sum())}
        )
    return pd.DataFrame(rows)


def fit_platt(truth: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Returns slope and offset of the logistic curve from `scores` (N,) to the chance of `truth` (Platt 1999)."""
    from sklearn.linear_model import LogisticRegression

    scale = float(np.std(scores)) or 1.0
    fitted = LogisticRegression(C=1e3).fit(np.asarray(scores)[:, None] / scale, truth)
    return float(fitted.coef_[0, 0]) / scale, float(fitted.intercept_[0])


def best_threshold(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the threshold with the best F1; `probabilities` at or above it are called positive."""
    order = np.argsort(-np.asarray(probabilities), kind="stable")
    ranked, hits = np.asarray(probabilities)[order], np.cumsum(np.asarray(truth)[order])
    f1 = 2 * hits / (np.arange(1, len(ranked) + 1) + hits[-1])
    last = np.append(ranked[:-1] != ranked[1:], True)  # equal probabilities are called alike
    return float(ranked[np.flatnonzero(last)[np.argmax(f1[last])]])


def kappa(first: np.ndarray, second: np.ndarray) -> float:
    """Returns Cohen's kappa of two columns of states, unmentioned being a state like the others; NaN if undefined."""
    first, second = (np.where(np.isnan(column), 2.0, column) for column in (first, second))
    states = np.union1d(first, second)
    agreed = float((first == second).mean())
    expected = float(sum((first == state).mean() * (second == state).mean() for state in states))
    return (agreed - expected) / (1 - expected) if expected < 1 else float("nan")


def _rates(hits: Array, false: Array, missed: Array) -> Array:
    """Returns precision, recall and F1, each (B,)."""

    def share(part: Array, whole: Array) -> Array:
        return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)

    return np.stack([share(hits, hits + false), share(hits, hits + missed), share(2 * hits, 2 * hits + false + missed)])
