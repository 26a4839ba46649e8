"""From embeddings to answers: the arithmetic of zero-shot classification, in numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labelers.errors import UserError
from medclip.inference.calibration import Calibration, best_threshold, fit_platt


class PromptScores:
    """Compares embeddings of images with those of prompts.

    The score of an observation is the cosine with its positive prompts less that with its negative ones.

    Args:
        observations: O names.
        positive: (O, D) directions of their positive prompts.
        negative: (O, D) directions of their negative prompts, zeros where there are none.
        scale: what cosines are multiplied with.
        calibration: for probabilities that are chances.
        dicom: how the model's DICOM files become grey, see `medclip.data.images.read_image`.
        cache_size: side of the squares that images are first fitted to; larger JPEGs need not be decoded in full.
    """

    def __init__(
        self,
        observations: Sequence[str],
        positive: np.ndarray,
        negative: np.ndarray,
        *,
        scale: float,
        calibration: Calibration | None = None,
        dicom: str = "voi",
        cache_size: int = 256,
    ) -> None:
        self.dicom, self.cache_size = dicom, cache_size
        self.observations = list(observations)
        self.positive, self.negative, self.scale, self.calibration = positive, negative, scale, calibration

    def embed(self, images: Sequence[Any], *, batch_size: int = 64) -> np.ndarray:
        """Returns embeddings (I, D) of grey uint8 arrays or files, each through the image tower once.

        Raises:
            ImageError: a file cannot be read.
        """
        raise NotImplementedError

    def scores(self, embeds: np.ndarray) -> np.ndarray:
        """Returns (I, O): how much nearer each image is to the positive prompts than to the negative ones."""
        return embeds @ (self.positive - self.negative).T

    def probabilities(self, embeds: np.ndarray) -> np.ndarray:
        """Returns (I, O): that each observation is present, for itself.

        Calibrated where there is a calibration, NaN for observations it does not know. Without one the scaled scores
        go through a sigmoid: a ranking, and no chance.
        """
        scores = self.scores(embeds)
        if self.calibration is None:
            return 1 / (1 + np.exp(-self.scale * scores))
        slope, offset = (
            np.array([values.get(name, np.nan) for name in self.observations])
            for values in (self.calibration.slope, self.calibration.offset)
        )
        return 1 / (1 + np.exp(-(slope * scores + offset)))

    def distribution(self, embeds: np.ndarray, classes: Sequence[str]) -> np.ndarray:
        """Returns (I, C): how likely each of `classes` is, if exactly one of them is there; a softmax over cosines.

        An image's row depends on that image and on `classes` alone.
        """
        columns = [self.observations.index(name) for name in classes]
        logits = self.scale * embeds @ self.positive[columns].T
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)

    def calibrate(self, embeds: np.ndarray, states: np.ndarray, *, prompts: str = "") -> Calibration:
        """Fits and keeps probabilities and thresholds, on images that nothing else is reported on.

        Observations with fewer than five positives or negatives are left out.

        Args:
            embeds: (I, D), of a validation split.
            states: (I, O), in the order of `observations`; rows whose state is neither 1 nor 0 do not count.
            prompts: what the prompt set is called.
        """
        scores = self.scores(embeds)
        slope, offset, threshold = {}, {}, {}
        for j, name in enumerate(self.observations):
            known = np.isin(states[:, j], (0.0, 1.0))
            truth = states[known, j] == 1
            if min(truth.sum(), (~truth).sum()) >= 5:
                slope[name], offset[name] = fit_platt(truth, scores[known, j])
                chances = 1 / (1 + np.exp(-(slope[name] * scores[known, j] + offset[name])))
                threshold[name] = best_threshold(truth, chances)
        self.calibration = Calibration(slope, offset, threshold, len(embeds), prompts)
        return self.calibration


#: What several prompts come to: the mean direction of their embeddings, the mean of their cosines, or the largest.
ENSEMBLES = ("embeddings", "logits", "max")


def prompt_similarity(
    images: np.ndarray, prompts: Sequence[tuple[str, ...]], embeds: Mapping[str, np.ndarray], *, ensemble: str
) -> np.ndarray:
    """Returns the similarity (I, O) of images (I, D) to each tuple of prompts, 0 for an empty one.

    An image's similarity to a tuple depends on both alone, not on order, batch or other prompts.

    Args:
        images: unit length.
        prompts: O tuples.
        embeds: unit vectors by prompt.
        ensemble: see `ENSEMBLES`.

    Raises:
        UserError: `ensemble` is unknown.
    """
    if ensemble not in ENSEMBLES:
        raise UserError(f"--ensemble {ensemble}: choose from {', '.join(ENSEMBLES)}.")
    if ensemble == "embeddings":
        return images @ mean_directions(prompts, embeds, dim=images.shape[1]).T
    columns = []
    for entry in prompts:
        cosines = images @ np.stack([embeds[text] for text in entry]).T if entry else np.zeros((len(images), 1))
        columns.append(cosines.mean(axis=1) if ensemble == "logits" else cosines.max(axis=1))
    return np.stack(columns, axis=1)


def mean_directions(prompts: Sequence[tuple[str, ...]], embeds: Mapping[str, np.ndarray], *, dim: int) -> np.ndarray:
    """Returns the mean direction (O, D) of each tuple of prompts, for the embedding of each prompt."""
    rows = []
    for entry in prompts:
        mean = np.mean([embeds[text] for text in entry], axis=0) if entry else np.zeros(dim)
        rows.append(mean / max(float(np.linalg.norm(mean)), 1e-12))
    return np.stack(rows).astype(np.float32)
