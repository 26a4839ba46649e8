"""From the encoding of a film to the answers that a page or a program gets, with what their numbers mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelers.errors import UserError
from medclip.inference.calibration import sigmoid
from medclip.inference.scoring import PromptScores

#: What one request may ask.
MAX_SENTENCES, MAX_LENGTH = 50, 1000
CALIBRATED = (
    "Calibrated probabilities: among films like those it was calibrated on, about this share of those with this value "
    "have the observation."
)
RANKING = (
    "A ranking, not calibrated: a higher value means nearer to the prompts than to their denials. Compare films by one "
    "observation; it is no chance."
)
SENTENCES = (
    "Cosine of film and sentence, -1 to 1: compare films by one sentence. Share: how the sentences compare if exactly "
    "one of them is true. With an opposite, the share is between the two. None of it is calibrated."
)


@dataclass(frozen=True)
class Sentence:
    """A free sentence, and its opposite where one was given.

    Attributes:
        text: As typed.
        embed: (D,).
        opposite: (D,), or None.
    """

    text: str
    embed: np.ndarray
    opposite: np.ndarray | None = None


def split_sentences(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Returns sentence and opposite, which may be "", of lines such as "There is edema. | No edema."

    Raises:
        UserError: There are too many, one is too long, or has nothing before its bar.
    """
    pairs = [tuple(part.strip() for part in line.partition("|")[::2]) for line in lines if line.strip()]
    if len(pairs) > MAX_SENTENCES or any(len(line) > MAX_LENGTH for line in lines):
        raise UserError(
            f"Found {len(pairs)} sentences, the longest of {max(map(len, lines))} characters; a request takes "
            f"{MAX_SENTENCES} of {MAX_LENGTH}. Ask in several."
        )
    if not all(first for first, _ in pairs):
        raise UserError("A line has no sentence before its bar. Write it as: There is edema. | No edema.")
    return [(first, second) for first, second in pairs]


def answer_prompts(scores: PromptScores, embed: np.ndarray) -> list[dict[str, Any]]:
    """Returns an answer for each observation, the highest first; those without a value (not calibrated) come last."""
    values = scores.probabilities(embed[None])[0]
    limits = scores.calibration.threshold if scores.calibration else {}
    refused = scores.calibration.refused if scores.calibration else {}
    answers = []
    for name, value in zip(scores.observations, values.tolist(), strict=True):
        known = value == value
        answer = {"observation": name, "value": round(value, 6) if known else None}
        if name in limits:
            answer |= {"threshold": round(limits[name], 6), "present": bool(value >= limits[name])}
        if not known:
            answer["note"] = f"not calibrated: {refused.get(name, 'unknown to the calibration')}"
        answers.append(answer)
    return sorted(answers, key=lambda one: (one["value"] is None, -(one["value"] or 0.0)))


def answer_sentences(sentences: Sequence[Sentence], embed: np.ndarray, *, scale: float) -> list[dict[str, Any]]:
    """Returns an answer for each sentence, in the order they were typed."""
    cosines = [float(embed @ sentence.embed) for sentence in sentences]
    single = [i for i, sentence in enumerate(sentences) if sentence.opposite is None]
    logits = scale * np.array([cosines[i] for i in single])
    weights = np.exp(logits - logits.max()) if len(single) > 1 else np.empty(0)
    shares = dict(zip(single, (weights / weights.sum()).tolist(), strict=True)) if len(single) > 1 else {}
    answers = []
    for i, sentence in enumerate(sentences):
        answer: dict[str, Any] = {"sentence": sentence.text, "cosine": round(cosines[i], 6)}
        if sentence.opposite is not None:
            difference = np.array([scale * (cosines[i] - float(embed @ sentence.opposite))])
            answer["share"] = round(float(sigmoid(difference)[0]), 6)
        elif i in shares:
            answer["share"] = round(shares[i], 6)
        answers.append(answer)
    return answers


def meaning(scores: PromptScores | None) -> dict[str, Any]:
    """Returns what the values of a prompt set, or without one of sentences, mean."""
    if scores is None:
        return {"calibrated": False, "meaning": SENTENCES}
    calibrated = scores.calibration is not None
    return {"calibrated": calibrated, "meaning": CALIBRATED if calibrated else RANKING}
