"""Metrics as pure functions of arrays, and those of several observations or classes together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from labelers.errors import UserError
from medclip.evaluation.bootstrap import (
    Array,
    Metric,
    Resamples,
    Sampled,
    Statistic,
    interval,
    mean_sampled,
    sample,
)
from medclip.evaluation.unseen import seen_and_unseen


def auroc(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> Array:
    """Returns the area under the ROC curve, for each row of `weights` (B, N), or a single one without them.

    It is the chance that a positive scores above a negative, ties counting half; NaN with one class only. Weighted,
    it serves the bootstrap: all resamples share one sort, and each costs one cumulative sum.

    Args:
        truth: (N,) booleans.
        scores: (N,) numbers, higher for positive.
        weights: (B, N) how often each row is drawn.

    Raises:
        UserError: A score is NaN.
    """
    truth, scores = np.asarray(truth, dtype=bool), _checked_scores(scores)
    order = np.argsort(scores, kind="stable")
    ranked, positive = scores[order], truth[order]
    drawn = _weights(weights, len(truth))[:, order]
    negatives = np.zeros((len(drawn), len(order) + 1), dtype=drawn.dtype)  # drawn below each rank
    np.cumsum(np.where(positive, 0, drawn), axis=1, out=negatives[:, 1:])
    values = ranked[positive]
    first, last = np.searchsorted(ranked, values, side="left"), np.searchsorted(ranked, values, side="right")
    chosen = drawn[:, positive]
    wins = np.einsum("bp,bp->b", chosen, negatives[:, first] + negatives[:, last], dtype=np.float64) / 2
    pairs = chosen.sum(axis=1, dtype=np.float64) * negatives[:, -1]
    return np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def _weights(weights: np.ndarray | None, rows: int) -> Array:
    return np.ones((1, rows)) if weights is None else np.asarray(weights)


def _checked_scores(scores: np.ndarray) -> Array:
    """Returns scores as floats.

    Raises:
        UserError: Some are NaN, which sorting would put in a place of its own.
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
    order = np.argsort(-scores, kind="stable")
    positive, drawn = truth[order], _weights(weights, len(truth))[:, order]
    last = np.searchsorted(-scores[order], -scores[order][positive], side="right") - 1  # of those with equal scores
    chosen = drawn[:, positive]
    called = np.cumsum(drawn, axis=1)[:, last]
    hits = np.cumsum(np.where(positive, drawn, 0), axis=1)[:, last]
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    area = np.einsum("bp,bp->b", chosen, precision, dtype=np.float64)
    total = chosen.sum(axis=1, dtype=np.float64)
    return np.divide(area, total, out=np.full(len(total), np.nan), where=total > 0)


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


