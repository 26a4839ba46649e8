"""Abstention: whether rules that may say "unsure" keep their promise on patients they were not fitted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from labelers.errors import UserError
from medclip.data.tables import label_matrix
from medclip.evaluation import figures
from medclip.evaluation.bootstrap import Array, Metric, Sampled, bootstrap, mean_defined, mean_sampled, sample
from medclip.evaluation.evaluators import EvaluationData, Evaluator, Result
from medclip.evaluation.films import Answers
from medclip.inference.abstention import ABSENT, PRESENT, Abstention, fit_abstention
from medclip.inference.calibration import best_thresholds
from medclip.inference.classifier import ZeroShotClassifier
from medclip.inference.embed import embed_images
from medclip.inference.prompts import Prompts

if TYPE_CHECKING:
    from medclip.models import MedCLIPModel, MedCLIPProcessor

#: Promises that the figure compares.
_ERRORS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)

_COLUMNS = ["promise", "observations", "answered", "error"]
_WORDS = {PRESENT: "present", ABSENT: "absent"}


class AbstentionEvaluator(Evaluator):
    """Coverage, share answered and error of rules that say present, absent or unsure; see `inference.abstention`.

    The rules are fitted on the validation split. `coverage/present` is the share of patients with an observation in
    whom its presence is not excluded, `coverage/absent` the same of those without; both are promised to be at least
    `promise`, on average over validation splits. `answered` is the share of images with an answer, `error` the share
    of answers that are wrong, `error_forced` that of a model that must always answer, at the threshold with the best
    F1. The figure shows error against the share answered, for promises that can be made about the same observations.

    It can mislead: a promise about each state says nothing of how often an answer is wrong where one state is rare,
    which is `error`; a model that knows nothing keeps its promise by hardly answering. It holds for patients like
    those of the validation split, not for those of another hospital. One split keeps its promise give or take the
    chance of its few patients: look at the interval.

    Args:
        data: Images and their states, in the valid split and in the one to report on.
        seed: Seed of the choice of images and of the bootstrap.
        observations: Observations to answer about; by default all that have states and prompts.
        prompts: A set by name, a file, or prompts.
        ensemble: What several prompts come to, see `medclip.inference.scoring`.
        error: The largest share of patients with a state in whom it may be excluded.
        resamples: Number of bootstrap resamples over patients; 0 for none.
        min_count: Images of each state in the split to report on that an observation needs to count in the means.
    """

    primary = "abstention/answered"
    settings: ClassVar[Mapping[str, str]] = {"error": "abstention_error"}

    def __init__(
        self,
        data: EvaluationData,
        *,
        seed: int = 0,
        observations: Sequence[str] = (),
        prompts: str | dict[str, Prompts] = "chexpert14",
        ensemble: str = "embeddings",
        error: float = 0.1,
        resamples: int = 1000,
        min_count: int = 5,
    ) -> None:
        self._prompts = data.questions(prompts, observations, who="abstention")
        self._data, self._table, self._valid = data, data.rows(), data.other("valid")
        self._seed, self._ensemble, self._error, self._min_count = seed, ensemble, error, min_count
        if self._valid.empty:
            raise UserError("abstention fits its rules on a valid split, and there is none in this data.")
        self._patients = self._table["patient_id"].to_numpy().astype(str)
        self._resamples = bootstrap(self._patients, resamples=resamples, seed=seed)

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Encodes each image of both splits once, fits on one and looks at the other."""
        classifier = ZeroShotClassifier(model, processor, self._prompts, ensemble=self._ensemble)
        names = classifier.observations
        valid, scores = (
            classifier.scores(embed_images(model, table["_key"].tolist(), processor, cache=self._data.cache))
            for table in (self._valid, self._table)
        )
        learned, states = self._data.learning_labels(self._valid, names), label_matrix(self._table, names)
        fit = partial(
            fit_abstention, valid, learned, self._valid["patient_id"].to_numpy(), names, seed=self._seed,
            ensemble=self._ensemble,
        )  # fmt: skip
        made = fit(error=self._error)
        thresholds = best_thresholds(learned, valid, names, least=1)
        table, means = self._by_observation(made, scores, states, names, thresholds)
        counted = [name for name in made.lower if self._enough(states[:, names.index(name)])]
        others = [fit(error=error) for error in _ERRORS]
        curve = [
            self._point(one, counted, scores, states, names)
            for one in others
            if counted and set(counted) <= set(one.lower)
        ]
        refused = pd.DataFrame(made.refused.items(), columns=["without an answer", "because"])
        tables = {"abstention": table, "abstention_curve": pd.DataFrame(curve, columns=_COLUMNS)}
        if len(refused):
            tables["abstention_refused"] = refused
        metrics = {"abstention/promise": Metric(1 - self._error)} | means
        metrics["abstention/observations"] = Metric(len(made.lower), count=len(names))
        answers = partial(
            answers_of, made, self._table["_key"].tolist(), states, scores, names, classifier.directions()
        )
        figure = figures.risk_coverage(tables["abstention_curve"])
        return Result(metrics, tables=tables, figures={"abstention": figure}, answers=answers)

    def _by_observation(
        self, made: Abstention, scores: np.ndarray, states: np.ndarray, names: Sequence[str],
        thresholds: Mapping[str, float],
    ) -> tuple[pd.DataFrame, dict[str, Metric]]:  # fmt: skip
        """Returns a row for each observation with rules, and the means of those with enough images."""
        possible, answers = made.possible(scores, names), made.answers(scores, names)
        rows: list[dict[str, object]] = []
        sampled: dict[str, list[Sampled]] = {}
        for j, name in enumerate(names):
            if name not in made.lower:
                continue
            truth, answer = states[:, j], answers[:, j]
            known = np.isin(truth, (PRESENT, ABSENT))
            forced = (scores[:, j] >= thresholds[name]).astype(float)
            found = {
                "coverage/present": self._mean(possible[0][:, j], truth == PRESENT),
                "coverage/absent": self._mean(possible[1][:, j], truth == ABSENT),
                "answered": self._mean(np.isfinite(answer), known),
                "error": self._mean(answer != truth, known & np.isfinite(answer)),
                "error_forced": self._mean(forced != truth, known),
            }
            row: dict[str, object] = {"observation": name, "positive": int((truth == PRESENT).sum()),
                                      "negative": int((truth == ABSENT).sum()),
                                      "patients fitted on": made.patients[name]}  # fmt: skip
            for key, one in found.items():
                metric = one.metric()
                row |= {key: metric.value, f"{key}_low": metric.low, f"{key}_high": metric.high}
                if self._enough(truth):
                    sampled.setdefault(key, []).append(one)
            rows.append(row)
        means = {f"abstention/{key}": replace(mean_sampled(of).metric(), count=len(of)) for key, of in sampled.items()}
        return pd.DataFrame(rows), means

    def _enough(self, states: np.ndarray) -> bool:
        """Tells whether an observation counts in the means."""
        return bool(min((states == PRESENT).sum(), (states == ABSENT).sum()) >= self._min_count)

    def _mean(self, values: np.ndarray, rows: np.ndarray, *, resampled: bool = True) -> Sampled:
        """Returns the mean of `values` over the patients of `rows`, each of whom counts once."""
        among, resamples = np.flatnonzero(rows), self._resamples if resampled else None
        if not len(among):
            return Sampled(float("nan"), np.full(0 if resamples is None else len(resamples), np.nan))
        _, member, counts = np.unique(self._patients[among], return_inverse=True, return_counts=True)
        statistic = partial(_mean_of_patients, values[among].astype(np.float64), 1 / counts[member])
        return sample(statistic, None if resamples is None else resamples.take(among))

    def _point(
        self, made: Abstention, asked: Sequence[str], scores: np.ndarray, states: np.ndarray, names: list[str]
    ) -> dict[str, float]:
        """Returns error and share answered, as means over the observations `asked`."""
        answers, known = made.answers(scores, names), np.isin(states, (PRESENT, ABSENT))
        given = np.isfinite(answers)
        columns = [names.index(name) for name in asked]
        answered = [self._mean(given[:, j], known[:, j], resampled=False).value for j in columns]
        wrong = [self._mean(answers[:, j] != states[:, j], known[:, j] & given[:, j], resampled=False).value
                 for j in columns]  # fmt: skip
        means = [float(mean_defined(np.array(of)[:, None])[0]) for of in (answered, wrong)]
        return {"promise": 1 - made.error, "observations": len(columns), "answered": means[0], "error": means[1]}


