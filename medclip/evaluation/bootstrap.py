"""A metric with its interval, and the bootstrap over patients that gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
#: A number as a function of resample weights (B, N): one value for each resample, or one without weights.
Statistic = Callable[[np.ndarray | None], Array]

_NAN = float("nan")
#: Numbers of one block of weights: what is held at once while a statistic is resampled.
_BLOCK = 2**23


@dataclass(frozen=True)
class Metric:
    """A number of an evaluation and what is known of its precision; NaN where something is not defined.

    Attributes:
        value: The number.
        low: Lower bound of its 95 % interval.
        high: Upper bound of its 95 % interval.
        sd: Standard deviation over repetitions, such as draws of prompts.
        count: What it was counted over, where not all images count.
        chance: What an answer without looking gets, where that is known.
    """

    value: float
    low: float = _NAN
    high: float = _NAN
    sd: float = _NAN
    count: int | None = None
    chance: float = _NAN


def flat(metrics: Mapping[str, Metric]) -> dict[str, float]:
    """Returns numbers by name, as metrics.json has them: NAME, NAME/low, /high, /sd, /rows and /chance."""
    numbers: dict[str, float] = {}
    for name, metric in metrics.items():
        numbers[name] = metric.value
        ends = {"low": metric.low, "high": metric.high, "sd": metric.sd}
        numbers |= {f"{name}/{end}": value for end, value in ends.items() if np.isfinite(value)}
        if metric.count is not None:
            numbers[f"{name}/rows"] = float(metric.count)
        if np.isfinite(metric.chance):
            numbers[f"{name}/chance"] = float(metric.chance)
    return numbers


class Resamples:
    """How often each of N rows is drawn in each of B resamples of patients.

    Images of one patient are alike; drawing patients rather than images keeps intervals honest. Only counts of
    patients are kept; weights of rows (b, N) are made for a block of resamples at a time.

    Args:
        counts: (B, P) how often each patient is drawn.
        member: (N,) which patient each row belongs to.
    """

    def __init__(self, counts: np.ndarray, member: np.ndarray) -> None:
        self._counts, self._member = counts, member

    def __len__(self) -> int:
        return len(self._counts)

    def take(self, rows: np.ndarray) -> Resamples:
        """Returns the resamples of some rows, named by index or mask (N,)."""
        return Resamples(self._counts, self._member[rows])

    def blocks(self) -> Iterator[np.ndarray]:
        """Yields weights (b, N), float32, whose small whole numbers are exact."""
        size = max(1, _BLOCK // max(1, len(self._member)))
        for start in range(0, len(self._counts), size):
            yield self._counts[start : start + size].astype(np.float32)[:, self._member]


def bootstrap(patients: np.ndarray, *, resamples: int, seed: int) -> Resamples | None:
    """Returns resamples in which patients (N,) are drawn with replacement; None for no resamples."""
    if not resamples:
        return None
    names, member = np.unique(np.asarray(patients).astype(str), return_inverse=True)
    rng, chance = np.random.default_rng(seed), np.full(len(names), 1 / len(names))
    counts = np.empty((resamples, len(names)), dtype=np.uint16)
    for row in counts:
        row[:] = rng.multinomial(len(names), chance)
    return Resamples(counts, member)


@dataclass(frozen=True)
class Sampled:
    """A statistic of all rows, and of each resample (B,); of none where `drawn` is empty."""

    value: float
    drawn: Array

    def metric(self) -> Metric:
        """Returns the value with its 95 % percentile interval."""
        drawn = self.drawn[np.isfinite(self.drawn)]
        if not np.isfinite(self.value) or len(drawn) < 2:
            return Metric(self.value)
        low, high = np.quantile(drawn, (0.025, 0.975))
        return Metric(self.value, float(low), float(high))


def sample(statistic: Statistic, resamples: Resamples | None) -> Sampled:
    """Returns a statistic of all rows and of each resample."""
    drawn = [] if resamples is None else [statistic(weights) for weights in resamples.blocks()]
    return Sampled(float(statistic(None)[0]), np.concatenate(drawn) if drawn else np.empty(0))


def interval(statistic: Statistic, resamples: Resamples | None) -> Metric:
    """Returns a statistic with its 95 % percentile interval over the resamples, if there are any."""
    return sample(statistic, resamples).metric()


def mean_sampled(sampled: Sequence[Sampled]) -> Sampled:
    """Returns the mean of statistics within each resample, leaving out undefined ones; NaN of nothing."""
    if not sampled:
        return Sampled(_NAN, np.empty(0))
    value = mean_defined(np.array([[one.value] for one in sampled]))[0]
    return Sampled(float(value), mean_defined(np.stack([one.drawn for one in sampled])))


def mean_defined(values: Array) -> Array:
    """Returns the mean over the first axis of those values that are defined; NaN where none is."""
    known = np.isfinite(values)
    total, count = np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
