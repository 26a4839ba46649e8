"""The data-efficiency curve: which runs it is made of, and what their numbers say together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Point:
    """One training run of a curve.

    Attributes:
        arm: What is compared: an objective, or a recipe by name.
        size: Training images and reports.
        seed: Seed of everything random in it.
    """

    arm: str
    size: int
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.arm}-{self.size}-{self.seed}"


def points_of(arms: Sequence[str], sizes: Sequence[int], seeds: int) -> list[Point]:
    """Returns the points, in an order that shows a whole first curve early: seeds outermost, arms innermost."""
    return [Point(arm, size, seed) for seed, size, arm in itertools.product(range(seeds), sorted(sizes), arms)]


def tidy(found: Mapping[Point, Mapping[str, Any]], metrics: Sequence[str]) -> pd.DataFrame:
    """Returns a row for each point and metric: arm, size, seed, metric, value, low and high.

    The last two bound the 95 % bootstrap interval over patients; they are NaN where none was computed.
    """
    rows = [
        (point.arm, point.size, point.seed, metric, values[metric], *_bounds(values, metric))
        for point, values in found.items()
        for metric in metrics
        if values.get(metric) is not None
    ]
    return pd.DataFrame(rows, columns=["arm", "size", "seed", "metric", "value", "low", "high"])


def _bounds(values: Mapping[str, Any], metric: str) -> list[float]:
    found = [values.get(f"{metric}/{bound}") for bound in ("low", "high")]
    return [float("nan") if value is None else float(value) for value in found]


def chance_of(metric: str) -> float | None:
    """Returns what guessing gets in `metric`, where that does not depend on the data: .5 for every AUROC."""
    return 0.5 if {"auroc", "side", "size"} & set(metric.split("/")) else None


def at_chance(runs: pd.DataFrame, chance: float) -> bool:
    """Tells whether runs of one arm and one size are not shown to be better than `chance`.

    They are where the mean of the lower bounds of their 95 % intervals over patients is above it. Without these
    intervals, that of the mean over seeds (t) counts; a single run without any shows nothing.

    Args:
        runs: Rows as `tidy` gives them.
        chance: What guessing gets.
    """
    low = runs["low"].mean() if "low" in runs.columns else float("nan")
    if np.isnan(low) and len(runs) > 1:
        from scipy.stats import t

        low = runs["value"].mean() - t.ppf(0.975, len(runs) - 1) * runs["value"].std() / np.sqrt(len(runs))
    return not low > chance


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Returns mean, deviation and count over seeds: arm, metric, size, mean, sd, seeds."""
    grouped = table.groupby(["metric", "arm", "size"], sort=True)["value"]
    return grouped.agg(mean="mean", sd="std", seeds="size").reset_index()


@dataclass(frozen=True)
class Factor:
    """How many times as many samples one arm needs as another, to be equally good.

    Attributes:
        level: The metric at which they are compared: the best that both reach.
        mine: Samples that the first arm needs for it.
        theirs: Samples that the other one needs.
        low: Lower bound of the 95 % interval of theirs over mine; NaN if nothing says how precise the runs are.
        high: Upper bound of it.
        mine_bounded: Whether the first arm is that good at its smallest size already, and so needs no more than `mine`.
        theirs_bounded: The same of the other arm.
    """

    level: float
    mine: float
    theirs: float
    low: float
    high: float
    mine_bounded: bool
    theirs_bounded: bool


def needed(sizes: np.ndarray, values: np.ndarray, target: float) -> float:
    """Returns the size at which a curve first reaches `target`, interpolated on a log scale; infinity if it never does.

    A curve that starts above the target needs its smallest size, or less.
    """
    for i, value in enumerate(values):
        if value >= target:
            if i == 0:
                return float(sizes[0])
            share = (target - values[i - 1]) / (value - values[i - 1])
            return float(np.exp(np.log(sizes[i - 1]) + share * np.log(sizes[i] / sizes[i - 1])))
    return float("inf")


def rising(values: np.ndarray) -> np.ndarray:
    """Returns the nearest values (least squares) that never fall: more data do no harm (isotonic regression)."""
    from sklearn.isotonic import IsotonicRegression

    return np.asarray(IsotonicRegression().fit_transform(np.arange(len(values)), values))


