"""Ranking by claims and by denials apart: what "there is X" finds, what "no X" finds, and both together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from labelers.observations import NO_FINDING
from medclip.evaluation.bootstrap import Metric, Resamples, Sampled, mean_sampled, sample
from medclip.evaluation.metrics import auroc
from medclip.inference.prompts import Prompts

#: How an observation is ranked: by its positive prompts, by its negative ones turned round, by their difference.
RANKINGS = ("pos", "neg", "pnc")


def terse_prompts(names: Sequence[str]) -> dict[str, Prompts]:
    """Returns the prompts "X" and "no X" of observations, which CheXzero asks with.

    Examples:
        >>> from medclip.evaluation.denial import terse_prompts
        >>> terse_prompts(["Pleural Effusion"])["Pleural Effusion"]
        Prompts(positive=('pleural effusion',), negative=('no pleural effusion',))
    """
    plain = {name: name if name.isupper() or any(c.isdigit() for c in name) else name.lower() for name in names}
    return {name: Prompts((text,), (f"no {text}",)) for name, text in plain.items()}


def in_latin_letters(prompts: Mapping[str, Prompts]) -> bool:
    """Tells whether prompts are written in Latin letters, and not in Chinese, say."""
    texts = (text for entry in prompts.values() for side in (entry.positive, entry.negative) for text in side)
    return all(ord(letter) < 0x250 or not letter.isalpha() for text in texts for letter in text)


def deniable(prompts: Mapping[str, Prompts]) -> list[str]:
    """Returns the observations that can be claimed and denied; No Finding is a denial itself, and left out."""
    return [name for name, entry in prompts.items() if entry.negative and name != NO_FINDING]


def denial(
    states: np.ndarray,
    similarities: Mapping[str, tuple[np.ndarray, np.ndarray]],
    names: Sequence[str],
    *,
    resamples: Resamples | None,
    min_count: int,
) -> tuple[dict[str, Metric], pd.DataFrame]:
    """Returns AUROC of each wording and ranking, by observation and as means over the same observations.

    Metrics are called `denial/WORDING/RANKING/NAME`, where RANKING is one of `RANKINGS` and NAME an observation or
    `mean`. A model that reads "no X" as X has `neg` below 0.5.

    Args:
        states: (N, O); rows whose state is neither 1 nor 0 do not count for that observation.
        similarities: By wording, similarities (N, O) to the positive prompts and to the negative ones.
        names: Names of the O observations.
        resamples: Bootstrap resamples of the N rows, or None for no intervals.
        min_count: Positives and negatives an observation needs to count in the means.
    """
    metrics: dict[str, Metric] = {}
    rows: list[dict[str, object]] = []
    for wording, (positive, negative) in similarities.items():
        scores = {"pos": positive, "neg": -negative, "pnc": positive - negative}
        found = {ranking: list(_by_name(states, scores[ranking], resamples)) for ranking in RANKINGS}
        counts = [_counts(states[:, j]) for j in range(len(names))]
        counted = [j for j, of in enumerate(counts) if min(of) >= min_count]
        for ranking in RANKINGS:
            mean = mean_sampled([found[ranking][j] for j in counted]).metric()
            metrics[f"denial/{wording}/{ranking}/mean"] = _with_chance(mean, len(counted))
            for j, name in enumerate(names):
                one = _with_chance(found[ranking][j].metric(), sum(counts[j]))
                metrics[f"denial/{wording}/{ranking}/{name}"] = one
        for j, name in enumerate(["mean", *names], start=-1):
            positives, negatives = counts[j] if j >= 0 else (None, None)
            row: dict[str, object] = {"wording": wording, "observation": name}
            row |= {"positive": positives, "negative": negatives, "chance": 0.5}
            for ranking in RANKINGS:
                metric = metrics[f"denial/{wording}/{ranking}/{name}"]
                row |= {ranking: metric.value, f"{ranking}_low": metric.low, f"{ranking}_high": metric.high}
            rows.append(row)
    return metrics, pd.DataFrame(rows).astype({"positive": "Int64", "negative": "Int64"})


def _by_name(states: np.ndarray, scores: np.ndarray, resamples: Resamples | None) -> Iterator[Sampled]:
    """Yields the AUROC of each observation; undefined where its states are all alike or unknown."""
    for j in range(states.shape[1]):
        known = np.isin(states[:, j], (0.0, 1.0))
        drawn = None if resamples is None or not known.any() else resamples.take(known)
        yield sample(partial(auroc, states[known, j] == 1, scores[known, j]), drawn)


def _counts(states: np.ndarray) -> tuple[int, int]:
    return int((states == 1).sum()), int((states == 0).sum())


def _with_chance(metric: Metric, count: int | None) -> Metric:
    return Metric(metric.value, metric.low, metric.high, count=count, chance=0.5)
