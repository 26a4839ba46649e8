"""Figures of evaluations, from arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from medclip.evaluation.bootstrap import Metric

#: A name with truth (N,) and scores (N,).
Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]


def roc(curves: Curves) -> Figure:
    """Returns the ROC curve of each observation, with its area."""
    from sklearn.metrics import roc_auc_score, roc_curve

    figure, axes = _axes(7, 6)
    _colours(axes)
    for name, (truth, scores) in curves.items():
        false, true, _ = roc_curve(truth, scores)
        axes.plot(false, true, label=f"{name} {roc_auc_score(truth, scores):.2f}")
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC by observation, with area")
    axes.legend(fontsize=8, loc="lower right")
    return figure


def precision_recall(curves: Curves) -> Figure:
    """Returns the precision-recall curve of each observation, with average precision and the share of positives."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    figure, axes = _axes(7, 6)
    _colours(axes)
    for name, (truth, scores) in curves.items():
        precision, recall, _ = precision_recall_curve(truth, scores)
        label = f"{name} {average_precision_score(truth, scores):.2f} (by chance {np.mean(truth):.2f})"
        axes.plot(recall, precision, label=label, drawstyle="steps-post")
    axes.set(xlabel="recall", ylabel="precision", ylim=(0, 1.02), title="Precision and recall by observation")
    axes.legend(fontsize=7, loc="upper right")
    return figure


def confusion(table: pd.DataFrame) -> Figure:
    """Returns the confusion of classes, each row as shares; `table` has a column `truth` and one for each class."""
    names = list(table["truth"])
    counts = table[names].to_numpy()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = _axes(6.5, 5.5)
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*counts.shape):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=8)
    _ticks(axes, names, names)
    axes.set(xlabel="predicted", ylabel="truth", title="Which class is taken for which")
    figure.colorbar(drawn, ax=axes, label="share of the row")
    return figure


def reliability(bins: Mapping[str, pd.DataFrame]) -> Figure:
    """Returns predicted chance against observed share for each entry, see `metrics.calibration_error`."""
    figure, axes = _axes(6, 6)
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    for name, table in bins.items():
        axes.plot(table["predicted"], table["observed"], marker="o", markersize=4, label=name)
    axes.set(
        xlabel="predicted probability", ylabel="observed share", xlim=(0, 1), ylim=(0, 1),
        title="Reliability over all observations",
    )  # fmt: skip
    axes.legend(fontsize=8)
    return figure


def similarity(states: np.ndarray, cosines: np.ndarray, names: Sequence[str]) -> Figure:
    """Returns the mean cosine of images labelled so (row) to prompts (column), above the prompt's mean.

    Args:
        states: (N, O).
        cosines: (N, O), to the positive prompts.
        names: Names of the observations.
    """
    lifted = cosines - cosines.mean(axis=0)
    has = (states == 1).astype(float)
    cells = has.T @ lifted / np.maximum(has.sum(axis=0)[:, None], 1)
    figure, axes = _axes(8, 7)
    bound = max(float(np.abs(cells).max()), 1e-6)
    drawn = axes.imshow(cells, cmap="RdBu_r", vmin=-bound, vmax=bound)
    _ticks(axes, names, names)
    axes.set(xlabel="prompt", ylabel="images labelled", title="Similarity of labelled images to prompts")
    figure.colorbar(drawn, ax=axes, label="cosine above the prompt's mean")
    return figure


def learning(table: pd.DataFrame, title: str) -> Figure:
    """Returns a metric against the share of labels used; `table` has share, draw and auroc_mean."""
    figure, axes = _axes(6, 4.5)
    grouped = table.groupby("share")["auroc_mean"]
    axes.errorbar(grouped.mean().index, grouped.mean(), yerr=grouped.std().fillna(0), marker="o", capsize=4)
    axes.scatter(table["share"], table["auroc_mean"], s=10, color="grey")
    axes.set_xscale("log")
    shares = sorted(table["share"].unique())
    axes.set_xticks(shares, [f"{share:.0%}" for share in shares])
    axes.minorticks_off()
    axes.set(xlabel="labelled training images used", ylabel="mean AUROC", title=title)
    axes.grid(alpha=0.3)
    return figure


def by_group(table: pd.DataFrame, name: str) -> Figure:
    """Returns a rate of each group with its interval; `table` has group, value, and NAME with its _low and _high."""
    known = table[table[name].notna()][::-1]
    figure, axes = _axes(7, 1.5 + 0.22 * len(known))
    places = np.arange(len(known))
    axes.plot(known[name], places, "o", markersize=4)
    axes.hlines(places, known[f"{name}_low"], known[f"{name}_high"], alpha=0.5)
    for value in known.loc[known["group"] == "all", name]:
        axes.axvline(value, color="grey", linestyle=":")
    axes.set_yticks(places, [f"{row['group']}: {row['value']} ({row['patients']})" for row in known.to_dict("records")])
    axes.tick_params(axis="y", labelsize=7)
    axes.set(xlabel=f"{name}, mean over observations", title="By group (patients), 95 % intervals; dotted: everybody")
    axes.grid(alpha=0.3, axis="x")
    return figure


