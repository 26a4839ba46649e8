"""Retrieval in all directions: images and texts nearest to an image or to a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from labelers.errors import UserError
from labelers.observations import CHEXPERT5
from medclip.data.tables import label_matrix, observations_of
from medclip.evaluation import figures
from medclip.evaluation.bootstrap import Metric, Resamples, bootstrap, interval
from medclip.evaluation.evaluators import EvaluationData, Evaluator, Result
from medclip.evaluation.metrics import weighted_mean
from medclip.evaluation.ranking import claim_overlap, claims_true_of, hits, ndcg, positive_overlap
from medclip.inference.embed import embed_images, embed_texts
from medclip.inference.index import Index

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from medclip.models import MedCLIPModel, MedCLIPProcessor


class Retrieval(Evaluator):
    """Class precision at K as MedCLIP and GLoRIA report it, recall at K of one's own, and graded nDCG at K.

    Class precision (MedCLIP, section 4.4): images and sentences with exactly one of the classes positive; the share
    of the K nearest that are of the query's class, the mean over classes of queries. Instance recall: whether the
    own report is among the K nearest reports, and the own image among the K nearest images. Image to image and text to
    text it is whether another image, or another sentence, of the own study is among the K nearest.

    nDCG at K, in all four directions, takes labels for graded relevance: two images share some of the observations
    that either has; two sentences share some of what either claims or denies; a sentence is in part true of an image.
    Images of the query's own patient are no candidates for an image, nor is a sentence for itself. Every number has its
    chance level beside it: what a random order of the same candidates gets.

    It can mislead: sentences that are true of most images, such as denials of rare findings, have a high nDCG from
    image to text without looking; precision at K depends on how many of each class there are, which is why sentences
    are drawn equally by class; the numbers are in the table. Recall depends on the number of candidates, and reports
    that say the same word for word count as wrong.

    Args:
        data: Images with states and prepared sentences.
        seed: Seed of the choice of sentences and the bootstrap.
        classes: Classes to tell apart; by default CheXpert's five.
        per_class: Sentences of each class, at most.
        ks: The Ks of precision and recall.
        resamples: Number of bootstrap resamples over patients; 0 for none.
        examples: Images to show with their nearest sentences. They are patients' data.
        most: Images, and sentences, that nDCG and recall of one's own study are computed among, at most.
    """

    primary = "precision@5/image_to_text"

    def __init__(
        self,
        data: EvaluationData,
        *,
        seed: int = 0,
        classes: Sequence[str] = (),
        per_class: int = 200,
        ks: Sequence[int] = (1, 2, 5, 10),
        resamples: int = 1000,
        examples: int = 0,
        most: int = 2000,
    ) -> None:
        if data.sentences is None or data.occurrences is None:
            raise UserError("retrieval needs texts. Name a text source, such as --texts phantom.")
        self._data, self._ks, self._table, self._examples = data, tuple(ks), data.rows(), examples
        self._classes = [name for name in (classes or CHEXPERT5) if name in self._table.columns]
        self._class_of_image = _single_class(label_matrix(self._table, self._classes))
        self._texts = self._choose(data.sentences, per_class, seed)
        patients = self._table["patient_id"].to_numpy()
        self._resamples = bootstrap(patients, resamples=resamples, seed=seed)
        self._reports = _reports(data.sentences, data.occurrences, self._table)
        self._said = np.flatnonzero(data.sentences["split"] == data.split)
        rng = np.random.default_rng(seed)
        self._some_images = _some(self._table["patient_id"].to_numpy(), most, rng)
        self._some_texts = self._said[_some(_first_study(data.occurrences, self._said), most, rng)]

    def _choose(self, sentences: pd.DataFrame, per_class: int, seed: int) -> pd.DataFrame:
        """Returns sentences with one class positive, at most `per_class` of each, with their class."""
        table = sentences[sentences["split"] == self._data.split]
        table = table.assign(_class=_single_class(label_matrix(table, self._classes)))
        rng = np.random.default_rng(seed)
        parts = [
            part.iloc[np.sort(rng.permutation(len(part))[:per_class])]
            for number in range(len(self._classes))
            for part in [table[table["_class"] == number]]
        ]
        return pd.concat(parts) if parts else table[:0]

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Encodes images, sentences and reports once, and looks each up among the others."""
        embeds = embed_images(model, self._table["_key"].tolist(), processor, cache=self._data.cache)
        metrics: dict[str, Metric] = {}
        rows: list[tuple[str, int, int]] = []
        drawn = {}
        single = self._class_of_image >= 0
        if single.any() and len(self._texts):
            texts = embed_texts(model, self._texts["text"].tolist(), processor)
            found, counts = self._by_class(embeds[single], texts, single)
            metrics |= found
            rows += counts
            if self._examples:
                drawn["retrieval"] = self._nearest(embeds, texts, np.flatnonzero(single))
        if len(self._reports):
            metrics |= self._by_instance(model, processor, embeds)
        metrics |= self._graded(embeds, model, processor)
        table = pd.DataFrame(rows, columns=["class", "images", "texts"])
        last = f"@{max(self._ks)}/"
        headline = tuple(name for name in metrics if name != "recall/pairs" and (last in name or "ndcg" not in name))
        return Result(metrics, headline, {"retrieval": table}, drawn)

    def _nearest(self, embeds: np.ndarray, texts: np.ndarray, single: np.ndarray) -> Figure:
        """Returns images spread over the table, each over its class and the three nearest sentences."""
        chosen = single[np.linspace(0, len(single) - 1, min(self._examples, len(single))).round().astype(int)]
        _, nearest = Index(texts, [""] * len(texts)).search(embeds[chosen], k=min(3, len(texts)))
        said = self._texts["text"].to_numpy()
        titles = [
            "\n".join([self._classes[self._class_of_image[i]].upper(), *(shorten(said[j], 44) for j in found)])
            for i, found in zip(chosen, nearest, strict=True)
        ]
        return figures.pictures(list(self._data.cache.get(self._table["_key"].iloc[chosen].tolist())), titles)

    def _by_class(
        self, images: np.ndarray, texts: np.ndarray, single: np.ndarray
    ) -> tuple[dict[str, Metric], list[tuple[str, int, int]]]:
        of_image, of_text = self._class_of_image[single], self._texts["_class"].to_numpy()
        weights = None if self._resamples is None else self._resamples.take(single)
        metrics: dict[str, Metric] = {}
        for name, queries, asked, pool, answers, drawn in (
            ("image_to_text", images, of_image, texts, of_text, weights),
            ("text_to_image", texts, of_text, images, of_image, None),
        ):
            most = min(max(self._ks), len(pool))
            _, nearest = Index(pool, [""] * len(pool)).search(queries, k=most)
            right_class = answers[nearest] == asked[:, None]  # (M, K)
            for k in (k for k in self._ks if k <= most):
                right = partial(_class_mean, right_class[:, :k].mean(axis=1), asked)
                chance = float(np.mean([np.mean(answers == c) for c in np.unique(asked)]))
                metrics[f"precision@{k}/{name}"] = replace(interval(right, drawn), count=len(asked), chance=chance)
        numbers = range(len(self._classes))
        return metrics, [(self._classes[c], int((of_image == c).sum()), int((of_text == c).sum())) for c in numbers]

    def _by_instance(self, model: MedCLIPModel, processor: MedCLIPProcessor, embeds: np.ndarray) -> dict[str, Metric]:
        texts = embed_texts(model, self._reports["text"].tolist(), processor)
        images = embeds[self._reports["image"].to_numpy()]
        weights = None if self._resamples is None else self._resamples.take(self._reports["image"].to_numpy())
        metrics: dict[str, Metric] = {"recall/pairs": Metric(len(texts))}
        for name, queries, pool in (("image_to_text", images, texts), ("text_to_image", texts, images)):
            most = min(max(self._ks), len(pool))
            _, nearest = Index(pool, [""] * len(pool)).search(queries, k=most)
            own = nearest == np.arange(len(pool))[:, None]
            for k in (k for k in self._ks if k <= most):
                found = own[:, :k].any(axis=1).astype(float)
                recall = interval(partial(weighted_mean, found), weights)
                metrics[f"recall@{k}/{name}"] = replace(recall, count=len(found), chance=min(1.0, k / len(pool)))
        return metrics

    def _graded(self, embeds: np.ndarray, model: MedCLIPModel, processor: MedCLIPProcessor) -> dict[str, Metric]:
        """Returns nDCG by labels in all directions, and recall of one's own study among images and among texts."""
        assert self._data.sentences is not None and self._data.occurrences is not None
        table, sentences = self._table.iloc[self._some_images], self._data.sentences.iloc[self._some_texts]
        names = [name for name in observations_of(self._table) if name in sentences.columns]
        if not names or sentences.empty:
            return {}
        images, texts = embeds[self._some_images], embed_texts(model, sentences["text"].tolist(), processor)
        of_images, of_texts = label_matrix(table, names), label_matrix(sentences, names)
        patients, studies = table["patient_id"].to_numpy(), table["study_id"].to_numpy()
        others, itself = patients[:, None] != patients, np.eye(len(table), dtype=bool)
        other_texts = ~np.eye(len(texts), dtype=bool)
        true = claims_true_of(of_texts, of_images)
        drawn = None if self._resamples is None else self._resamples.take(self._some_images)
        kinds = {
            "image_to_image": (images @ images.T, positive_overlap(of_images, of_images), others, drawn),
            "text_to_text": (texts @ texts.T, claim_overlap(of_texts, of_texts), other_texts, None),
            "image_to_text": (images @ texts.T, true.T, None, drawn),
            "text_to_image": (texts @ images.T, true, None, None),
        }
        metrics: dict[str, Metric] = {}
        for name, (near, gains, allowed, weights) in kinds.items():
            for k in self._ks:
                metrics |= _judged(f"ndcg@{k}/{name}", *ndcg(near, gains, k=k, allowed=allowed), weights)
        same, together = studies[:, None] == studies, _said_together(self._data.occurrences, self._some_texts)
        for k in self._ks:
            found = hits(images @ images.T, same, k=k, allowed=~itself)
            metrics |= _judged(f"recall@{k}/image_to_image", *found, drawn)
        for k in self._ks:
            found = hits(texts @ texts.T, together, k=k, allowed=other_texts)
            metrics |= _judged(f"recall@{k}/text_to_text", *found, None)
        return metrics