def factor(mine: pd.DataFrame, theirs: pd.DataFrame, *, draws: int = 2000, seed: int = 0) -> Factor:
    """Returns how many times as many samples the arm `theirs` needs as `mine` to be equally good in one metric.

    Both curves are fitted by `rising` and read between sizes on a log scale, never beyond them. The interval draws
    seeds anew, and for every arm and size an error with the spread of its interval over patients. These errors are
    taken as independent, although the arms are tested on the same patients; so the interval is rather too wide.

    Args:
        mine: Rows of one arm and metric, as `tidy` gives them.
        theirs: Those of another.
        draws: Number of resamples.
        seed: Seed of the resamples.
    """
    rng = np.random.default_rng(seed)
    runs = [_by_size(arm) for arm in (mine, theirs)]

    def compared(curves: list[np.ndarray]) -> tuple[float, float, float]:
        fitted = [rising(curve) for curve in curves]
        level = min(curve[-1] for curve in fitted)
        first, second = (needed(sizes, curve, level) for (sizes, _, _), curve in zip(runs, fitted, strict=True))
        return level, first, second

    level, first, second = compared([np.array([np.mean(v) for v in values]) for _, values, _ in runs])
    known = all(np.isfinite(errors).all() or min(map(len, values)) > 1 for _, values, errors in runs)
    ratios = []
    for _ in range(draws if known else 0):
        drawn = [
            np.array([np.mean(rng.choice(v, len(v))) for v in values]) + rng.standard_normal(len(errors)) * errors
            for _, values, errors in ((s, v, np.nan_to_num(e)) for s, v, e in runs)
        ]
        _, one, other = compared(drawn)
        ratios.append(other / one)
    low, high = np.quantile(ratios, [0.025, 0.975]) if ratios else (float("nan"), float("nan"))
    smallest = [sizes[0] for sizes, _, _ in runs]
    return Factor(level, first, second, float(low), float(high), first == smallest[0], second == smallest[1])


