"""From scores to probabilities and decisions, fitted on a validation split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from medclip.utils.io import write_atomically

_FILE = "medclip_calibration.json"


@dataclass(frozen=True)
class Calibration:
    """How scores become probabilities and decisions, fitted on a validation split.

    Attributes:
        slope: Slope by observation: probability = 1 / (1 + exp(-(slope * score + offset))), Platt 1999.
        offset: Offset by observation.
        threshold: Probability from which on an observation is called present; the best F1 on the validation split.
        rows: Number of images it was fitted on.
        prompts: The prompt set it was fitted with; scores of other prompts mean something else.
        ensemble: What several prompts came to in the scores it was fitted with, see `medclip.inference.scoring`.
        refused: Observations that are not calibrated, and why.
        skill: By observation, the share of the Brier score of always saying the prevalence that is saved on patients
            who were left out of the fit; 0 is useless, 1 perfect.
    """

    slope: dict[str, float]
    offset: dict[str, float]
    threshold: dict[str, float]
    rows: int
    prompts: str = ""
    ensemble: str = "embeddings"
    refused: dict[str, str] = field(default_factory=dict)
    skill: dict[str, float] = field(default_factory=dict)

    def save(self, folder: str | Path) -> None:
        """Writes the calibration beside the model's weights."""
        text = json.dumps(asdict(self), indent=2)
        write_atomically(Path(folder) / _FILE, lambda path: path.write_text(text))

    @classmethod
    def load(cls, folder: str | Path, *, prompts: str) -> Calibration | None:
        """Returns the calibration that `save` wrote into `folder`; None if there is none, or one of other prompts."""
        path = Path(folder) / _FILE
        found = cls(**json.loads(path.read_text())) if path.is_file() else None
        return found if found is not None and found.prompts == prompts else None


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Returns 1 / (1 + exp(-values)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * values))


def fit_platt(truth: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Returns slope and offset of the logistic curve from `scores` (N,) to the chance of `truth` (Platt 1999)."""
    from sklearn.linear_model import LogisticRegression

    scale = float(np.std(scores)) or 1.0
    fitted = LogisticRegression(C=1e3).fit(np.asarray(scores)[:, None] / scale, truth)
    return float(fitted.coef_[0, 0]) / scale, float(fitted.intercept_[0])


def held_out_skill(truth: np.ndarray, scores: np.ndarray, patients: np.ndarray, *, folds: int = 5) -> float:
    """Returns how much of the Brier score of always saying the prevalence a curve saves, on patients left out of it.

    The patients are cut into folds; curve and prevalence are those of the other folds. Below 0 it does harm.

    Args:
        truth: (N,) booleans, both kinds among them.
        scores: (N,), higher for positive.
        patients: (N,) whose image each is.
        folds: Parts, at most as many as patients.
    """
    names, member = np.unique(np.asarray(patients).astype(str), return_inverse=True)
    part = np.random.default_rng(0).permutation(len(names))[member] % folds
    errors = np.zeros((len(truth), 2))
    for fold in np.unique(part):
        out, rest = part == fold, part != fold
        prevalence = float(truth[rest].mean()) if rest.any() else 0.5
        chance = np.full(int(out.sum()), prevalence)
        if 0 < prevalence < 1:
            slope, offset = fit_platt(truth[rest], scores[rest])
            chance = sigmoid(slope * scores[out] + offset)
        errors[out] = np.column_stack([(chance - truth[out]) ** 2, (prevalence - truth[out]) ** 2])
    saved, plain = errors.sum(axis=0)
    return float(1 - saved / plain) if plain else 0.0


def best_thresholds(states: np.ndarray, scores: np.ndarray, names: Sequence[str], *, least: int) -> dict[str, float]:
    """Returns the score with the best F1 of each observation that has enough of both states.

    Args:
        states: (N, O), of a validation split; rows whose state is neither 1 nor 0 do not count.
        scores: (N, O), higher for positive.
        names: Names of the O observations.
        least: Positives and negatives that a threshold needs.
    """
    found = {}
    for j, name in enumerate(names):
        known = np.isin(states[:, j], (0.0, 1.0))
        truth = states[known, j] == 1
        if min(truth.sum(), (~truth).sum()) >= least:
            found[name] = best_threshold(truth, scores[known, j])
    return found


def best_threshold(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the threshold with the best F1; `probabilities` at or above it are called positive."""
    order = np.argsort(-np.asarray(probabilities), kind="stable")
    ranked, hits = np.asarray(probabilities)[order], np.cumsum(np.asarray(truth)[order])
    f1 = 2 * hits / (np.arange(1, len(ranked) + 1) + hits[-1])
    last = np.append(ranked[:-1] != ranked[1:], True)  # equal probabilities are called alike
    return float(ranked[np.flatnonzero(last)[np.argmax(f1[last])]])