def _single_class(states: np.ndarray) -> np.ndarray:
    """Returns (N,) the number of the one class that is positive; -1 where none, several, or one is uncertain."""
    if not states.shape[1]:
        return np.full(len(states), -1)
    single = ((states == 1).sum(axis=1) == 1) & ~(states == -1).any(axis=1)
    return np.where(single, (states == 1).argmax(axis=1), -1)


def _judged(name: str, values: np.ndarray, chances: np.ndarray, resamples: Resamples | None) -> dict[str, Metric]:
    """Returns the mean of what is defined with its chance level; nothing where no query is."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return {}
    metric = interval(partial(weighted_mean, values[known]), None if resamples is None else resamples.take(known))
    return {name: replace(metric, count=len(known), chance=float(chances[known].mean()))}


def _some(groups: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Returns at most `most` rows (in order), whole groups as long as they fit."""
    _, member = np.unique(groups.astype(str), return_inverse=True)
    rank = rng.permutation(member.max() + 1 if len(member) else 0)[member]
    return np.sort(np.argsort(rank, kind="stable")[:most])


def _first_study(occurrences: pd.DataFrame, sentences: np.ndarray) -> np.ndarray:
    """Returns the study that says each sentence first."""
    first = occurrences.drop_duplicates("sentence").set_index("sentence")["study_id"]
    return first.reindex(sentences).fillna("").to_numpy()


