"""Composed search: films that are like a film but for one observation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from labelers.errors import UserError
from labelers.observations import NO_FINDING
from medclip.data.tables import label_matrix
from medclip.evaluation.bootstrap import Metric
from medclip.evaluation.evaluators import EvaluationData, Evaluator, Result
from medclip.evaluation.films import Answers
from medclip.inference.classifier import prompt_directions
from medclip.inference.composing import composed
from medclip.inference.embed import embed_images
from medclip.inference.prompts import Prompts

if TYPE_CHECKING:
    from medclip.models import MedCLIPModel, MedCLIPProcessor

WAYS = ("composed", "image", "text")


class Composed(Evaluator):
    """Recall at K of films that lack one finding of a film and have the rest of it ("without the effusion").

    A query is a film and one observation that is present on it; wanted are other patients' films with the same positive
    observations but that one. `image` searches with the film alone, `text` with the denial alone, `composed` with the
    film moved from claim to denial. `lacking` is the share of the K nearest without the observation, `kept` how much of
    the rest they share (positives in common over positives of either); chance is a random film.

    It can mislead: a rare combination has few wanted films or none, and queries without any do not count; so recall
    is about common combinations.

    Args:
        data: Images with states.
        seed: Seed of the choice of queries.
        observations: Observations to take away; by default all that have states and prompts.
        prompts: A set by name, a file, or prompts.
        k: Number of results that count.
        weight: How far a film is moved.
        most: Queries of each observation, at most.
    """

    primary = "composed/composed/recall"

    def __init__(
        self,
        data: EvaluationData,
        *,
        seed: int = 0,
        observations: Sequence[str] = (),
        prompts: str | dict[str, Prompts] = "chexpert14",
        k: int = 10,
        weight: float = 1.0,
        most: int = 200,
    ) -> None:
        known = data.questions(prompts, observations, who="composed")
        self._prompts = {name: entry for name, entry in known.items() if entry.negative and name != NO_FINDING}
        if not self._prompts:
            raise UserError("composed: no observation of these images has prompts for it and against it.")
        self._data, self._rows, self._seed = data, data.rows(), seed
        self._k, self._weight, self._most = k, weight, most
        states = label_matrix(self._rows, list(self._prompts))
        self._positive, self._absent = states == 1, states == 0

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Encodes every film once, and asks for each without one of its findings."""
        films = embed_images(model, self._rows["_key"].tolist(), processor, cache=self._data.cache)
        claims, denials = (
            prompt_directions(model, processor, [getattr(entry, side) for entry in self._prompts.values()]).centres()
            for side in ("positive", "negative")
        )
        patients = self._rows["patient_id"].to_numpy()
        rng, rows, answers = np.random.default_rng(self._seed), [], []
        for column, name in enumerate(self._prompts):
            having = np.flatnonzero(self._positive[:, column])
            for query in rng.permutation(having)[: self._most]:
                wanted = self._wanted(int(query), column) & (patients != patients[query])
                if not wanted.any():
                    continue
                away = denials[column] - claims[column]
                away = away / max(float(np.linalg.norm(away)), 1e-12)
                asked = {
                    "composed": composed(films[[query]], away[None], weight=self._weight),
                    "image": films[query], "text": denials[column],
                }  # fmt: skip
                # Of films of which it is not known nothing can be told.
                known = self._positive[:, column] | self._absent[:, column]
                others = (patients != patients[query]) & known
                rows += [
                    {"observation": name, "way": way, **self._found(films @ vector, others, wanted, int(query), column)}
                    for way, vector in asked.items()
                ]
                similarity = films @ np.ravel(asked["composed"])
                place = 1 + int((similarity[others] > similarity[wanted].max()).sum())
                answers.append({
                    "key": self._rows["_key"].iloc[query], "about": f"without {name}", "right": place <= self._k,
                    "said": f"the first film of that kind is number {place} of {int(others.sum())}",
                    "certainty": abs(np.log(place / (self._k + 0.5))), "question": column,
                })  # fmt: skip
        if not rows:
            raise UserError("composed: no film has another patient's film that differs from it in one finding only.")
        return replace(_summed(pd.DataFrame(rows), self._k), answers=partial(Answers, pd.DataFrame(answers), claims))

    def _wanted(self, query: int, column: int) -> np.ndarray:
        """Returns which films (N,) have the positives of the query but one, and no other."""
        target = self._positive[query].copy()
        target[column] = False
        return (self._positive == target).all(axis=1) & self._absent[:, column]

    def _found(
        self, similarity: np.ndarray, others: np.ndarray, wanted: np.ndarray, query: int, column: int
    ) -> dict[str, float]:
        """Returns recall, lacking and kept of the K most similar films of other patients, and of a random one."""
        nearest = np.argsort(np.where(others, -similarity, np.inf), kind="stable")[: self._k]
        rest = np.delete(self._positive, column, axis=1)
        both, either = (rest & rest[query]).sum(axis=1), (rest | rest[query]).sum(axis=1)
        kept = np.where(either > 0, both / np.maximum(either, 1), 1.0)
        lacking, count = self._absent[:, column], int(others.sum())
        return {
            "recall": float(wanted[nearest].any()), "lacking": float(lacking[nearest].mean()),
            "kept": float(kept[nearest].mean()), "chance lacking": float(lacking[others].mean()),
            "chance kept": float(kept[others].mean()),
            # Of K films drawn from all others, how likely it is that one is wanted.
            "chance recall": 1 - float(np.prod([1 - wanted.sum() / max(count - i, 1) for i in range(self._k)])),
        }  # fmt: skip


def _summed(rows: pd.DataFrame, k: int) -> Result:
    """Returns the means over queries of each observation, and over observations."""
    by_name = rows.groupby(["way", "observation"], sort=False).mean(numeric_only=True)
    queries = int((rows["way"] == WAYS[0]).sum())
    metrics = {
        f"composed/{way}/{what}": Metric(
            float(by_name.loc[way][what].mean()), count=queries, chance=float(by_name.loc[way][f"chance {what}"].mean())
        )
        for way in WAYS
        for what in ("recall", "lacking", "kept")
    }
    by_name["queries"] = rows.groupby(["way", "observation"], sort=False).size()
    table = by_name.reset_index().rename(columns={"recall": f"recall@{k}"})
    return Result(metrics, tables={"composed": table})