def _by_size(rows: pd.DataFrame) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Returns the sizes of an arm, the values of the runs of each, and the standard error of each over patients."""
    sizes = sorted(rows["size"].unique().tolist())
    groups = [rows[rows["size"] == size] for size in sizes]
    errors = [float((group["high"] - group["low"]).mean()) / (2 * 1.96) for group in groups]
    return np.array(sizes, dtype=float), [group["value"].to_numpy() for group in groups], np.array(errors)


def statement(table: pd.DataFrame, metric: str) -> list[str]:
    """Returns sentences: how many times as many samples each arm needs as the first to be equally good; see `factor`.

    Of an arm whose best is not shown to be better than guessing, nothing is claimed but that. What guessing gets in
    accuracy depends on the classes, so there the mean AUROC of the same runs tells.
    """
    rows = table[table["metric"] == metric]
    means = summary(rows)
    judge = _judge(metric)
    guessing = _guessing(table[table["metric"] == judge], chance_of(judge))
    arms, lines = [], []
    for arm in dict.fromkeys(rows["arm"]):
        part = means[means["arm"] == arm]
        best = part.iloc[int(np.argmax(part["mean"].to_numpy()))]
        if (arm, int(best["size"])) in guessing:
            lines.append(
                f"{arm}: at {best['size']:,.0f} samples, where its {metric} is best ({best['mean']:.3f}), its {judge} "
                "is not shown to be better than chance (0.500). Nothing is said of how many samples it needs."
            )
        elif len(part) > 1:
            arms.append(arm)
    first = rows["arm"].iloc[0] if len(rows) else None
    for other in arms if first in arms else ():
        if other != first:
            found = factor(rows[rows["arm"] == first], rows[rows["arm"] == other])
            lines.append(_told(str(first), str(other), metric, found))
    return lines


def _told(first: str, other: str, metric: str, found: Factor) -> str:
    ratio = found.theirs / found.mine
    bounds = {(True, False): "at least ", (False, True): "at most "}.get((found.mine_bounded, found.theirs_bounded), "")
    interval = "no interval" if np.isnan(found.low) else f"95 % interval {found.low:.2g} to {found.high:.2g}"
    mine, theirs = (
        f"{'no more than ' if bounded else 'about '}{size:,.0f}"
        for size, bounded in ((found.mine, found.mine_bounded), (found.theirs, found.theirs_bounded))
    )
    if found.mine_bounded and found.theirs_bounded:
        return f"{first} and {other} both have {metric} {found.level:.3f} at their smallest sizes; no factor is told."
    return (
        f"{first} has {metric} {found.level:.3f} with {mine} samples, {other} with {theirs}: {bounds}{ratio:.2g} times "
        f"as many ({interval})."
    )


def verdict(table: pd.DataFrame, metric: str) -> list[str]:
    """Returns sentences: at which sizes the first arm is ahead of each other, level with it, or behind it.

    Level means that zero is within the 95 % interval of the difference of means over seeds (Welch's t); a size with
    one seed only has no interval, and is told as unknown. Where neither is shown to be better than guessing, there is
    nothing to compare.
    """
    from scipy.stats import t

    rows = table[table["metric"] == metric]
    grouped = rows.groupby(["arm", "size"])["value"].agg(["mean", "var", "size"])
    judge = _judge(metric)
    arms, guessing = list(dict.fromkeys(rows["arm"])), _guessing(table[table["metric"] == judge], chance_of(judge))
    lines = []
    for other in arms[1:]:
        sides: dict[str, list[str]] = {
            "ahead": [], "level": [], "behind": [], "unknown, with one seed,": [], "both at chance": []
        }  # fmt: skip
        for size in sorted(set(grouped.loc[arms[0]].index) & set(grouped.loc[other].index)):
            mine, theirs = grouped.loc[(arms[0], size)], grouped.loc[(other, size)]
            difference = mine["mean"] - theirs["mean"]
            if {(arms[0], size), (other, size)} <= guessing:
                sides["both at chance"].append(f"{size:,}")
                continue
            if min(mine["size"], theirs["size"]) < 2:
                sides["unknown, with one seed,"].append(f"{size:,} ({difference:+.3f})")
                continue
            parts = np.array([one["var"] / one["size"] for one in (mine, theirs)])
            freedom = parts.sum() ** 2 / max((parts**2 / [mine["size"] - 1, theirs["size"] - 1]).sum(), 1e-300)
            error = t.ppf(0.975, max(freedom, 1)) * np.sqrt(parts.sum())
            side = "level" if abs(difference) <= error else "ahead" if difference > 0 else "behind"
            sides[side].append(f"{size:,} ({difference:+.3f})")
        told = "; ".join(f"{side} at {', '.join(sizes)}" for side, sizes in sides.items() if sizes)
        lines.append(f"{arms[0]} against {other}, {metric}: {told}.")
    return lines


def _judge(metric: str) -> str:
    """Returns the metric whose chance is known and tells whether `metric` is above chance."""
    return "auroc/mean" if metric.endswith("accuracy") else metric


def _guessing(rows: pd.DataFrame, chance: float | None) -> set[tuple[str, int]]:
    """Returns the arms and sizes of one metric that are not shown to be better than `chance`; none where it is None."""
    if chance is None:
        return set()
    return {
        (str(arm), int(size))
        for arm, size in rows[["arm", "size"]].drop_duplicates().to_numpy().tolist()
        if at_chance(rows[(rows["arm"] == arm) & (rows["size"] == size)], chance)
    }


def draw(
    table: pd.DataFrame, metrics: Sequence[str], *, published: Mapping[str, Sequence[tuple[str, float, float]]] = {}
) -> Figure:
    """Returns a figure with one panel a metric: the mean over seeds, their spread, every run as a dot, and chance.

    Args:
        table: What `tidy` gives.
        metrics: The panels.
        published: Markers (label, size, value) of numbers published elsewhere, by metric.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4 * len(metrics), 4.8), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(metrics)))
    for axes, metric in zip(panels, metrics, strict=True):
        rows = table[table["metric"] == metric]
        for i, (arm, part) in enumerate(summary(rows).groupby("arm")):
            spread = part["sd"].fillna(0)
            axes.plot(part["size"], part["mean"], color=f"C{i}", marker="o", label=str(arm))
            axes.fill_between(
                part["size"], part["mean"] - spread, part["mean"] + spread, color=f"C{i}", alpha=0.15, linewidth=0
            )
            runs = rows[rows["arm"] == arm]
            axes.scatter(runs["size"], runs["value"], color=f"C{i}", s=8)
        for label, size, value in published.get(metric, ()):
            axes.scatter([size], [value], color="black", marker="x")
            axes.annotate(label, (size, value), fontsize=8, xytext=(4, 4), textcoords="offset points")
        if (chance := chance_of(metric)) is not None:
            axes.axhline(chance, color="grey", linestyle="--", linewidth=1, label="chance")
        axes.set_xscale("log")
        ticks = sorted(rows["size"].unique())
        axes.set_xticks(ticks, [f"{size:,}" for size in ticks], rotation=30)
        axes.minorticks_off()
        axes.set(xlabel="training images and reports", ylabel=metric)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.suptitle("Data efficiency: mean and standard deviation over seeds", fontsize=11)
    return figure
