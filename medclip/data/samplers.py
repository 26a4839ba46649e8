"""Which rows come when: endless, seeded streams, and the weights that make some rows come more often.

A stream is a pure function of (seed, step): whoever asks for step 1,000 gets the same rows, in any process, with any
number of workers, before or after a crash. So resuming is starting at another step, and several processes share a
stream by each taking every so-manieth row of the same batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from labelers.errors import UserError

#: Groups whose rows are mixed with each other.
TOGETHER = 16


class Stream:
    """An endless, seeded sequence of rows.

    Without weights every lap visits every row once, in a new order; with groups, those of a few groups first, then of
    the next few, so that a reader of files needs few at a time. With weights rows are drawn independently, with
    replacement.

    Args:
        size: Number of rows.
        batch_size: Rows of a global batch.
        seed: Give the two sides different ones.
        weights: (size,) how often rows are wanted, relative to each other; None for laps.
        groups: (size,) numbers of the groups of laps; None for one of all rows.
    """

    def __init__(
        self,
        size: int,
        *,
        batch_size: int,
        seed: int,
        weights: np.ndarray | None = None,
        groups: np.ndarray | None = None,
    ) -> None:
        if size < 1 or batch_size < 1:
            raise UserError(f"A stream needs rows and a batch size; found {size} rows, batch size {batch_size}.")
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self._cumulative = None if weights is None else np.cumsum(weights, dtype=np.float64) / np.sum(weights)
        self._groups = None if groups is None else np.unique(groups, return_inverse=True)[1]
        self._lap: tuple[int, np.ndarray] | None = None

    def rows(self, step: int, *, rank: int = 0, world: int = 1) -> np.ndarray:
        """Returns this process's rows of the batch of `step`."""
        if self._cumulative is not None:
            draws = np.random.default_rng([self.seed, step]).random(self.batch_size)
            rows = np.searchsorted(self._cumulative, draws, side="right").clip(max=self.size - 1)
            return rows[rank::world]
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)[rank::world]
        laps, places = np.divmod(positions, self.size)
        rows = np.empty(len(positions), dtype=np.int64)
        for lap in np.unique(laps):
            here = laps == lap
            rows[here] = self._order(int(lap))[places[here]]
        return rows

    def _order(self, lap: int) -> np.ndarray:
        if self._lap is None or self._lap[0] != lap:
            rng = np.random.default_rng([self.seed, 1 << 40, lap])
            self._lap = lap, rng.permutation(self.size) if self._groups is None else _by_groups(self._groups, rng)
        return self._lap[1]


def _by_groups(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the rows in a random order in which those of `TOGETHER` groups, chosen at random, stand together."""
    turns = rng.permutation(groups.max() + 1) // TOGETHER
    return np.lexsort((rng.random(len(groups)), turns[groups]))


def balance_weights(states: np.ndarray, *, power: float) -> np.ndarray:
    """Returns (N,) weights that favour rows with rare positive observations, for states (N, O).

    Each positive observation weighs its prevalence to the power of minus `power`; a row takes the largest of its
    own. 0 changes nothing, 1 makes every observation about equally frequent.
    """
    positive = states == 1
    prevalence = np.maximum(positive.mean(axis=0), 1 / max(len(states), 1))
    weights = np.where(positive, prevalence[None, :] ** -power, 0.0).max(axis=1)
    common = weights[weights > 0].min(initial=np.inf)
    return np.where(weights > 0, weights, common if np.isfinite(common) else 1.0)


def site_weights(sites: np.ndarray, states: np.ndarray, *, power: float) -> np.ndarray:
    """Returns (N,) weights under which the states of images do not tell their site, as far as `power` (1: fully).

    Stabilised inverse propensity: the share of a site over how likely it is given the states, from a logistic
    regression (Robins et al. 2000, Epidemiology 11:550). Weights are kept between a twentieth and twenty.

    Args:
        sites: (N,) site of each image.
        states: (N, O).
        power: 0 changes nothing.
    """
    from sklearn.linear_model import LogisticRegression

    names, member = np.unique(sites, return_inverse=True)
    if len(names) < 2:
        return np.ones(len(sites))
    shown = np.hstack([states == 1, states == -1, np.isnan(states)]).astype(np.float32)
    likely = LogisticRegression(C=10.0, max_iter=1000).fit(shown, member).predict_proba(shown)
    share = np.bincount(member) / len(member)
    weights = share[member] / likely[np.arange(len(member)), member]
    return np.clip(weights, 0.05, 20.0) ** power


def source_weights(members: np.ndarray, wanted: Sequence[float], weights: np.ndarray) -> np.ndarray:
    """Returns (N,) factors under which source s gives a share of the draws in proportion to `wanted[s]`.

    Args:
        members: (N,) the source of each row, as a number.
        wanted: one weight for each source.
        weights: (N,) how often rows are wanted within their source.

    Raises:
        UserError: There are not as many weights as sources.
    """
    sums = np.bincount(members, weights=weights, minlength=len(wanted))
    if len(sums) != len(wanted):
        raise UserError(f"Found {len(wanted)} source weights for {len(sums)} sources; give one for each.")
    return (np.asarray(wanted, dtype=np.float64) / np.maximum(sums, 1e-12))[members]