def _said_together(occurrences: pd.DataFrame, sentences: np.ndarray) -> np.ndarray:
    """Returns (T, T) booleans: whether some report says both sentences."""
    place = pd.Series(np.arange(len(sentences)), index=sentences)
    said = occurrences[occurrences["sentence"].isin(place.index)]
    together = np.zeros((len(sentences), len(sentences)), dtype=bool)
    for rows in said.groupby("study_id")["sentence"]:
        mine = place[rows[1].unique()].to_numpy()
        together[np.ix_(mine, mine)] = True
    return together


def _class_mean(values: np.ndarray, classes: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Returns the mean over classes of the mean value of each, for each row of `weights` (B, M)."""
    means = [
        weighted_mean(values[classes == c], None if weights is None else weights[:, classes == c])
        for c in np.unique(classes)
    ]
    return np.nanmean(np.stack(means), axis=0)


def _reports(sentences: pd.DataFrame, occurrences: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """Returns a row for each study with an image and a report: its first image's row, and its sentences joined."""
    first = images.reset_index().drop_duplicates("study_id").set_index("study_id")["index"]
    said = occurrences[occurrences["study_id"].isin(first.index)]
    said = said.assign(text=sentences["text"].to_numpy()[said["sentence"].to_numpy()])
    reports = said.groupby("study_id", sort=True)["text"].agg(" ".join)
    return pd.DataFrame({"image": first[reports.index].to_numpy(), "text": reports.to_numpy()})
