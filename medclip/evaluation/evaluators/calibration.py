"""Calibration: whether a probability of 0.7 comes true seven times in ten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from labelers.errors import UserError
from medclip.data.tables import label_matrix
from medclip.evaluation import figures
from medclip.evaluation.bootstrap import Metric, Sampled, bootstrap, interval, mean_sampled, sample
from medclip.evaluation.evaluators import EvaluationData, Evaluator, Result
from medclip.evaluation.films import Answers
from medclip.evaluation.metrics import calibration_error, f1_score, weighted_mean
from medclip.inference.calibration import Calibration
from medclip.inference.classifier import ZeroShotClassifier
from medclip.inference.embed import embed_images
from medclip.inference.prompts import Prompts
from medclip.inference.scoring import LEAST

if TYPE_CHECKING:
    from medclip.models import MedCLIPModel, MedCLIPProcessor


class CalibrationEvaluator(Evaluator):
    """Brier score, calibration error and F1 of probabilities whose curves and thresholds come from the valid split.

    Zero-shot scores become probabilities by a logistic curve for each observation (Platt 1999), and probabilities
    become decisions by the threshold with the best F1; both are fitted on the validation split and only looked at
    here. Beside them stand the probabilities before fitting, a sigmoid of the scaled scores, which are a ranking only.

    It can mislead: with a common prevalence of a few percent, always saying the prevalence is well calibrated and
    useless. So `skill` says how much of that baseline's Brier score is saved; 0 is useless, 1 perfect. An observation
    is left out, and named, where its curve has too few images or no skill on validation patients left out of the fit.
    Calibration fitted at one hospital does not hold at another.

    Args:
        data: Images and their states, in the valid split and in the one to report on.
        seed: Seed of the bootstrap.
        observations: Observations to report on; by default all that have states and prompts.
        ensemble: What several prompts come to, see `medclip.inference.scoring`.
        prompts: A set by name, a file, or prompts.
        resamples: Number of bootstrap resamples over patients; 0 for none.
        bins: Number of bins of the calibration error.
        least: Positives and negatives in the valid split that an observation needs.
    """

    primary = "calibration/skill"
    settings: ClassVar[Mapping[str, str]] = {"least": "least_positives"}

    def __init__(
        self,
        data: EvaluationData,
        *,
        seed: int = 0,
        observations: Sequence[str] = (),
        prompts: str | dict[str, Prompts] = "chexpert14",
        ensemble: str = "embeddings",
        resamples: int = 1000,
        bins: int = 15,
        least: int = LEAST,
    ) -> None:
        self._ensemble = ensemble
        self._prompts, self._data = data.questions(prompts, observations, who="calibration"), data
        self._bins, self._least = bins, least
        self._table, self._valid = data.rows(), data.other("valid")
        if self._valid.empty:
            raise UserError("calibration needs a valid split to fit on, and there is none in this data.")
        patients = self._table["patient_id"].to_numpy()
        self._resamples = bootstrap(patients, resamples=resamples, seed=seed)

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Fits on the valid split, and scores what that gives on the split to report on."""
        classifier = ZeroShotClassifier(model, processor, self._prompts, ensemble=self._ensemble)
        embeds = embed_images(model, self._table["_key"].tolist(), processor, cache=self._data.cache)
        raw = classifier.probabilities(embeds)
        fitted_on = embed_images(model, self._valid["_key"].tolist(), processor, cache=self._data.cache)
        made = classifier.calibrate(
            fitted_on, self._data.learning_labels(self._valid, classifier.observations),
            patients=self._valid["patient_id"].to_numpy(), least=self._least,
        )  # fmt: skip
        refused = pd.DataFrame(made.refused.items(), columns=["not calibrated", "because"])
        probabilities, states = classifier.probabilities(embeds), label_matrix(self._table, classifier.observations)
        briers: list[Sampled] = []
        rows, pooled = [], []
        for j, name in enumerate(classifier.observations):
            known = np.isin(states[:, j], (0.0, 1.0))
            if name not in made.threshold or not known.any():
                continue
            truth, chance = states[known, j] == 1, probabilities[known, j]
            row, brier = self._row(made, name, truth, chance, known)
            ece = calibration_error(truth, raw[known, j], bins=self._bins)[0]
            rows.append(row | {"ece_unfitted": ece})
            briers.append(brier)
            pooled.append((truth, chance, raw[known, j]))
        if not rows:
            return Result(
                {"calibration/calibrated": Metric(0, count=len(refused))}, tables={"calibration_refused": refused}
            )
        table = pd.DataFrame(rows)
        truth, chance, before = (np.concatenate(parts) for parts in zip(*pooled, strict=True))
        error, bins = calibration_error(truth, chance, bins=self._bins)
        error_before, bins_before = calibration_error(truth, before, bins=self._bins)
        means = {"skill": table["skill"].mean(), "ece": error, "ece_unfitted": error_before, "f1": table["f1"].mean()}
        metrics = {"calibration/brier": mean_sampled(briers).metric()}
        metrics |= {f"calibration/{name}": Metric(float(value)) for name, value in means.items()}
        figure = figures.reliability(
            {f"fitted, error {error:.3f}": bins, f"not fitted, {error_before:.3f}": bins_before}
        )
        metrics["calibration/calibrated"] = Metric(len(table), count=len(classifier.observations))
        tables = {"calibration": table, "reliability": bins}
        if len(refused):
            tables["calibration_refused"] = refused
        columns = [classifier.observations.index(name) for name in made.threshold]
        answers = partial(
            Answers.by_threshold,
            self._table["_key"].tolist(), states[:, columns], probabilities[:, columns], list(made.threshold),
            thresholds=made.threshold, directions=classifier.directions()[columns],
        )  # fmt: skip
        return Result(metrics, tables=tables, figures={"reliability": figure}, answers=answers)

    def _row(
        self, made: Calibration, name: str, truth: np.ndarray, chance: np.ndarray, known: np.ndarray
    ) -> tuple[dict[str, object], Sampled]:
        """Returns a row of the table about one observation, and its Brier score with its resamples."""
        drawn = None if self._resamples is None else self._resamples.take(known)
        brier = sample(partial(weighted_mean, (chance - truth) ** 2), drawn)
        f1 = interval(partial(f1_score, truth, chance >= made.threshold[name]), drawn)
        found, base = brier.metric(), float(truth.mean() * (1 - truth.mean()))
        row: dict[str, object] = {
            "observation": name, "positive": int(truth.sum()), "rows": len(truth), "brier": found.value,
            "brier_low": found.low, "brier_high": found.high, "skill": 1 - found.value / base if base else np.nan,
            "skill_left_out": made.skill[name], "threshold": made.threshold[name], "f1": f1.value, "f1_low": f1.low,
            "f1_high": f1.high, "ece": calibration_error(truth, chance, bins=self._bins)[0],
        }  # fmt: skip
        return row, brier