def compared(areas: Mapping[str, Mapping[str, Metric]]) -> Figure:
    """Returns the AUROC of each observation, side by side for all that are compared, with intervals."""
    names = list(next(iter(areas.values())))[::-1]
    figure, axes = _axes(7, 1.5 + 0.28 * len(names))
    for place, (who, own) in enumerate(areas.items()):
        known = [(i + 0.2 * (place - 1), own[name]) for i, name in enumerate(names) if name in own]
        axes.plot([one.value for _, one in known], [y for y, _ in known], "o", markersize=4, label=who)
        colour = axes.lines[-1].get_color()
        axes.hlines([y for y, _ in known], [m.low for _, m in known], [m.high for _, m in known], colour, alpha=0.5)
    axes.axvline(0.5, color="grey", linestyle=":")
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel="AUROC", title="By observation, 95 % intervals")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3, axis="x")
    return figure


def by_style(metrics: Mapping[str, Metric]) -> Figure:
    """Returns mean AUROC by style of the prompts, with intervals and a line at chance."""
    figure, axes = _axes(6, 1.2 + 0.4 * len(metrics))
    names = list(metrics)[::-1]
    for place, name in enumerate(names):
        one = metrics[name]
        axes.plot(one.value, place, "o", color="C0", markersize=5)
        axes.hlines(place, one.low, one.high, color="C0", alpha=0.5)
    axes.axvline(0.5, color="grey", linestyle=":")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="mean AUROC", title="By style of the prompts, 95 % intervals; dotted: chance")
    axes.grid(alpha=0.3, axis="x")
    return figure


def risk_coverage(table: pd.DataFrame) -> Figure:
    """Returns the share of wrong answers against the share of images answered; `table` has promise, answered, error."""
    figure, axes = _axes(6, 4.5)
    axes.plot(table["answered"], table["error"], marker="o", markersize=4)
    for row in table.dropna().to_dict("records"):
        axes.annotate(f"{row['promise']:.2f}", (row["answered"], row["error"]), fontsize=7, xytext=(4, 4),
                      textcoords="offset points")  # fmt: skip
    axes.set(xlabel="images answered", ylabel="answers that are wrong", title="Error and answers, by promise")
    axes.grid(alpha=0.3)
    return figure


def scatter(x: np.ndarray, y: np.ndarray, xlabel: str, ylabel: str) -> Figure:
    """Returns one point for each pair."""
    figure, axes = _axes(6, 4.5)
    axes.scatter(x, y, s=12, alpha=0.6)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=f"{len(x)} images")
    axes.grid(alpha=0.3)
    return figure


def few_shot(table: pd.DataFrame, zero: Metric) -> Figure:
    """Returns mean AUROC against shots, a line for each method, with the middle 95 % of its draws.

    Args:
        table: Columns shots (text, in order), method, auroc_mean, auroc_mean_low and auroc_mean_high.
        zero: Mean AUROC of zero-shot, which is what no shots give.
    """
    figure, axes = _axes(7, 4.5)
    shots = list(table["shots"].unique())
    axes.axhline(zero.value, color="grey", linestyle=":", label="zero-shot")
    if zero.low == zero.low:
        axes.axhspan(zero.low, zero.high, color="grey", alpha=0.12)
    for method, part in table.groupby("method", sort=False):
        places = [shots.index(value) for value in part["shots"]]
        low, high = part["auroc_mean_low"].to_numpy(), part["auroc_mean_high"].to_numpy()
        axes.plot(places, part["auroc_mean"], marker="o", markersize=4, label=str(method))
        axes.fill_between(places, low, high, alpha=0.15)
    axes.set_xticks(range(len(shots)), shots)
    axes.set(
        xlabel="labelled images of the rarer state", ylabel="mean AUROC", title="Few-shot: mean of draws, 95 % of them"
    )
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    return figure


def pictures(
    images: Sequence[np.ndarray], titles: Sequence[str], *, boxes: Sequence[np.ndarray] | None = None, columns: int = 4
) -> Figure:
    """Returns images, grey or coloured, in rows, each under its title, with boxes (x, y, width, height) in pixels."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    rows = -(-len(images) // columns)
    lines = max((title.count("\n") + 1 for title in titles), default=1)
    figure = Figure(figsize=(3.2 * columns, (3.3 + 0.15 * lines) * rows), layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes in panels:
        axes.axis("off")
    for i, (axes, image, title) in enumerate(zip(panels, images, titles, strict=False)):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        axes.set_title(title, fontsize=7, loc="left")
        for x, y, width, height in boxes[i] if boxes is not None else ():
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor="cyan", linewidth=1.5))
    return figure


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _colours(axes: Axes) -> None:
    from matplotlib import colormaps

    axes.set_prop_cycle(color=[colormaps["tab20"](i) for i in range(20)])


def _ticks(axes: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    axes.set_xticks(range(len(columns)), columns, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
