"""Few-shot: what a handful of labelled images add to zero-shot, with the real imbalance and nothing to tune on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from medclip.data.tables import label_matrix
from medclip.evaluation import figures
from medclip.evaluation.bootstrap import Metric, bootstrap
from medclip.evaluation.evaluators import EvaluationData, Evaluator, Result
from medclip.evaluation.films import Answers
from medclip.evaluation.metrics import multilabel
from medclip.evaluation.probes import Examples, anchored, nearest, plain_linear
from medclip.inference.calibration import best_thresholds
from medclip.inference.classifier import prompt_directions
from medclip.inference.embed import embed_images
from medclip.inference.prompts import Prompts

if TYPE_CHECKING:
    from medclip.models import MedCLIPModel, MedCLIPProcessor

METHODS = ("anchored", "linear", "knn")
_ALL = "all"


class FewShot(Evaluator):
    """Mean AUROC after 1, 2, 4, ... labelled images of the rarer state of each observation, many times over.

    Patients of the train split come in a random order; of each observation the first images are taken that hold K
    of the rarer state, and of the other state as many as come along. So the imbalance is the real one, and no label
    serves to choose anything. All methods see the same image embeddings:

    - `anchored`: ridge regression towards the zero-shot text direction, in closed form, which stays with the texts
      where leaving out examples, two at a time, does not show that learning helps; see `medclip.evaluation.probes`.
      Its zero-shot has the mean direction of the prompts of a side, whatever the ensemble elsewhere.
    - `linear`: logistic regression, as usual. `knn`: votes of the nearest examples.

    `few-shot/METHOD/K` is the mean over draws, with its deviation; `few-shot/METHOD/below` the share of draws of
    1, 2, 4, ... that end below `few-shot/zero-shot`.

    It can mislead: an observation with fewer than K examples comes with all it has, the same in every draw (the table
    says how many have K); K counts the rarer state, so a rare observation takes many more labelled images than K (the
    table has the mean number). Draws share one test split: their deviation is about draws, not about patients.

    Args:
        data: Images and their states, in the train split and in the one to report on.
        seed: Seed of the draws and of the bootstrap.
        observations: Observations to learn; by default all that have states and prompts.
        prompts: A set by name, a file, or prompts.
        shots: Examples of the rarer state; zero-shot is always there, so 0 changes nothing.
        draws: Number of draws of each.
        resamples: Number of bootstrap resamples over patients, for zero-shot and all labels; 0 for none.
        min_count: Positives and negatives an observation needs to count in the mean.
    """

    primary = "few-shot/anchored/all"
    settings: ClassVar[Mapping[str, str]] = {"draws": "shot_draws"}

    def __init__(
        self,
        data: EvaluationData,
        *,
        seed: int = 0,
        observations: Sequence[str] = (),
        prompts: str | dict[str, Prompts] = "chexpert14",
        shots: Sequence[int] = (1, 2, 4, 8, 16),
        draws: int = 20,
        resamples: int = 1000,
        min_count: int = 5,
    ) -> None:
        self._prompts = data.questions(prompts, observations, who="few-shot")
        self._train, self._test = data.training_rows("few-shot"), data.rows()
        self._names = list(self._prompts)
        self._states = label_matrix(self._test, self._names)
        self._known = data.learning_labels(self._train, self._names)
        self._data, self._seed, self._shots, self._draws = data, seed, sorted({k for k in shots if k}), draws
        self._resamples = bootstrap(self._test["patient_id"].to_numpy(), resamples=resamples, seed=seed)
        self._min_count = min_count

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Encodes each image once, and fits as often as there are shots and draws."""
        train, test = (
            embed_images(model, table["_key"].tolist(), processor, cache=self._data.cache)
            for table in (self._train, self._test)
        )
        texts = self._texts(model, processor)
        zero = self._auroc(test @ texts.T, resampled=True)
        rows: list[dict[str, object]] = []
        ends: dict[str, Metric] = {}
        answers: Callable[[], Answers] | None = None
        for shots in [*self._shots, None]:
            for draw in range(self._draws if shots else 1):
                examples = self._examples(train, shots, draw)
                weights, strength = anchored(examples, texts)
                scores = self._scores(examples, weights, test)
                found = {name: self._auroc(scores[name], resampled=shots is None) for name in METHODS}
                anchor = {METHODS[0]: strength} if np.isfinite(strength) else {}
                images = float(np.mean([len(one.truth) for one in examples]))
                enough = sum(one.rarer >= (shots or 1) for one in examples)
                rows += [{"shots": str(shots or _ALL), "draw": draw, "method": name, "images": images, "enough": enough,
                          "auroc_mean": found[name].value, "anchor": anchor.get(name)}
                         for name in METHODS]  # fmt: skip
                if shots is None:
                    ends, answers = found, partial(self._answers, train, test, weights)
        return replace(self._result(pd.DataFrame(rows), zero, ends), answers=answers)

    def _answers(self, train: np.ndarray, test: np.ndarray, weights: np.ndarray) -> Answers:
        """Returns the answers of the anchored probe on all labels, at the threshold with the best F1 on these."""
        thresholds = best_thresholds(self._known, train @ weights.T, self._names, least=1)
        return Answers.by_threshold(
            self._test["_key"].tolist(), self._states, test @ weights.T, self._names, thresholds=thresholds,
            directions=weights,
        )  # fmt: skip

    def _texts(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> np.ndarray:
        """Returns the directions (O, D) from denial to claim."""
        positive, negative = (
            prompt_directions(model, processor, [getattr(entry, side) for entry in self._prompts.values()]).centres()
            for side in ("positive", "negative")
        )
        return positive - negative

    def _examples(self, train: np.ndarray, shots: int | None, draw: int) -> list[Examples]:
        """Returns the examples of each observation in one draw; fewer shots of a draw are part of more."""
        rng = np.random.default_rng([self._seed, draw])
        patients, member = np.unique(self._train["patient_id"].to_numpy().astype(str), return_inverse=True)
        order = np.argsort(rng.permutation(len(patients))[member], kind="stable")
        found = []
        for j in range(len(self._names)):
            rows = order[np.isin(self._known[order, j], (0.0, 1.0))]
            truth = self._known[rows, j] == 1
            if shots is not None:
                enough = [int(np.searchsorted(np.cumsum(side), shots)) + 1 for side in (truth, ~truth)]
                rows, truth = rows[: max(enough)], truth[: max(enough)]
            found.append(Examples(train[rows], truth))
        return found

    def _scores(self, examples: Sequence[Examples], weights: np.ndarray, test: np.ndarray) -> dict[str, np.ndarray]:
        """Returns scores (N, O) of each method, the anchored one by its weights (O, D)."""
        scores = {METHODS[0]: test @ weights.T}
        for name, fit in zip(METHODS[1:], (plain_linear, nearest), strict=True):
            scores[name] = np.zeros((len(test), len(examples)))
            for j, one in enumerate(examples):
                if one.rarer:
                    scores[name][:, j] = fit(one)(test)
        return scores

    def _auroc(self, scores: np.ndarray, *, resampled: bool) -> Metric:
        drawn = self._resamples if resampled else None
        found, _ = multilabel(self._states, scores, self._names, resamples=drawn, min_count=self._min_count)
        return found["auroc/mean"]

    def _result(self, table: pd.DataFrame, zero: Metric, ends: Mapping[str, Metric]) -> Result:
        metrics = {"few-shot/zero-shot": zero}
        for name in METHODS:
            mine = table[table["method"] == name]
            for shots in self._shots:
                values = mine.loc[mine["shots"] == str(shots), "auroc_mean"]
                deviation = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
                metrics[f"few-shot/{name}/{shots}"] = Metric(
                    float(values.mean()), sd=deviation, count=len(values), chance=0.5
                )
            metrics[f"few-shot/{name}/{_ALL}"] = replace(ends[name], count=1)
            drawn = mine.loc[mine["shots"] != _ALL, "auroc_mean"]
            if len(drawn):
                below = float((drawn < zero.value - 1e-9).mean())
                metrics[f"few-shot/{name}/below"] = Metric(below, count=len(drawn))
        nothing = {"shots": "0", "method": METHODS[0], "draws": 1, "images": 0.0,
                   "observations with so many": len(self._names), "auroc_mean": zero.value,
                   "auroc_mean_low": np.nan, "auroc_mean_high": np.nan, "below zero-shot": 0.0,
                   "chance": 0.5}  # fmt: skip
        summary = pd.concat([pd.DataFrame([nothing]), summed(table, zero.value)], ignore_index=True)
        figure = figures.few_shot(summary, zero)
        return Result(metrics, tables={"few_shot": summary, "few_shot_draws": table}, figures={"few_shot": figure})


def summed(table: pd.DataFrame, zero: float) -> pd.DataFrame:
    """Returns, for each method and number of shots, the mean, the middle 95 % of draws and the share below zero-shot.

    Args:
        table: Columns shots, method, images, enough and auroc_mean, a row for each draw.
        zero: Mean AUROC of zero-shot.
    """
    rows = []
    for (shots, method), part in table.groupby(["shots", "method"], sort=False):
        low, high = np.quantile(part["auroc_mean"], (0.025, 0.975)) if len(part) > 1 else (np.nan, np.nan)
        row = {"shots": shots, "method": method, "draws": len(part), "images": part["images"].mean()}
        row |= {"observations with so many": part["enough"].iloc[0]}
        row |= {"auroc_mean": part["auroc_mean"].mean(), "auroc_mean_low": low, "auroc_mean_high": high}
        rows.append(row | {"below zero-shot": (part["auroc_mean"] < zero - 1e-9).mean(), "chance": 0.5})
    return pd.DataFrame(rows)
