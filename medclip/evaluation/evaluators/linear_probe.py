"""Linear probe: how much of the labels a linear classifier reads off the image tower's features."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medclip.data.subsets import label_share
from medclip.data.tables import label_matrix
from medclip.evaluation import figures
from medclip.evaluation.bootstrap import Metric, bootstrap
from medclip.evaluation.evaluators import EvaluationData, Evaluator, Result
from medclip.evaluation.films import Answers
from medclip.evaluation.metrics import multilabel, over_draws
from medclip.inference.embed import embed_features

if TYPE_CHECKING:
    from medclip.models import MedCLIPModel, MedCLIPProcessor

_PENALTIES = (0.001, 0.01, 0.1, 1.0)


class LinearProbe(Evaluator):
    """Logistic regressions on frozen features, with 1 %, 10 % and all labels of the train split.

    As in ConVIRT (section 4) and GLoRIA (section 4.3): the backbone is not changed, the features are those before the
    projection, and labels are taken by patient, a smaller share being part of a larger one. Features lose the mean and
    deviation of the training rows. The strength of the penalty is the one that is best on the validation split, for
    all observations together.

    It can mislead: a probe measures what can be read off with labels, not what prompts find, and a probe on much data
    forgives a poor representation. An observation that a small share holds on one side only counts as a coin toss.

    Args:
        data: Images and their states, in all three splits.
        seed: Seed of the draws and the bootstrap.
        observations: Observations to learn; by default all that have states.
        shares: Shares of the training images to learn from.
        label_draws: Number of draws of each share but the whole.
        resamples: Number of bootstrap resamples over patients, for the whole; 0 for none.
        min_count: See `ZeroShot`.
    """

    primary = "linear-probe/auroc/100%"

    def __init__(
        self,
        data: EvaluationData,
        *,
        seed: int = 0,
        observations: Sequence[str] = (),
        shares: Sequence[float] = (0.01, 0.1, 1.0),
        label_draws: int = 3,
        resamples: int = 1000,
        min_count: int = 5,
    ) -> None:
        self._train = data.training_rows("linear-probe")
        self._data, self._seed, self._min_count = data, seed, min_count
        self._names, self._shares, self._draws = data.observations(observations), tuple(shares), label_draws
        patients = data.rows()["patient_id"].to_numpy()
        self._resamples = bootstrap(patients, resamples=resamples, seed=seed)

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Encodes each image once, and fits as often as there are shares and draws."""
        tables = {"train": self._train, "valid": self._data.other("valid"), "test": self._data.rows()}
        features = {
            name: embed_features(model, table["_key"].tolist(), processor, cache=self._data.cache)
            for name, table in tables.items()
            if len(table)
        }
        states = {name: self._data.learning_labels(tables[name], self._names) for name in features}
        states["test"] = label_matrix(tables["test"], self._names)
        place = pd.Series(np.arange(len(tables["train"])), index=tables["train"]["image_id"])
        rows: list[dict[str, object]] = []
        ends: dict[float, Metric] = {}
        for share in self._shares:
            for draw in range(1 if share >= 1 else self._draws):
                part = label_share(tables["train"], share=share, seed=self._seed + draw)
                chosen = place[part["image_id"]].to_numpy()
                scores, penalty = self._fit(features, states, chosen)
                drawn = self._resamples if share >= 1 else None
                found, _ = multilabel(states["test"], scores, self._names, resamples=drawn, min_count=self._min_count)
                rows.append(
                    {"share": share, "draw": draw, "images": len(part), "patients": part["patient_id"].nunique(),
                     "penalty": penalty, "auroc_mean": found["auroc/mean"].value,
                     "ap_mean": found["ap/mean"].value if "ap/mean" in found else None}
                )  # fmt: skip
                if share >= 1:
                    ends[share] = found["auroc/mean"]
        table = pd.DataFrame(rows)
        figure = figures.learning(table, "Linear probe")
        metrics = over_draws(table, "linear-probe", ends)
        keys = tables["test"]["_key"].tolist()
        answers = partial(Answers.by_threshold, keys, states["test"], scores, self._names)  # of the last share and draw
        return Result(metrics, tables={"linear_probe": table}, figures={"linear_probe": figure}, answers=answers)

    def _fit(
        self, features: dict[str, np.ndarray], states: dict[str, np.ndarray], chosen: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Returns scores (N, O) of the reported images, and the penalty that did best on the validation split."""
        x = features["train"][chosen]
        mean, deviation = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
        scaled = {name: (values - mean) / deviation for name, values in features.items()}
        best = (-np.inf, _PENALTIES[0], np.zeros_like(states["test"]))
        for penalty in _PENALTIES if "valid" in scaled else (0.01,):
            valid, test = np.zeros_like(states.get("valid", np.zeros((0, 0)))), np.zeros_like(states["test"])
            for j in range(len(self._names)):
                known = np.isin(states["train"][chosen, j], (0.0, 1.0))
                truth = states["train"][chosen][known, j] == 1
                if truth.any() and not truth.all():
                    fitted = _regression(scaled["train"][chosen][known], truth, penalty)
                    test[:, j] = fitted(scaled["test"])
                    if "valid" in scaled:
                        valid[:, j] = fitted(scaled["valid"])
            value = -np.inf
            if "valid" in scaled:
                found, _ = multilabel(states["valid"], valid, self._names, resamples=None, min_count=self._min_count)
                value = float(np.nan_to_num(found["auroc/mean"].value, nan=-np.inf))
            if value >= best[0]:
                best = (value, penalty, test)
        return best[2], best[1]


def _regression(x: np.ndarray, truth: np.ndarray, penalty: float) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the decision function of a logistic regression."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 200 passes are enough for a ranking
        return LogisticRegression(C=penalty, max_iter=200).fit(x, truth).decision_function
