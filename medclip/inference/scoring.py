"""From embeddings to answers: the arithmetic of zero-shot classification, in numpy. The one scorer of all callers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import pandas as pd

from labelers.errors import UserError
from medclip.data.images import listed_images
from medclip.inference.calibration import Calibration, best_threshold, fit_platt, held_out_skill, sigmoid

logger = logging.getLogger(__name__)

#: What several prompts come to: the mean direction of their embeddings, the mean of their cosines, or the largest.
ENSEMBLES = ("embeddings", "logits", "max")
#: Positives and negatives that a calibration needs of an observation, where nobody says otherwise.
LEAST = 10


@dataclass(frozen=True)
class Directions:
    """Prompts of O observations as directions. An image is as similar to an observation as its nearest direction.

    That similarity depends on the image and on the observation's own prompts alone, not on order, batch or others.

    Attributes:
        vectors: (K, D) directions, those of one observation after another.
        counts: (O,) how many belong to each observation; none where it has no prompts, and similarity 0.
    """

    vectors: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(
        cls, prompts: Sequence[tuple[str, ...]], embeds: Mapping[str, np.ndarray], *, dim: int, ensemble: str
    ) -> Directions:
        """Returns the directions of O tuples of prompts.

        Args:
            prompts: O tuples, which may be empty.
            embeds: Unit vectors (D,) by prompt.
            dim: D.
            ensemble: See `ENSEMBLES`; "max" keeps every prompt, the others come to one direction.

        Raises:
            UserError: `ensemble` is unknown.
        """
        if ensemble not in ENSEMBLES:
            raise UserError(f"--ensemble {ensemble}: choose from {', '.join(ENSEMBLES)}.")
        rows, counts = [np.empty((0, dim), dtype=np.float32)], []
        for entry in prompts:
            own = np.array([embeds[text] for text in entry]).reshape(len(entry), dim)
            if ensemble != "max" and len(own):
                own = own.mean(axis=0, keepdims=True)
            if ensemble == "embeddings":
                own = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)
            rows.append(own.astype(np.float32))
            counts.append(len(own))
        return cls(np.concatenate(rows), np.array(counts, dtype=np.int64))

    def similarity(self, images: np.ndarray) -> np.ndarray:
        """Returns the similarity (I, O) of images (I, D), of unit length, to each observation."""
        found = np.zeros((len(images), len(self.counts)), dtype=np.float32)
        known, cosines = np.flatnonzero(self.counts), images @ self.vectors.T
        if len(known):
            starts = np.cumsum(self.counts)[known] - self.counts[known]
            found[:, known] = np.maximum.reduceat(cosines, starts, axis=1)
        return found

    def centres(self) -> np.ndarray:
        """Returns one direction (O, D) of unit length for each observation, zeros where it has none."""
        found = np.zeros((len(self.counts), self.vectors.shape[1]), dtype=np.float32)
        np.add.at(found, np.repeat(np.arange(len(self.counts)), self.counts), self.vectors)
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


class PromptScores:
    """Compares embeddings of images with those of prompts.

    The score of an observation is the cosine with its positive prompts less that with its negative ones.

    Args:
        observations: O names.
        positive: Directions of their positive prompts.
        negative: Directions of their negative prompts.
        scale: What cosines are multiplied with.
        ensemble: What several prompts come to, see `ENSEMBLES`.
        calibration: Calibration that makes scores probabilities.
        dicom: Recipe by which the model's DICOM files become grey, see `medclip.data.images.read_image`.
        cache_size: Side of the squares that images are first fitted to; larger JPEGs need not be decoded in full.

    Raises:
        UserError: The calibration belongs to the scores of another ensemble.
    """

    def __init__(
        self,
        observations: Sequence[str],
        positive: Directions,
        negative: Directions,
        *,
        scale: float,
        ensemble: str = "embeddings",
        calibration: Calibration | None = None,
        dicom: str = "voi",
        cache_size: int = 256,
    ) -> None:
        if calibration is not None and calibration.ensemble != ensemble:
            raise UserError(
                f"The calibration was fitted on scores of ensemble {calibration.ensemble}, not {ensemble}. Fit it "
                f"again: medclip-evaluate ... --ensemble {ensemble} --calibrate"
            )
        self.dicom, self.cache_size, self.ensemble = dicom, cache_size, ensemble
        self.observations = list(observations)
        self.positive, self.negative, self.scale, self.calibration = positive, negative, scale, calibration

    @property
    def positive_only(self) -> list[str]:
        """The observations without negative prompts, whose scores compare with nothing but with each other."""
        counts = zip(self.observations, self.positive.counts, self.negative.counts, strict=True)
        return [name for name, positive, negative in counts if positive and not negative]

    @overload
    def __call__(self, images: Any, *, batch_size: int = 64) -> pd.DataFrame: ...

    @overload
    def __call__(self, images: Any, *, batch_size: int = 64, return_tensors: str) -> Any: ...

    def __call__(self, images: Any, *, batch_size: int = 64, return_tensors: str = "") -> Any:
        """Returns a probability for each image (row) and observation (column); rows of files have the files' names.

        Args:
            images: One image or several: paths, arrays, tensors or PIL images, see `medclip.data.images.grey_images`.
            batch_size: Images encoded at once.
            return_tensors: "pt" for a tensor (I, O), "np" for an array; by default a table.

        Raises:
            ImageError: A file cannot be read.
            UserError: `return_tensors` is something else.
        """
        many = listed_images(images)
        rows = [str(image) for image in many if isinstance(image, str | Path)]
        values = self.probabilities(self.embed(many, batch_size=batch_size))
        if return_tensors:
            return _as_tensors(values, return_tensors)
        return pd.DataFrame(values, columns=self.observations, index=rows if len(rows) == len(many) else None)

    def encode_image(self, images: Any, *, batch_size: int = 64, return_tensors: str = "np") -> Any:
        """Returns embeddings (I, D), unit length, of one image or several; arguments as those of a call."""
        return _as_tensors(self.embed(listed_images(images), batch_size=batch_size), return_tensors)

    def encode_text(self, texts: str | Sequence[str], *, return_tensors: str = "np") -> Any:
        """Returns embeddings (T, D), unit length, of one text or several, as an array or, with "pt", a tensor."""
        return _as_tensors(self.embed_texts([texts] if isinstance(texts, str) else list(texts)), return_tensors)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Returns embeddings (T, D) of texts."""
        raise NotImplementedError

    def embed(self, images: Sequence[Any], *, batch_size: int = 64) -> np.ndarray:
        """Returns embeddings (I, D) of grey uint8 arrays or files, each through the image tower once.

        Raises:
            ImageError: A file cannot be read.
        """
        raise NotImplementedError

    def directions(self) -> np.ndarray:
        """Returns (O, D): what tells each observation from its absence, for maps."""
        return self.positive.centres() - self.negative.centres()

    def scores(self, embeds: np.ndarray) -> np.ndarray:
        """Returns (I, O): how much nearer each image is to the positive prompts than to the negative ones."""
        return self.positive.similarity(embeds) - self.negative.similarity(embeds)

    def probabilities(self, embeds: np.ndarray) -> np.ndarray:
        """Returns (I, O): that each observation is present, for itself.

        Calibrated where there is a calibration, NaN for observations it does not know. Without one the scaled scores
        go through a sigmoid: a ranking, and no chance.
        """
        scores = self.scores(embeds)
        if self.calibration is None:
            return sigmoid(self.scale * scores)
        slope, offset = (
            np.array([values.get(name, np.nan) for name in self.observations])
            for values in (self.calibration.slope, self.calibration.offset)
        )
        return sigmoid(slope * scores + offset)

    def distribution(self, embeds: np.ndarray, classes: Sequence[str]) -> np.ndarray:
        """Returns (I, C): how likely each of `classes` is, if exactly one of them is there; a softmax over cosines.

        An image's row depends on that image and on `classes` alone.
        """
        columns = [self.observations.index(name) for name in classes]
        logits = self.scale * self.positive.similarity(embeds)[:, columns]
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)

    def calibrate(
        self,
        embeds: np.ndarray,
        states: np.ndarray,
        *,
        prompts: str = "",
        patients: np.ndarray | None = None,
        least: int = LEAST,
    ) -> Calibration:
        """Fits and keeps probabilities and thresholds, on images that nothing else is reported on.

        Left out, and named, are observations with fewer than `least` positives or negatives, those whose scores do not
        rise with the chance that it is there, since a curve that falls would turn their order round, and those whose
        curve is no better than always saying the prevalence, on patients left out of the fit.

        Args:
            embeds: (I, D), of a validation split.
            states: (I, O), in the order of `observations`; rows whose state is neither 1 nor 0 do not count.
            prompts: What the prompt set is called.
            patients: (I,) whose image each is; by default each image is of another patient.
            least: Positives and negatives that a calibration needs of an observation.
        """
        scores, patients = self.scores(embeds), np.arange(len(embeds)) if patients is None else patients
        slope, offset, threshold, refused, skill = {}, {}, {}, {}, {}
        for j, name in enumerate(self.observations):
            known = np.isin(states[:, j], (0.0, 1.0))
            truth = states[known, j] == 1
            if min(truth.sum(), (~truth).sum()) < least:
                counts = f"{int(truth.sum())} positive and {int((~truth).sum())} negative images"
                refused[name] = f"{counts}, and {least} of each are needed"
                continue
            rising, shift = fit_platt(truth, scores[known, j])
            if rising <= 0:
                refused[name] = "its scores do not rise with the chance that it is there"
                continue
            saved = held_out_skill(truth, scores[known, j], patients[known])
            if saved <= 0:
                refused[name] = (
                    "on patients left out, its probabilities are no better than always saying the prevalence"
                )
                continue
            slope[name], offset[name], skill[name] = rising, shift, saved
            threshold[name] = best_threshold(truth, sigmoid(rising * scores[known, j] + shift))
        if refused:
            logger.warning("Not calibrated: %s", "; ".join(f"{name} ({why})" for name, why in refused.items()))
        self.calibration = Calibration(slope, offset, threshold, len(embeds), prompts, self.ensemble, refused, skill)
        return self.calibration


def _as_tensors(values: np.ndarray, kind: str) -> Any:
    if kind == "np":
        return values
    if kind != "pt":
        raise UserError(f"return_tensors={kind!r}: choose from pt, np.")
    import torch

    return torch.from_numpy(values)
