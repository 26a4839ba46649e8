"""Zero-shot classification: an image belongs to the prompts it is nearest to."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from labelers.observations import CHEXPERT5
from medclip.data.tables import label_matrix
from medclip.evaluation import figures
from medclip.evaluation.bootstrap import Metric, bootstrap
from medclip.evaluation.denial import deniable, denial, in_latin_letters, terse_prompts
from medclip.evaluation.evaluators import EvaluationData, Evaluator, Result
from medclip.evaluation.films import Answers
from medclip.evaluation.groups import COLUMNS, groups_by
from medclip.evaluation.metrics import multiclass, multilabel
from medclip.evaluation.shift import PLACES, Shift, shift_between
from medclip.evaluation.unseen import SEEN, UNSEEN
from medclip.inference.calibration import best_thresholds
from medclip.inference.embed import embed_images, embed_texts
from medclip.inference.prompts import Prompts, select_prompts
from medclip.inference.scoring import Directions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from medclip.models import MedCLIPModel, MedCLIPProcessor

logger = logging.getLogger(__name__)


class ZeroShot(Evaluator):
    """Multilabel scores with positive and negative prompts, and multiclass accuracy with positive ones.

    Multilabel: the score of an observation is the similarity to its positive prompts minus that to its negative
    ones; rows whose state is neither 1 nor 0 do not count for it. AUROC and average precision need no threshold; F1
    takes the one that is best on the validation split. Multiclass, as in CheXpert-5x200: rows with exactly one of the
    classes positive, the nearest class wins.

    Claims and denials apart (`denial/*`): AUROC by the positive prompts alone (pos), by the negative ones alone turned
    round (neg) and by their difference (pnc), in the wording of the prompts (report) and as "X" and "no X" (terse). A
    model that does not understand "no" ranks by denials below 0.5. Means are over the same observations in all six;
    No Finding, which is a denial itself, is left out.

    Observations that the model was not trained on (`unseen`): `auroc/seen`, `auroc/unseen` and their harmonic mean
    stand before `auroc/mean`, which remains the mean over all that is asked about. Unseen means that no label of it
    was learned from; the texts may have named it.

    It can mislead where disease goes with something else that shows (a portable film, a hospital's border): read it
    beside the untrained model, and within one view and source (the groups). Means leave out observations with fewer
    than `min_count` positives or negatives; each is listed with its counts. Intervals are about patients, deviations
    over draws about wordings: neither holds the other.

    Args:
        data: Images and their states.
        seed: Seed of the bootstrap over patients and of the draws.
        observations: Observations to ask about; by default all that have states and prompts.
        classes: Classes of the multiclass score.
        prompts: A set by name, a file, or prompts.
        ensemble: What several prompts of a side come to: "embeddings", their mean direction; "logits", the mean of
            their cosines; or "max", the largest cosine.
        standardise: Whether cosines of each class lose their mean and deviation over all images before classes are
            compared, as GLoRIA does. An image's class then depends on the other images.
        draws: Number of times that prompts are drawn anew, for the deviation over wordings; 0 for none.
        per_draw: Prompts of a side in a draw; 0 for half of them.
        groups: Columns whose values are looked at apart; ages are taken in bands.
        resamples: Number of bootstrap resamples; 0 for no intervals, F1, groups and figures.
        min_count: Positives and negatives an observation needs to count in the means.
        unseen: Observations that the model was not trained on; others are seen.
    """

    primary = "auroc/mean"
    settings: ClassVar[Mapping[str, str]] = {"draws": "prompt_draws", "per_draw": "prompts_per_draw"}

    def __init__(
        self,
        data: EvaluationData,
        *,
        seed: int = 0,
        observations: Sequence[str] = (),
        classes: Sequence[str] = (),
        prompts: str | dict[str, Prompts] = "chexpert14",
        ensemble: str = "embeddings",
        standardise: bool = False,
        draws: int = 0,
        per_draw: int = 0,
        groups: Sequence[str] = COLUMNS,
        resamples: int = 1000,
        min_count: int = 5,
        unseen: Sequence[str] = (),
    ) -> None:
        self._prompts = data.questions(prompts, observations, who="zero-shot")
        self._unseen = [name for name in unseen if name in self._prompts]
        if silent := [name for name in data.observations(observations) if name not in self._prompts]:
            logger.warning("Not asked about, for want of prompts: %s. Add a set: --prompts", ", ".join(silent))
        self._data, self._table, self._seed, self._min_count = data, data.rows(), seed, min_count
        self._ensemble, self._standardise, self._draws, self._per_draw = ensemble, standardise, draws, per_draw
        self._names, self._groups = list(self._prompts), tuple(groups)
        self._states = label_matrix(self._table, self._names)
        self._classes = [name for name in (classes or CHEXPERT5) if name in self._prompts]
        patients = self._table["patient_id"].to_numpy()
        self._resamples = bootstrap(patients, resamples=resamples, seed=seed)

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Encodes every image and every prompt once, and scores them."""
        vectors = self._encode_prompts(model, processor)
        images = embed_images(
            model, self._table["_key"].tolist(), processor, cache=self._data.features or self._data.cache
        )
        positive, scores = self._score(images, self._prompts, vectors)
        thresholds = {} if self._resamples is None else self._thresholds(model, processor, vectors)
        metrics, table = multilabel(
            self._states, scores, self._names, resamples=self._resamples, min_count=self._min_count,
            thresholds=thresholds, unseen=self._unseen,
        )  # fmt: skip
        sides = [f"{kind}/{side}" for kind in ("auroc", "ap") for side in (SEEN, UNSEEN, "harmonic")]
        headline = [name for name in sides if name in metrics]
        headline += ["auroc/mean", "ap/mean", "f1/mean", *(f"auroc/{name}" for name in self._names)]
        tables = {"zero_shot": table}
        if len(self._classes) > 1:
            more, tables["classes"] = multiclass(
                self._states, self._compared(positive), self._names, self._classes, resamples=self._resamples
            )
            metrics |= more
            headline = ["accuracy", "balanced_accuracy", *headline]
        more, denied = self._denial(images, vectors)
        if len(denied):
            metrics, tables["denial"] = metrics | more, denied
            headline += [name for name in more if name.endswith("/mean")]
        if self._draws:
            drawn = self._draw(images, vectors)
            tables["prompt_draws"] = drawn
            for name in drawn.columns.drop("draw"):
                metrics[f"draws/{name}"] = Metric(
                    drawn[name].mean(), sd=drawn[name].std(ddof=1), count=len(drawn), chance=metrics[name].chance
                )
                headline.append(f"draws/{name}")
        answers = partial(self._answers, images, scores, vectors, thresholds)
        if self._resamples is None:
            return Result(metrics, tuple(headline), tables, answers=answers)
        groups, more = self._by_group(scores, self._compared(positive))
        if len(groups):
            tables["groups"] = groups
        shift = self._shift(scores)
        if len(shift.table):
            tables["places"] = shift.table
        headline += [name for name in shift.metrics if name.startswith("auroc/difference/")]
        drawings = self._figures(scores, positive, tables)
        return Result(metrics | more | shift.metrics, tuple(headline), tables, drawings, answers, shift.sampled)

    def _shift(self, scores: np.ndarray) -> Shift:
        """Returns how far it is from one hospital, and from one test set, to the next."""
        found = [Shift({}, {}, pd.DataFrame())]
        for column in (name for name in PLACES if name in self._groups):
            groups = [group for group in groups_by(self._table, column) if group.large_enough]
            if len(groups) > 1:
                found.append(
                    shift_between(self._states, scores, groups, resamples=self._resamples, min_count=self._min_count)
                )
        return Shift(
            {name: one for shift in found for name, one in shift.sampled.items()},
            {name: one for shift in found for name, one in shift.metrics.items()},
            pd.concat([shift.table for shift in found], ignore_index=True),
        )

    def _answers(
        self, images: np.ndarray, scores: np.ndarray, vectors: Mapping[str, np.ndarray], thresholds: dict[str, float]
    ) -> Answers:
        """Returns the answers for single films; present is what is nearer to it than the threshold, or than denials."""
        claims, denials = (
            Directions.of(
                [getattr(p, side) for p in self._prompts.values()], vectors, dim=images.shape[1],
                ensemble=self._ensemble,
            )
            for side in ("positive", "negative")
        )  # fmt: skip
        return Answers.by_threshold(
            self._table["_key"].tolist(), self._states, scores, self._names, thresholds=thresholds,
            directions=claims.centres() - denials.centres(),
        )  # fmt: skip

    def _encode_prompts(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> dict[str, np.ndarray]:
        terse = terse_prompts(deniable(self._prompts))
        entries = [*self._prompts.values(), *terse.values()]
        sides = (side for entry in entries for side in (entry.positive, entry.negative))
        texts = list(dict.fromkeys(text for side in sides for text in side))
        return dict(zip(texts, embed_texts(model, texts, processor), strict=True))

    def _score(
        self, images: np.ndarray, prompts: Mapping[str, Prompts], vectors: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns (I, O) similarities to positive prompts, and those minus the ones to negative prompts."""
        positive, negative = self._sides(images, prompts, vectors)
        return positive, positive - negative

    def _sides(
        self, images: np.ndarray, prompts: Mapping[str, Prompts], vectors: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns (I, O) similarities to positive and to negative prompts."""
        positive, negative = (
            Directions.of(
                [getattr(p, side) for p in prompts.values()], vectors, dim=images.shape[1], ensemble=self._ensemble
            ).similarity(images)
            for side in ("positive", "negative")
        )
        return positive, negative

    def _denial(self, images: np.ndarray, vectors: Mapping[str, np.ndarray]) -> tuple[dict[str, Metric], pd.DataFrame]:
        """Returns AUROC by claims, by denials and by both, in two wordings; see `denial`."""
        names = deniable(self._prompts)
        wordings = {"report": select_prompts(self._prompts, names)}
        if in_latin_letters(self._prompts):  # the terse wording is English
            wordings["terse"] = terse_prompts(names)
        similarities = {wording: self._sides(images, prompts, vectors) for wording, prompts in wordings.items()}
        states = self._states[:, [self._names.index(name) for name in names]]
        if not names:
            return {}, pd.DataFrame()
        return denial(states, similarities, names, resamples=self._resamples, min_count=self._min_count)

    def _compared(self, positive: np.ndarray) -> np.ndarray:
        return standardised(positive) if self._standardise else positive

    def _thresholds(
        self, model: MedCLIPModel, processor: MedCLIPProcessor, vectors: Mapping[str, np.ndarray]
    ) -> dict[str, float]:
        """Returns the score with the best F1 on the validation split, where it has enough of both kinds."""
        if self._data.split == "valid":
            return {}
        rows = self._data.other("valid")
        images = embed_images(model, rows["_key"].tolist(), processor, cache=self._data.cache)
        states, (_, scores) = self._data.learning_labels(rows, self._names), self._score(images, self._prompts, vectors)
        return best_thresholds(states, scores, self._names, least=self._min_count)

    def _draw(self, images: np.ndarray, vectors: Mapping[str, np.ndarray]) -> pd.DataFrame:
        """Returns the main metrics of each draw of prompts; what is drawn for one observation leaves others alone."""
        rows = []
        for draw in range(self._draws):
            chosen = {
                name: Prompts(self._some(entry.positive, draw, name), self._some(entry.negative, draw, name))
                for name, entry in self._prompts.items()
            }
            positive, scores = self._score(images, chosen, vectors)
            found, _ = multilabel(self._states, scores, self._names, resamples=None, min_count=self._min_count)
            if len(self._classes) > 1:
                compared = self._compared(positive)
                found |= multiclass(self._states, compared, self._names, self._classes, resamples=None)[0]
            wanted: list[str] = [name for name in ("accuracy", "auroc/mean", "ap/mean") if name in found]
            rows.append({"draw": float(draw), **{name: found[name].value for name in wanted}})
        return pd.DataFrame(rows)

    def _some(self, texts: tuple[str, ...], draw: int, name: str) -> tuple[str, ...]:
        wanted = self._per_draw or -(-len(texts) // 2)
        if wanted >= len(texts):
            return texts
        rng = np.random.default_rng([self._seed, draw, zlib.crc32(name.encode())])
        return tuple(texts[i] for i in sorted(rng.permutation(len(texts))[:wanted]))

    def _by_group(self, scores: np.ndarray, positive: np.ndarray) -> tuple[pd.DataFrame, dict[str, Metric]]:
        """Returns mean AUROC and accuracy of the images of each group, as a table and as metrics."""
        rows, metrics = [], {}
        for column in self._groups:
            for group in groups_by(self._table, column):
                if not group.large_enough:
                    continue
                value, among = group.value, group.rows
                drawn = None if self._resamples is None else self._resamples.take(among)
                states = self._states[among]
                found, _ = multilabel(states, scores[among], self._names, resamples=drawn, min_count=self._min_count)
                if len(self._classes) > 1:
                    found |= multiclass(states, positive[among], self._names, self._classes, resamples=drawn)[0]
                row: dict[str, object] = {"group": column, "value": value, "images": int(among.sum())}
                row |= {"patients": group.patients, "positives": int((states == 1).sum()), "chance": 0.5}
                for name in ("auroc/mean", "accuracy"):
                    metric = replace(found.get(name, Metric(float("nan"))), count=None)
                    row |= {name: metric.value, f"{name}/low": metric.low, f"{name}/high": metric.high}
                    if name in found:
                        metrics[f"{name}/{column}={value}"] = metric
                rows.append(row)
        return pd.DataFrame(rows), metrics

    def _figures(
        self, scores: np.ndarray, positive: np.ndarray, tables: Mapping[str, pd.DataFrame]
    ) -> dict[str, Figure]:
        curves = {}
        for j, name in enumerate(self._names):
            known = np.isin(self._states[:, j], (0.0, 1.0))
            truth = self._states[known, j] == 1
            if min(truth.sum(), (~truth).sum()) >= self._min_count:
                curves[name] = (truth, scores[known, j])
        drawn = {"prompts": figures.similarity(self._states, positive, self._names)}
        if curves:
            drawn |= {"roc": figures.roc(curves), "precision_recall": figures.precision_recall(curves)}
        if "classes" in tables:
            drawn["confusion"] = figures.confusion(tables["classes"])
        return drawn


def standardised(scores: np.ndarray) -> np.ndarray:
    """Returns scores (I, O) with mean 0 and deviation 1 over the images, as GLoRIA compares observations."""
    return (scores - scores.mean(axis=0)) / np.maximum(scores.std(axis=0), 1e-12)
