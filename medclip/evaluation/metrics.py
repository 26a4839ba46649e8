"""Metrics as pure functions of arrays, and their bootstrap intervals over patients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from labelers.errors import UserError

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

    Raises:
        UserError: a score is NaN.
    """
    truth, scores = np.asarray(truth, dtype=bool), _checked_scores(scores)
    weights = np.ones((1, len(truth))) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(scores, kind="stable")
    _, starts = np.unique(scores[order], return_index=True)
    positive = np.add.reduceat(weights[:, order] * truth[order], starts, axis=1)
    negative = np.add.reduceat(weights[:, order] * ~truth[order], starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    wins = (positive * (below + negative / 2)).sum(axis=1)
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    return np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def _checked_scores(scores: np.ndarray) -> Array:
    """Returns scores as floats.

    Raises:
        UserError: some are NaN, which sorting would put in a place of its own.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if wrong := int(np.isnan(scores).sum()):
        raise UserError(f"{wrong} of {len(scores)} scores are NaN. The model computes no numbers for these images.")
    return scores


def average_precision(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> Array:
    """Returns the area under the precision-recall curve, in steps, for each row of `weights` (B, N).

    Equal scores are called together. Without any skill it is the share of positives. NaN without positives.
    """
    truth, scores = np.asarray(truth, dtype=bool), _checked_scores(scores)
    weights = np.ones((1, len(truth))) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(weights[:, order] * truth[order], axis=1)[:, ends]
    called = np.cumsum(weights[:, order], axis=1)[:, ends]
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    area = (np.diff(hits, axis=1, prepend=0) * precision).sum(axis=1)
    return np.divide(area, hits[:, -1], out=np.full(len(hits), np.nan), where=hits[:, -1] > 0)


def f1_score(truth: np.ndarray, called: np.ndarray, weights: np.ndarray | None = None) -> Array:
    """Returns F1 of the rows `called` positive, for each row of `weights` (B, N); NaN without positives."""
    truth, called = np.asarray(truth, dtype=bool), np.asarray(called, dtype=bool)
    weights = np.ones((1, len(truth))) if weights is None else weights
    positives = weights @ truth.astype(np.float64)
    total = positives + weights @ called.astype(np.float64)
    hits = 2 * (weights @ (truth & called).astype(np.float64))
    return np.divide(hits, total, out=np.full(len(total), np.nan), where=positives > 0)


def calibration_error(truth: np.ndarray, probabilities: np.ndarray, *, bins: int = 15) -> tuple[float, pd.DataFrame]:
    """Returns the expected calibration error over bins of equal counts, and the bins: predicted, observed, rows.

    Each bin's distance between mean probability and share of positives, weighted by its rows (Naeini et al. 2015,
    with bins of equal counts, which a few extreme probabilities do not empty).
    """
    order = np.argsort(probabilities, kind="stable")
    ranked = np.asarray(probabilities)[order]
    ends = (np.arange(1, bins) * len(order)) // bins
    ends = np.searchsorted(ranked, ranked[ends], side="left")  # equal probabilities stay together
    parts = [part for part in np.split(order, np.unique(ends)) if len(part)]
    rows = [(float(probabilities[p].mean()), float(np.asarray(truth)[p].mean()), len(p)) for p in parts]
    table = pd.DataFrame(rows, columns=["predicted", "observed", "rows"])
    gaps = (table["predicted"] - table["observed"]).abs()
    return float((gaps * table["rows"]).sum() / max(table["rows"].sum(), 1)), table


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
    states: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    *,
    weights: np.ndarray | None,
    min_count: int,
    thresholds: Mapping[str, float] = {},
) -> tuple[dict[str, float], pd.DataFrame]:
    """Returns AUROC, average precision and F1 of each observation and their means, as flat metrics and as a table.

    Args:
        states: (N, O); rows whose state is neither 1 nor 0 do not count for that observation.
        scores: (N, O), higher for positive.
        names: of the O observations.
        weights: (B, N) bootstrap weights, or None for no intervals.
        min_count: positives and negatives an observation needs to count in the means.
        thresholds: score from which on an observation is called present; there is no F1 of those without.
    """
    rows: list[dict[str, object]] = []
    counted: dict[str, list[Statistic]] = {"auroc": [], "ap": [], "f1": []}
    metrics: dict[str, float] = {}
    for j, name in enumerate(names):
        known = np.isin(states[:, j], (0.0, 1.0))
        truth, given = states[known, j] == 1, scores[known, j]
        statistics = {"auroc": partial(auroc, truth, given), "ap": partial(average_precision, truth, given)}
        if name in thresholds:
            statistics["f1"] = partial(f1_score, truth, given >= thresholds[name])
        positives, negatives = int(truth.sum()), int((~truth).sum())
        row: dict[str, object] = {"observation": name, "positive": positives, "negative": negatives}
        for metric, statistic in statistics.items():
            among = partial(_among, statistic, known)
            found = interval(among, weights)
            if min(positives, negatives) >= min_count:
                counted[metric].append(among)
            metrics |= with_bounds(f"{metric}/{name}", found)
            row |= {metric: found.value, f"{metric}_low": found.low, f"{metric}_high": found.high}
        rows.append(row)
    undefined = Interval(float("nan"), float("nan"), float("nan"))
    means: dict[str, float] = {}
    for metric, among_counted in counted.items():
        if among_counted or metric == "auroc":
            mean = interval(mean_of(among_counted), weights) if among_counted else undefined
            means |= with_bounds(f"{metric}/mean", mean)
    return means | metrics, pd.DataFrame(rows)


def mean_auroc(names: Sequence[str], min_count: int) -> Callable[[np.ndarray, np.ndarray], float]:
    """Returns a function of states and scores, both (N, O), to their mean AUROC; see `multilabel`."""

    def score(states: np.ndarray, scores: np.ndarray) -> float:
        return multilabel(states, scores, names, weights=None, min_count=min_count)[0]["auroc/mean"]

    return score


def multiclass(
    states: np.ndarray, scores: np.ndarray, names: Sequence[str], classes: Sequence[str], *, weights: np.ndarray | None
) -> tuple[dict[str, float], pd.DataFrame]:
    """Returns accuracy and mean recall over rows with exactly one of `classes` positive, and their confusion.

    Args:
        states: (N, O); rows with an uncertain class do not count, unmentioned classes are not there.
        scores: (N, O); the class with the highest wins.
        names: of the O observations.
        classes: some of `names`.
        weights: (B, N) bootstrap weights, or None for no intervals.
    """
    columns = [list(names).index(name) for name in classes]
    among = states[:, columns]
    single = ((among == 1).sum(axis=1) == 1) & ~(among == -1).any(axis=1)
    truth, predicted = (among[single] == 1).argmax(axis=1), scores[single][:, columns].argmax(axis=1)
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


def _among(statistic: Statistic, known: np.ndarray, weights: np.ndarray | None) -> Array:
    """Returns a statistic of the rows that are known, from the weights of all rows."""
    if not known.any():
        return np.full(1 if weights is None else len(weights), np.nan)
    return statistic(None if weights is None else weights[:, known])


def _share_right(
    truth: np.ndarray, predicted: np.ndarray, single: np.ndarray, label: int | None, weights: np.ndarray | None
) -> Array:
    wanted = np.ones(len(truth), dtype=bool) if label is None else truth == label
    drawn = None if weights is None else weights[:, single][:, wanted]
    return accuracy(truth[wanted], predicted[wanted], drawn)


def percent(share: float) -> str:
    """Returns 0.005 as "0.5%"."""
    return f"{100 * share:g}%"


def over_draws(table: pd.DataFrame, name: str) -> dict[str, float]:
    """Returns mean AUROC of each share of labels, with its deviation over draws: `name/auroc/10%`, `.../sd`."""
    metrics = {}
    for share in sorted(table["share"].unique()):
        part = table.loc[table["share"] == share, "auroc_mean"]
        metrics[f"{name}/auroc/{percent(float(share))}"] = float(part.mean())
        if len(part) > 1:
            metrics[f"{name}/auroc/{percent(float(share))}/sd"] = float(part.std(ddof=1))
    return metrics