def _mean_of_patients(values: np.ndarray, share: np.ndarray, weights: np.ndarray | None) -> Array:
    """Returns the weighted mean of `values` (N,), for each row of `weights` (B, N); NaN where nothing was drawn."""
    drawn = np.ones((1, len(values))) if weights is None else weights
    total = drawn @ share
    return np.divide(drawn @ (share * values), total, out=np.full(len(total), np.nan), where=total > 0)


def answers_of(
    made: Abstention, keys: Sequence[str], states: np.ndarray, scores: np.ndarray, names: Sequence[str],
    directions: np.ndarray,
) -> Answers:  # fmt: skip
    """Returns what the rules answered about single images; unsure is neither right nor wrong, and left out."""
    given, parts = made.answers(scores, names), []
    for j, name in enumerate(names):
        rows = np.flatnonzero(np.isfinite(given[:, j]) & np.isin(states[:, j], (PRESENT, ABSENT)))
        if name not in made.lower or not len(rows):
            continue
        low, high = sorted((made.lower[name], made.upper[name]))
        said = [
            f"labelled {_WORDS[truth]}, called {_WORDS[answer]}\nscore {by:.3f}, unsure from {low:.3f} to {high:.3f}"
            for truth, answer, by in zip(states[rows, j], given[rows, j], scores[rows, j], strict=True)
        ]
        apart = np.where(given[rows, j] == PRESENT, scores[rows, j] - high, low - scores[rows, j])
        part = {"key": [keys[int(i)] for i in rows], "about": name, "said": said, "question": j}
        right, certainty = given[rows, j] == states[rows, j], apart / max(float(scores[:, j].std()), 1e-12)
        parts.append(pd.DataFrame(part | {"right": right, "certainty": certainty}))
    return Answers(pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(), directions)
