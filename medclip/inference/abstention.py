"""Knowing when not to answer: rules that say present, absent or unsure, with errors bounded on validation patients.

Split conformal prediction for each observation and each state (Vovk 2012, "Conditional validity of inductive conformal
predictors"): of patients in whom it is present, at most a promised share has scores so low that it is excluded, and of
those in whom it is absent, at most as many have scores so high. Where neither or both are excluded, there is no answer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from labelers.errors import UserError
from medclip.utils.io import write_atomically

_FILE = "medclip_abstention.json"
PRESENT, ABSENT = 1.0, 0.0


@dataclass(frozen=True)
class Abstention:
    """When an observation is called present or absent, and when there is no answer.

    Attributes:
        error: The promise: the largest share of patients with a state in whom that state is excluded.
        lower: By observation, the score below which presence is excluded.
        upper: By observation, the score above which absence is excluded.
        patients: By observation, the number of validation patients of the rarer state.
        prompts: The prompt set it was fitted with; scores of other prompts mean something else.
        ensemble: What several prompts came to in those scores, see `medclip.inference.scoring`.
        refused: Observations without an answer, and why.
    """

    error: float
    lower: dict[str, float]
    upper: dict[str, float]
    patients: dict[str, int]
    prompts: str = ""
    ensemble: str = "embeddings"
    refused: dict[str, str] = field(default_factory=dict)

    def answers(self, scores: np.ndarray, observations: Sequence[str]) -> np.ndarray:
        """Returns answers (N, O) to scores (N, O): 1 present, 0 absent, NaN unsure."""
        present, absent = self.possible(scores, observations)
        return np.where(present & ~absent, PRESENT, np.where(absent & ~present, ABSENT, np.nan))

    def possible(self, scores: np.ndarray, observations: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns (N, O) booleans twice: whether presence and whether absence may be; both where there are no rules."""
        lower = np.array([self.lower.get(name, -math.inf) for name in observations])
        upper = np.array([self.upper.get(name, math.inf) for name in observations])
        return scores >= lower, scores <= upper

    def save(self, folder: str | Path) -> None:
        """Writes the rules beside the model's weights."""
        text = json.dumps(asdict(self), indent=2)
        write_atomically(Path(folder) / _FILE, lambda path: path.write_text(text))

    @classmethod
    def find(cls, folder: str | Path, *, prompts: str) -> Abstention | None:
        """Returns the rules that `save` wrote into `folder`; None if there are none, or those of other prompts."""
        path = Path(folder) / _FILE
        found = cls(**json.loads(path.read_text())) if path.is_file() else None
        return found if found is not None and found.prompts == prompts else None

    @classmethod
    def load(cls, folder: str | Path, *, prompts: str) -> Abstention:
        """Returns the rules that `save` wrote into `folder`.

        Raises:
            UserError: There are none, or they belong to other prompts.
        """
        path = Path(folder) / _FILE
        how = "Fit them on labelled images: medclip-evaluate MODEL --on SOURCE --save-abstention"
        if not path.is_file():
            raise UserError(f"--abstain needs rules beside the model, and {folder} holds no {_FILE}. {how}")
        found = cls(**json.loads(path.read_text()))
        if found.prompts != prompts:
            raise UserError(f"--abstain: the rules in {folder} belong to prompts {found.prompts}, not {prompts}. {how}")
        return found


def fit_abstention(
    scores: np.ndarray,
    states: np.ndarray,
    patients: np.ndarray,
    observations: Sequence[str],
    *,
    error: float,
    seed: int = 0,
    prompts: str = "",
    ensemble: str = "embeddings",
) -> Abstention:
    """Returns rules fitted on a validation split, one image for each patient and state, drawn by `seed`.

    Images of one patient are alike, and the promise is about the next patient. An observation needs 1 / error - 1
    patients of each state: of fewer, none may be excluded.

    Args:
        scores: (N, O), higher for present.
        states: (N, O); rows whose state is neither 1 nor 0 do not count.
        patients: (N,) whose image each is.
        observations: Names of the O observations.
        error: The promise, between 0 and 0.5.
        seed: Seed of the choice of images.
        prompts: What the prompt set is called.
        ensemble: What several prompts come to in the scores.

    Raises:
        UserError: `error` is outside its range.
    """
    if not 0 < error < 0.5:
        raise UserError(f"--abstention-error {error:g}: found outside 0 to 0.5. Promise such as 0.1 or 0.05.")
    order = np.random.default_rng(seed).permutation(len(scores))
    least = math.ceil(1 / error - 1e-9) - 1
    made = Abstention(error, {}, {}, {}, prompts, ensemble, {})
    for j, name in enumerate(observations):
        of_state = {
            state: np.sort(scores[_one_each(order[states[order, j] == state], patients), j])
            for state in (PRESENT, ABSENT)
        }
        counts = {state: len(values) for state, values in of_state.items()}
        if min(counts.values()) < least:
            made.refused[name] = (
                f"{counts[PRESENT]} patients with and {counts[ABSENT]} without it, and {least} of each are needed"
            )
            continue
        below, above = (math.floor(error * (counts[state] + 1) + 1e-9) for state in (PRESENT, ABSENT))
        made.lower[name] = float(of_state[PRESENT][below - 1])
        made.upper[name] = float(of_state[ABSENT][-above])
        made.patients[name] = min(counts.values())
    return made


def _one_each(rows: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Returns the first of `rows` of each patient."""
    _, first = np.unique(np.asarray(patients)[rows].astype(str), return_index=True)
    return rows[first]