def spearman(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> Array:
    """Returns the rank correlation, for each row of `weights` (B, N); NaN where one side does not vary.

    Equal values share the mean of their ranks, and a row that is drawn twice counts as two of equal values.
    """
    drawn = np.ones((1, len(truth))) if weights is None else np.asarray(weights, dtype=np.float64)
    ranks = [_ranks(np.asarray(values, dtype=np.float64), drawn) for values in (truth, _checked_scores(scores))]
    total = drawn.sum(axis=1, keepdims=True)
    centred = [one - (drawn * one).sum(axis=1, keepdims=True) / np.maximum(total, 1) for one in ranks]
    covariance = (drawn * centred[0] * centred[1]).sum(axis=1)
    spread = np.sqrt(np.prod([(drawn * one**2).sum(axis=1) for one in centred], axis=0))
    return np.divide(covariance, spread, out=np.full(len(drawn), np.nan), where=spread > 1e-9)


def _ranks(values: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Returns the mean rank (B, N) of each value in each resample."""
    _, place = np.unique(values, return_inverse=True)
    counts = np.zeros((len(drawn), place.max() + 1 if len(place) else 0))
    np.add.at(counts.T, place, drawn.T)
    return (np.cumsum(counts, axis=1) - counts / 2)[:, place]


def accuracy(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> Array:
    """Returns the share of rows predicted right, for each row of `weights` (B, N)."""
    return weighted_mean((np.asarray(truth) == np.asarray(predicted)).astype(np.float64), weights)


def weighted_mean(values: np.ndarray, weights: np.ndarray | None = None) -> Array:
    """Returns the mean of `values` (N,), for each row of `weights` (B, N); NaN where nothing was drawn."""
    weights = np.ones((1, len(values))) if weights is None else weights
    total = weights.sum(axis=1)
    return np.divide(weights @ values, total, out=np.full(len(total), np.nan), where=total > 0)


def multilabel(
    states: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    *,
    resamples: Resamples | None,
    min_count: int,
    thresholds: Mapping[str, float] = {},
    unseen: Collection[str] = (),
) -> tuple[dict[str, Metric], pd.DataFrame]:
    """Returns AUROC, average precision and F1 of each observation and their means, as metrics and as a table.

    Args:
        states: (N, O); rows whose state is neither 1 nor 0 do not count for that observation.
        scores: (N, O), higher for positive.
        names: Names of the O observations.
        resamples: Bootstrap resamples of the N rows, or None for no intervals.
        min_count: Positives and negatives an observation needs to count in the means.
        thresholds: Score from which on an observation is called present; there is no F1 of those without.
        unseen: Observations that the model was not trained on; with some, AUROC and average precision of both sides
            and their harmonic mean are there, too, see `seen_and_unseen`. The means stay over all.
    """
    rows: list[dict[str, object]] = []
    counted: dict[str, dict[str, Sampled]] = {"auroc": {}, "ap": {}, "f1": {}}
    metrics: dict[str, Metric] = {}
    for j, name in enumerate(names):
        known = np.isin(states[:, j], (0.0, 1.0))
        truth, given = states[known, j] == 1, scores[known, j]
        statistics = {"auroc": partial(auroc, truth, given), "ap": partial(average_precision, truth, given)}
        if name in thresholds:
            statistics["f1"] = partial(f1_score, truth, given >= thresholds[name])
        positives, negatives = int(truth.sum()), int((~truth).sum())
        row: dict[str, object] = {"observation": name, "positive": positives, "negative": negatives}
        row |= {"trained on": "no" if name in unseen else "yes"} if unseen else {}
        for metric, statistic in statistics.items():
            sampled = _sample_known(statistic, known, resamples)
            if min(positives, negatives) >= min_count:
                counted[metric][name] = sampled
            found = metrics[f"{metric}/{name}"] = replace(
                sampled.metric(), chance=_chance(metric, positives, negatives), count=positives + negatives
            )
            row |= {metric: found.value, f"{metric}_low": found.low, f"{metric}_high": found.high}
        row |= {f"{metric} by chance": metrics[f"{metric}/{name}"].chance for metric in ("auroc", "ap")}
        rows.append(row)
    means = {
        f"{metric}/mean": replace(mean_sampled(list(of.values())).metric(), count=len(of))
        for metric, of in counted.items()
        if of or metric == "auroc"
    }
    chance = {
        metric: {name: metrics[f"{metric}/{name}"].chance for name in counted[metric]} for metric in ("auroc", "ap")
    }
    means["auroc/mean"] = replace(means["auroc/mean"], chance=0.5)
    if counted["ap"]:
        means["ap/mean"] = replace(means["ap/mean"], chance=float(np.mean(list(chance["ap"].values()))))
    sides = seen_and_unseen(counted, unseen, chance=chance) if unseen else {}
    return sides | means | metrics, pd.DataFrame(rows)


def _chance(metric: str, positives: int, negatives: int) -> float:
    """Returns what scores that say nothing get: half of the area, or the share of positives as precision."""
    known = {"auroc": 0.5, "ap": positives / max(positives + negatives, 1)}
    return known.get(metric, float("nan")) if positives else float("nan")


def _sample_known(statistic: Statistic, known: np.ndarray, resamples: Resamples | None) -> Sampled:
    """Returns a statistic of the rows that are known; undefined where none is."""
    if not known.any():
        return Sampled(float("nan"), np.full(0 if resamples is None else len(resamples), np.nan))
    return sample(statistic, None if resamples is None else resamples.take(known))


def mean_auroc(names: Sequence[str], min_count: int) -> Callable[[np.ndarray, np.ndarray], float]:
    """Returns a function of states and scores, both (N, O), to their mean AUROC; see `multilabel`."""

    def score(states: np.ndarray, scores: np.ndarray) -> float:
        return multilabel(states, scores, names, resamples=None, min_count=min_count)[0]["auroc/mean"].value

    return score


def multiclass(
    states: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    classes: Sequence[str],
    *,
    resamples: Resamples | None,
) -> tuple[dict[str, Metric], pd.DataFrame]:
    """Returns accuracy and mean recall over rows with exactly one of `classes` positive, and their confusion.

    Args:
        states: (N, O); rows with an uncertain class do not count, unmentioned classes are not there.
        scores: (N, O); the class with the highest wins.
        names: Names of the O observations.
        classes: Some of `names`.
        resamples: Bootstrap resamples of the N rows, or None for no intervals.
    """
    columns = [list(names).index(name) for name in classes]
    among = states[:, columns]
    single = ((among == 1).sum(axis=1) == 1) & ~(among == -1).any(axis=1)
    truth, predicted = (among[single] == 1).argmax(axis=1), scores[single][:, columns].argmax(axis=1)
    metrics: dict[str, Metric] = {"accuracy": Metric(float("nan"), count=0)}
    if single.any():
        drawn = None if resamples is None else resamples.take(single)
        recalls = [sample(partial(_share_right, truth, predicted, c), drawn) for c in np.unique(truth)]
        right = interval(partial(_share_right, truth, predicted, None), drawn)
        metrics["accuracy"] = replace(right, count=int(single.sum()), chance=1 / len(classes))
        metrics["balanced_accuracy"] = replace(mean_sampled(recalls).metric(), chance=1 / len(classes))
    confusion = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(confusion, (truth, predicted), 1)
    return metrics, pd.DataFrame(confusion, columns=list(classes)).assign(truth=list(classes)).set_index(
        "truth"
    ).reset_index()


def _share_right(truth: np.ndarray, predicted: np.ndarray, label: int | None, weights: np.ndarray | None) -> Array:
    wanted = np.ones(len(truth), dtype=bool) if label is None else truth == label
    return accuracy(truth[wanted], predicted[wanted], None if weights is None else weights[:, wanted])


def percent(share: float) -> str:
    """Returns 0.005 as "0.5%"."""
    return f"{100 * share:g}%"


def over_draws(table: pd.DataFrame, name: str, ends: Mapping[float, Metric]) -> dict[str, Metric]:
    """Returns mean AUROC of each share of labels, with its deviation over draws.

    Args:
        table: Columns share and auroc_mean, a row for each draw.
        name: First part of the metrics' names.
        ends: Metrics whose intervals belong to a share that was drawn once.
    """
    metrics = {}
    for share in sorted(table["share"].unique()):
        part = table.loc[table["share"] == share, "auroc_mean"]
        deviation = float(part.std(ddof=1)) if len(part) > 1 else float("nan")
        once = ends.get(float(share), Metric(float("nan")))
        metrics[f"{name}/auroc/{percent(float(share))}"] = replace(
            once, value=float(part.mean()), sd=deviation, count=len(part), chance=0.5
        )
    return metrics
