"""Films with the model's answers and maps: the most and the least certain ones, right and wrong."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medclip.evaluation import figures
from medclip.inference.heatmap import evidence_maps, overlay, to_square

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from medclip.data.cache import ImageCache
    from medclip.models import MedCLIPModel, MedCLIPProcessor

#: Which films are shown, in turn: (right, most certain first).
_KINDS = ((False, True), (True, True), (False, False), (True, False))
_COLUMNS = ("key", "about", "said", "right", "certainty", "question")


@dataclass(frozen=True)
class Answers:
    """What was answered about single images.

    Attributes:
        table: A row an answer: key (of the image's pixels), about (what was asked), said (truth, answer and score, for
            people to read), right (whether it was), certainty (higher for more certain) and question (row of
            `directions`).
        directions: (Q, D) what each question is as a direction, for maps; None where there are none.
    """

    table: pd.DataFrame
    directions: np.ndarray | None = None

    @classmethod
    def by_threshold(
        cls,
        keys: Sequence[str],
        states: np.ndarray,
        scores: np.ndarray,
        names: Sequence[str],
        *,
        thresholds: Mapping[str, float] = {},
        directions: np.ndarray | None = None,
    ) -> Answers:
        """Returns answers "present" from a threshold on, of all images whose state is 1 or 0.

        An answer is as certain as its score is far from the threshold, in deviations of the observation's scores.

        Args:
            keys: I keys of pixels.
            states: (I, O).
            scores: (I, O), higher for present.
            names: O names.
            thresholds: By name; those without are left out. Without any, all are present from 0 on.
            directions: (O, D), see the class.
        """
        parts = []
        for j, name in enumerate(names):
            if thresholds and name not in thresholds:
                continue
            rows = np.flatnonzero(np.isin(states[:, j], (0.0, 1.0)))
            limit, given = thresholds.get(name, 0.0), scores[rows, j].astype(np.float64)
            present, there = given >= limit, states[rows, j] == 1
            words = ("absent", "present")
            said = [
                f"labelled {words[int(truth)]}, called {words[int(called)]}\nscore {by:.3f}, present from {limit:.3f}"
                for truth, called, by in zip(there, present, given, strict=True)
            ]
            certainty = np.abs(given - limit) / max(float(scores[:, j].std()), 1e-12)
            part = {"key": [keys[int(i)] for i in rows], "about": name, "said": said, "right": present == there}
            parts.append(pd.DataFrame(part | {"certainty": certainty, "question": j}))
        return cls(pd.concat(parts, ignore_index=True), directions)


def choose(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Returns up to `count` answers: wrong and right, most and least certain, in turn, each image once.

    Of each kind an observation comes again only when the others have come as often.
    """
    chosen: list[pd.Series] = []
    for right, most in itertools.islice(itertools.cycle(_KINDS), len(_KINDS) * count):
        taken = {row["key"] for row in chosen}
        left = table[(table["right"] == right) & ~table["key"].isin(taken)]
        if left.empty or len(chosen) == count:
            continue
        kind = f"{'right' if right else 'wrong'}, {'most' if most else 'least'} certain"
        before = Counter(row["about"] for row in chosen if row["kind"] == kind)
        seldom = left["about"].map(lambda name, before=before: before[name])
        left = left[seldom == seldom.min()]
        place = left["certainty"].idxmax() if most else left["certainty"].idxmin()
        chosen.append(pd.concat([left.loc[place], pd.Series({"kind": kind})]))
    return pd.DataFrame(chosen, columns=[*_COLUMNS, "kind"]).reset_index(drop=True)


def draw_films(
    answers: Answers, count: int, *, cache: ImageCache, model: MedCLIPModel, processor: MedCLIPProcessor
) -> Figure:
    """Returns chosen films, each beside itself under the map of what was asked, where there are maps."""
    chosen = choose(answers.table, count)
    keys = chosen["key"].tolist()
    squares = list(cache.get(keys))
    pictures, titles = [], []
    maps: list[np.ndarray] | None = None
    if answers.directions is not None:
        maps = _maps(keys, answers.directions[chosen["question"].astype(int)], cache, model, processor)
    for place, row in enumerate(chosen.itertuples()):
        pictures.append(squares[place])
        titles.append(f"{row.about}: {row.kind}\n{row.said}")
        if maps is not None:
            heatmap = maps[place]
            pictures.append(overlay(squares[place], to_square(heatmap, cache.size)))
            titles.append("What speaks for it: none (clear) to most (bright)")
    return figures.pictures(pictures, titles)


def _maps(
    keys: Sequence[str], directions: np.ndarray, cache: ImageCache, model: MedCLIPModel, processor: MedCLIPProcessor
) -> list[np.ndarray]:
    """Returns, for each of F images, what its places add to the similarity with its own direction (F, D), (S, S)."""
    batches = processor.batches(keys, cache=cache, batch_size=1)
    return [
        next(evidence_maps(model, [pixels], directions[[place]].astype(np.float32)))[1][0, 0]
        for place, pixels in enumerate(batches)
    ]
