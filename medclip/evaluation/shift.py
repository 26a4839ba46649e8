"""How far a model falls from one hospital or test set to the next, and how much of that is more than expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from medclip.data.tables import TEST_SET
from medclip.evaluation.bootstrap import Metric, Resamples, Sampled, mean_sampled, sample
from medclip.evaluation.groups import Group
from medclip.evaluation.metrics import auroc

#: Columns whose groups are places: of these the first is what others are compared with.
PLACES = ("site", TEST_SET)
#: Other models that a line of effective robustness needs.
LEAST_REFERENCES = 3


@dataclass(frozen=True)
class Shift:
    """Mean AUROC by place, over the observations that all places have enough of.

    Attributes:
        sampled: Mean AUROC of each place, as `auroc/shared/COLUMN=VALUE`.
        metrics: The same with intervals, and `auroc/difference/COLUMN/VALUE-FIRST`.
        table: A row a place.
    """

    sampled: dict[str, Sampled]
    metrics: dict[str, Metric]
    table: pd.DataFrame


def shift_between(
    states: np.ndarray,
    scores: np.ndarray,
    groups: Sequence[Group],
    *,
    resamples: Resamples | None,
    min_count: int,
) -> Shift:
    """Returns mean AUROC of each group and its difference to the first one, over the same observations.

    Differences are taken within each resample of patients, so that their intervals know of patients in two groups.

    Args:
        states: (N, O).
        scores: (N, O), higher for positive.
        groups: Places, the one to compare with first.
        resamples: Bootstrap resamples of the N rows, or None for no intervals.
        min_count: Positives and negatives an observation needs in every group.
    """
    counts = [((states[g.rows] == 1).sum(axis=0), (states[g.rows] == 0).sum(axis=0)) for g in groups]
    shared = np.flatnonzero(
        [min(min(one[j], no[j]) for one, no in counts) >= min_count for j in range(states.shape[1])]
    )
    if not len(shared):
        return Shift({}, {}, pd.DataFrame())
    sampled = {f"auroc/shared/{g.column}={g.value}": _mean(states, scores, shared, g, resamples) for g in groups}
    metrics = {name: replace(one.metric(), count=len(shared), chance=0.5) for name, one in sampled.items()}
    rows, (first, *_) = [], groups
    base = sampled[f"auroc/shared/{first.column}={first.value}"]
    for group, (positives, _) in zip(groups, counts, strict=True):
        own = metrics[f"auroc/shared/{group.column}={group.value}"]
        row: dict[str, object] = {"by": group.column, "place": group.value, "images": int(group.rows.sum())}
        row |= {"patients": group.patients, "observations": len(shared), "positives": int(positives[shared].sum())}
        row |= {"auroc": own.value, "auroc_low": own.low, "auroc_high": own.high, "chance": 0.5}
        if group is not first:
            other = sampled[f"auroc/shared/{group.column}={group.value}"]
            found = replace(Sampled(other.value - base.value, other.drawn - base.drawn).metric(), count=len(shared))
            metrics[f"auroc/difference/{group.column}/{group.value}-{first.value}"] = found
            row |= {"less the first": found.value, "less the first_low": found.low, "less the first_high": found.high}
        rows.append(row)
    return Shift(sampled, metrics, pd.DataFrame(rows))


def _mean(
    states: np.ndarray, scores: np.ndarray, columns: np.ndarray, group: Group, resamples: Resamples | None
) -> Sampled:
    found = []
    for j in columns:
        rows = np.flatnonzero(group.rows & np.isin(states[:, j], (0.0, 1.0)))
        drawn = None if resamples is None else resamples.take(rows)
        found.append(sample(partial(auroc, states[rows, j] == 1, scores[rows, j]), drawn))
    return mean_sampled(found)


def effective_robustness(
    inside: Sampled, shifted: Sampled, references: Sequence[tuple[float, float]]
) -> tuple[Metric, Metric]:
    """Returns what references let expect on the shifted set, and how far the model is above that.

    As in Taori et al. 2020, section 2: a line between the logits of both, fitted to other models by least squares;
    effective robustness is what is above the line at the model's own value in distribution. Theirs are accuracies,
    ours mean AUROC. The line counts as known: intervals are about the patients of the two test sets alone.

    Args:
        inside: The model in distribution.
        shifted: The model on the shifted set.
        references: Values of other models, in distribution and shifted; both are undefined with fewer than
            `LEAST_REFERENCES` different ones.
    """
    points = np.clip(np.array(references, dtype=np.float64).reshape(-1, 2), 1e-6, 1 - 1e-6)
    if len(np.unique(points[:, 0])) < LEAST_REFERENCES:
        return Metric(float("nan")), Metric(float("nan"))
    slope, offset = np.polyfit(_logit(points[:, 0]), _logit(points[:, 1]), 1)

    def expected(values: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(slope * _logit(np.clip(values, 1e-6, 1 - 1e-6)) + offset)))

    line = Sampled(float(expected(np.array(inside.value))), expected(inside.drawn))
    above = Sampled(shifted.value - line.value, shifted.drawn - line.drawn)
    return line.metric(), above.metric()


def _logit(values: np.ndarray) -> np.ndarray:
    return np.log(values / (1 - values))
