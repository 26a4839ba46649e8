"""Flip: whether an image is nearer to a true sentence than to the same sentence with one state turned round."""

from __future__ import annotations

from functools import partial
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from labelers.errors import UserError
from labelers.flips import Flip, flips
from medclip.data.tables import label_matrix
from medclip.evaluation.bootstrap import Metric, Resamples, bootstrap, mean_sampled, sample
from medclip.evaluation.evaluators import EvaluationData, Evaluator, Result
from medclip.evaluation.films import Answers
from medclip.evaluation.metrics import weighted_mean
from medclip.inference.embed import embed_images, embed_texts

if TYPE_CHECKING:
    from medclip.models import MedCLIPModel, MedCLIPProcessor

_DIRECTIONS = {"claimed": True, "denied": False}


class FlipTest(Evaluator):
    """Accuracy of choosing between a sentence of a report and the same sentence with one state turned round.

    As in CXR-Align, negation is tested with nothing else changed: "There is a small effusion." against "There is no
    small effusion.", "No pneumothorax." against "There is pneumothorax.". Sentences are rewritten by rules and checked
    by the labeler, see `labelers.flips`. An image is compared with sentences of its own report; where images
    have no reports, with sentences of others whose claim or denial is true of it by its label. `claimed` counts
    sentences that claim something, `denied` those that deny; `mean` is the mean of both, and 0.5 by chance.

    It can mislead: a model that always prefers a denial has all of `denied`, nothing of `claimed` and 0.5 as `mean`
    (which is undefined where all sentences are of one kind); one that prefers what people write over what rules write
    is above 0.5 without looking. `of_others` are the same pairs with the image of another patient: only what is above
    it comes from the image.

    Args:
        data: Images and prepared sentences.
        seed: Seed of the choice of images and sentences, and of the bootstrap.
        most: Pairs of each direction, at most.
        resamples: Number of bootstrap resamples over patients; 0 for none.
    """

    primary = "flip/mean"

    def __init__(self, data: EvaluationData, *, seed: int = 0, most: int = 2000, resamples: int = 1000) -> None:
        if data.sentences is None or data.occurrences is None:
            raise UserError("flip needs texts. Name a text source, such as --texts phantom.")
        self._data, self._table, self._sentences = data, data.rows(), data.sentences
        self._rng, self._count, self._seed = np.random.default_rng(seed), resamples, seed
        said = self._of_own_studies(data.occurrences)
        self._kind = "own report" if len(said) else "same label"
        rows = said["sentence"].unique() if len(said) else np.flatnonzero(data.sentences["split"] == data.split)
        found = [self._flip_of(flip, rows) for flip in flips(self._texts(rows), data.labelling.cutter())]
        pairs = self._own(found, said) if len(said) else self._matched(found)
        self._pairs = self._some(pairs, most)
        if self._pairs.empty:
            raise UserError(
                f"flip: of {len(rows)} sentences, {len(found)} can be turned round, and none of them is known of an "
                "image of this split. Name the texts of these images, or images with labels."
            )

    def _texts(self, rows: np.ndarray) -> list[str]:
        return self._sentences["text"].iloc[rows].tolist()

    @staticmethod
    def _flip_of(flip: Flip, rows: np.ndarray) -> dict[str, object]:
        return {"sentence": int(rows[flip.sentence]), "observation": flip.observation, "claimed": flip.claimed,
                "text": flip.text}  # fmt: skip

    def _of_own_studies(self, occurrences: pd.DataFrame) -> pd.DataFrame:
        """Returns which sentence (row) is said of which image (row), by study; the first image of each."""
        first = self._table.reset_index().drop_duplicates("study_id").set_index("study_id")["index"]
        said = occurrences[occurrences["study_id"].isin(first.index)]
        said = said.assign(image=first[said["study_id"]].to_numpy())
        return said[["image", "sentence"]].drop_duplicates().reset_index(drop=True)

    def _own(self, found: list[dict[str, object]], said: pd.DataFrame) -> pd.DataFrame:
        table = pd.DataFrame(found, columns=["sentence", "observation", "claimed", "text"])
        return said.merge(table, on="sentence", how="inner")

    def _matched(self, found: list[dict[str, object]]) -> pd.DataFrame:
        """Returns each flip with an image of whose label its sentence is true."""
        rows = []
        for flip in found:
            states = label_matrix(self._table, [str(flip["observation"])])[:, 0]
            images = np.flatnonzero(states == float(bool(flip["claimed"])))
            if len(images):
                rows.append({"image": int(self._rng.choice(images)), **flip})
        return pd.DataFrame(rows, columns=["image", "sentence", "observation", "claimed", "text"])

    def _some(self, pairs: pd.DataFrame, most: int) -> pd.DataFrame:
        parts = [pairs[pairs["claimed"] == claimed] for claimed in _DIRECTIONS.values()]
        kept = [part.iloc[np.sort(self._rng.permutation(len(part))[:most])] for part in parts]
        return pd.concat(kept).reset_index(drop=True)

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Encodes each image and each sentence once, and compares."""
        pairs, patients = self._pairs, self._table["patient_id"].to_numpy()
        images = embed_images(model, self._table["_key"].tolist(), processor, cache=self._data.cache)
        real = embed_texts(model, self._texts(pairs["sentence"].to_numpy()), processor)
        turned = embed_texts(model, pairs["text"].tolist(), processor)
        own = pairs["image"].to_numpy()
        right = _nearer(images[own], real, turned)
        rng = np.random.default_rng(self._seed)
        others = np.array([_another(rng, patients, image) for image in own])
        of_others = np.where(others >= 0, _nearer(images[others], real, turned), np.nan)
        resamples = bootstrap(patients[own], resamples=self._count, seed=self._seed)
        metrics = self._metrics(right, of_others, resamples)
        return Result(
            metrics, tables={"flip": self._by_observation(right)}, answers=partial(self._answers, images, real, turned)
        )

    def _answers(self, images: np.ndarray, real: np.ndarray, turned: np.ndarray) -> Answers:
        """Returns which of the two sentences was nearer to each image; the sentences are of reports."""
        own = self._pairs["image"].to_numpy()
        margin = (images[own] * (real - turned)).sum(axis=1)
        said = [
            f"true: {shorten(one, 44)}\nfalse: {shorten(other, 44)}\nnearer to the {'true' if by > 0 else 'false'} one "
            f"by {abs(by):.3f}"
            for one, other, by in zip(
                self._texts(self._pairs["sentence"].to_numpy()), self._pairs["text"], margin, strict=True
            )
        ]
        table = pd.DataFrame({
            "key": self._table["_key"].to_numpy()[own], "about": self._pairs["observation"], "said": said,
            "right": margin > 0, "certainty": np.abs(margin), "question": np.arange(len(margin)),
        })  # fmt: skip
        return Answers(table, real - turned)

    def _metrics(self, right: np.ndarray, of_others: np.ndarray, resamples: Resamples | None) -> dict[str, Metric]:
        claimed = self._pairs["claimed"].to_numpy(bool)
        parts = {name: np.flatnonzero(claimed == wanted) for name, wanted in _DIRECTIONS.items()}
        parts = {name: rows for name, rows in parts.items() if len(rows)}
        metrics: dict[str, Metric] = {}
        for name, values in (("mean", right), ("of_others", of_others)):
            if name == "of_others" and np.isnan(values).any():
                continue  # of one patient alone there is no other
            drawn = {key: None if resamples is None else resamples.take(rows) for key, rows in parts.items()}
            sampled = {key: sample(partial(weighted_mean, values[rows]), drawn[key]) for key, rows in parts.items()}
            both = len(parts) == len(_DIRECTIONS)  # of one kind alone, a mere liking for that kind would be skill
            mean = mean_sampled(list(sampled.values())).metric() if both else Metric(float("nan"))
            metrics[f"flip/{name}"] = _told(mean, len(values))
            if name == "mean":
                metrics |= {f"flip/{key}": _told(one.metric(), len(parts[key])) for key, one in sampled.items()}
        return metrics

    def _by_observation(self, right: np.ndarray) -> pd.DataFrame:
        table = self._pairs.assign(right=right)
        rows = []
        for (observation, claimed), part in table.groupby(["observation", "claimed"], sort=True):
            row = {"observation": observation, "sentence": "claims it" if claimed else "denies it"}
            rows.append(row | {"sentences of": self._kind, "n": len(part), "accuracy": part["right"].mean(),
                               "chance": 0.5})  # fmt: skip
        return pd.DataFrame(rows)


def _nearer(images: np.ndarray, real: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """Returns 1 where an image is nearer to the real sentence, 0 where to the other, and a half where to both alike."""
    difference = (images * (real - turned)).sum(axis=1)
    return np.where(np.abs(difference) < 1e-7, 0.5, (difference > 0).astype(float))


def _another(rng: np.random.Generator, patients: np.ndarray, image: int) -> int:
    """Returns an image of another patient, or -1 where there is none."""
    others = np.flatnonzero(patients != patients[image])
    return int(rng.choice(others)) if len(others) else -1


def _told(metric: Metric, count: int) -> Metric:
    return Metric(metric.value, metric.low, metric.high, count=count, chance=0.5)
