"""How far labels agree with others': precision, recall and F1 of states, and Cohen's kappa."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medclip.evaluation.bootstrap import Array, Resamples, mean_defined


def precision_recall(
    truth: np.ndarray, predicted: np.ndarray, names: Sequence[str], *, resamples: Resamples | None
) -> pd.DataFrame:
    """Returns precision, recall and F1 of each column, micro (of all decisions) and macro (mean over columns).

    Args:
        truth: (N, O) booleans.
        predicted: (N, O) booleans.
        names: Names of the O columns; those without any true row do not count in the macro mean.
        resamples: Bootstrap resamples of the N rows, or None for no intervals.
    """
    drawn = np.vstack([np.ones((1, len(truth))), *(resamples.blocks() if resamples else ())])
    counts = [drawn @ cell.astype(np.float64) for cell in (truth & predicted, ~truth & predicted, truth & ~predicted)]
    scored = {name: _rates(*(cell[:, j] for cell in counts)) for j, name in enumerate(names)}
    scored["micro"] = _rates(*(cell.sum(axis=1) for cell in counts))
    counted = [scored[name] for j, name in enumerate(names) if truth[:, j].any()]
    if counted:
        scored["macro"] = mean_defined(np.stack(counted))
    rows = []
    for name, rates in scored.items():
        row: dict[str, object] = {"observation": name}
        for rate, values in zip(("precision", "recall", "f1"), rates, strict=True):
            row[rate] = values[0]
            if resamples is not None:
                row[f"{rate}_low"], row[f"{rate}_high"] = np.nanquantile(values[1:], (0.025, 0.975))
        rows.append(
            row | {"count": int(truth[:, list(names).index(name)].sum()) if name in names else int(truth.sum())}
        )
    return pd.DataFrame(rows)


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
        # Of all rows, nothing called right of nothing is 0, as scikit-learn has it; in a resample it is not defined.
        undefined = np.where(np.arange(len(part)) == 0, 0.0, np.nan)
        return np.divide(part, whole, out=undefined, where=whole > 0)

    return np.stack([share(hits, hits + false), share(hits, hits + missed), share(2 * hits, 2 * hits + false + missed)])
