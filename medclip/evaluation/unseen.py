"""Observations that a model was trained on and others apart, and the harmonic mean of the two."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from medclip.evaluation.bootstrap import Metric, Sampled, mean_sampled

SEEN, UNSEEN = "seen", "unseen"


def seen_and_unseen(
    sampled: Mapping[str, Mapping[str, Sampled]],
    unseen: Collection[str],
    *,
    chance: Mapping[str, Mapping[str, float]],
) -> dict[str, Metric]:
    """Returns METRIC/seen, METRIC/unseen and METRIC/harmonic; nothing of a metric where one of the two is empty.

    Each is a mean over observations, and counts them. Harmonic means of the two are usual in generalised zero-shot
    learning (Xian et al. 2019, section 4.2): a model that is good at one side only has a low one.

    Args:
        sampled: By metric, and by observation, what counts in its means.
        unseen: Observations that the model was not trained on.
        chance: By metric, and by observation, what scores that say nothing get; metrics without any are left out.
    """
    metrics: dict[str, Metric] = {}
    for metric, by_name in sampled.items():
        sides = {SEEN: [n for n in by_name if n not in unseen], UNSEEN: [n for n in by_name if n in unseen]}
        if metric not in chance or not all(sides.values()):
            continue
        means = {side: mean_sampled([by_name[name] for name in names]) for side, names in sides.items()}
        chances = {side: float(np.mean([chance[metric][name] for name in names])) for side, names in sides.items()}
        for side, names in sides.items():
            metrics[f"{metric}/{side}"] = replace(means[side].metric(), count=len(names), chance=chances[side])
        both = Sampled(
            float(_harmonic(np.array(means[SEEN].value), np.array(means[UNSEEN].value))),
            _harmonic(means[SEEN].drawn, means[UNSEEN].drawn),
        )
        by_chance = float(_harmonic(np.array(chances[SEEN]), np.array(chances[UNSEEN])))
        metrics[f"{metric}/harmonic"] = replace(both.metric(), count=len(by_name), chance=by_chance)
    return metrics


def _harmonic(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns the harmonic mean of numbers that are at least 0; 0 where one of them is."""
    total = one + other
    return np.divide(2 * one * other, total, out=np.zeros_like(total), where=total != 0)
