"""Severity: whether a score rises with what readers say of how severe a disease is."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from labelers.errors import UserError
from medclip.evaluation import figures
from medclip.evaluation.bootstrap import Array, Metric, Resamples, bootstrap, interval
from medclip.evaluation.evaluators import EvaluationData, Evaluator, Result
from medclip.evaluation.films import Answers
from medclip.evaluation.groups import LEAST_PATIENTS, groups_by
from medclip.evaluation.metrics import spearman
from medclip.inference.classifier import ZeroShotClassifier
from medclip.inference.embed import embed_images
from medclip.inference.prompts import Prompts, load_prompts, select_prompts

if TYPE_CHECKING:
    from medclip.models import MedCLIPModel, MedCLIPProcessor

_THUMBNAIL = 24  # pixels of a side
_FOLDS = 5
_NEAR = 0.25  # by how much of all films the two orders may differ about one that is called right
_PENALTY = 100.0


class Severity(Evaluator):
    """Spearman correlation of a zero-shot score with readers' severity scores, such as Brixia (0 to 18).

    `severity/spearman` is about the mean of the readers, `severity/spearman/READER` about each. The score is that of
    one observation, by default Lung Opacity, which nobody graded: that it rises with severity is not taught. Beside it
    stand what it is by: `severity/readers`, the readers between themselves; `severity/pixels`, a ridge regression on
    24-pixel thumbnails, learned on these very scores, on patients left out; `severity/within_view`, the mean over
    views, weighted by their images, since the very ill are filmed lying.

    It can mislead: a rank correlation says nothing of calibration, and severity goes with age, tubes and the machine.
    With a hundred films the interval is about .15 wide either way.

    Args:
        data: Images with severity scores of readers.
        seed: Seed of the bootstrap and of the folds.
        observation: Whose score is compared.
        prompts: A set by name, a file, or prompts.
        ensemble: What several prompts come to, see `medclip.inference.scoring`.
        resamples: Number of bootstrap resamples over patients; 0 for none.
    """

    primary = "severity/spearman"
    needs_labels = False
    settings: ClassVar[Mapping[str, str]] = {"observation": "severity_observation"}

    def __init__(
        self,
        data: EvaluationData,
        *,
        seed: int = 0,
        observation: str = "Lung Opacity",
        prompts: str | dict[str, Prompts] = "chexpert14",
        ensemble: str = "embeddings",
        resamples: int = 1000,
    ) -> None:
        if data.severity is None:
            raise UserError("severity needs readers' scores. Name them with --severity FILE and --severity-readers.")
        loaded = prompts if isinstance(prompts, dict) else load_prompts(prompts)
        self._prompts = select_prompts(loaded, [observation])
        if not self._prompts:
            raise UserError(f"severity: there are no prompts for {observation}; known: {', '.join(loaded)}.")
        self._readers = [name for name in data.severity.columns if name != "image_id"]
        self._table = data.rows().merge(data.severity, on="image_id", how="inner")
        self._table = self._table[self._table[self._readers].notna().any(axis=1)].reset_index(drop=True)
        if len(self._table) < LEAST_PATIENTS:
            raise UserError(
                f"severity: {len(self._table)} of the {len(data.severity)} scored images are in the {data.split} "
                f"split; {LEAST_PATIENTS} are needed. Report on another --split, or put the scored images into it."
            )
        self._data, self._seed, self._observation, self._ensemble = data, seed, observation, ensemble
        self._truth = self._table[self._readers].mean(axis=1).to_numpy(dtype=np.float64)
        self._patients = self._table["patient_id"].to_numpy()
        self._resamples = bootstrap(self._patients, resamples=resamples, seed=seed)

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Encodes each scored image once."""
        classifier = ZeroShotClassifier(model, processor, self._prompts, ensemble=self._ensemble)
        embeds = embed_images(model, self._table["_key"].tolist(), processor, cache=self._data.cache)
        scores = classifier.scores(embeds)[:, 0].astype(np.float64)
        metrics = {"severity/spearman": self._correlation(self._truth, scores)}
        for reader in self._readers:
            given = self._table[reader].to_numpy(dtype=np.float64)
            metrics[f"severity/spearman/{reader}"] = self._correlation(given, scores)
        metrics["severity/within_view"] = self._within_view(scores)
        metrics["severity/readers"] = self._between_readers()
        if len(set(self._patients)) > 1:  # of one patient alone there is nobody to learn from
            metrics["severity/pixels"] = self._correlation(self._truth, self._from_thumbnails())
        known = {name: metric for name, metric in metrics.items() if np.isfinite(metric.value)}
        table = pd.DataFrame(
            [(name.removeprefix("severity/"), m.count, m.value, m.low, m.high, m.chance) for name, m in known.items()],
            columns=["what", "n", "spearman", "spearman_low", "spearman_high", "chance"],
        )
        drawn = figures.scatter(self._truth, scores, "mean of the readers", f"score of {self._observation}")
        answers = partial(self._answers, scores, classifier.positive.centres())
        return Result(known, tables={"severity": table}, figures={"severity": drawn}, answers=answers)

    def _answers(self, scores: np.ndarray, directions: np.ndarray) -> Answers:
        """Returns the place of each film by the score and by the readers; right is within a quarter of all films."""
        read, given = (pd.Series(values).rank(pct=True).to_numpy() for values in (self._truth, scores))
        apart = np.abs(read - given)
        said = [
            f"readers {truth:.1f}, above {by:.0%} of the films\nscore {score:.3f}, above {own:.0%} of them"
            for truth, by, score, own in zip(self._truth, read, scores, given, strict=True)
        ]
        right = apart <= _NEAR
        table = pd.DataFrame({
            "key": self._table["_key"], "about": self._observation, "said": said, "right": right,
            "certainty": np.where(right, _NEAR - apart, apart), "question": 0,
        })  # fmt: skip
        return Answers(table, directions)

    def _correlation(self, truth: np.ndarray, scores: np.ndarray, rows: np.ndarray | None = None) -> Metric:
        """Returns the rank correlation over rows (all by default) whose truth is known."""
        among = np.isfinite(truth) if rows is None else np.isfinite(truth) & rows
        drawn = None if self._resamples is None else self._resamples.take(among)
        return replace(_spearman(truth[among], scores[among], drawn), count=int(among.sum()), chance=0.0)

    def _within_view(self, scores: np.ndarray) -> Metric:
        """Returns the mean over views of at least ten patients, weighted by their images; undefined for one view."""
        views = [group for group in groups_by(self._table, "view") if group.large_enough]
        if not views:
            return Metric(float("nan"))
        places = [np.flatnonzero(group.rows & np.isfinite(self._truth)) for group in views]
        statistic = partial(_mean_spearman, self._truth, scores, places)
        return replace(interval(statistic, self._resamples), count=sum(map(len, places)), chance=0.0)

    def _between_readers(self) -> Metric:
        """Returns the correlation of the readers with each other, as the mean over pairs; undefined for one reader."""
        columns = [self._table[name].to_numpy(dtype=np.float64) for name in self._readers]
        pairs = [self._correlation(*pair, np.isfinite(pair[1])) for pair in itertools.combinations(columns, 2)]
        if len(pairs) == 1:
            return pairs[0]
        return (
            Metric(float(np.mean([one.value for one in pairs])), count=len(self._table), chance=0.0)
            if pairs
            else Metric(float("nan"))
        )

    def _from_thumbnails(self) -> np.ndarray:
        """Returns severity by ridge regression on thumbnails, each patient's from the other folds."""
        pixels = self._data.cache.get(self._table["_key"].tolist())
        thumbnails = np.stack([_thumbnail(one) for one in pixels]).reshape(len(pixels), -1)
        names, member = np.unique(self._patients.astype(str), return_inverse=True)
        fold = np.random.default_rng(self._seed).permutation(len(names))[member] % _FOLDS
        found = np.zeros(len(pixels))
        for part in range(_FOLDS):
            found[fold == part] = _ridge(thumbnails[fold != part], self._truth[fold != part], thumbnails[fold == part])
        return found


def _spearman(truth: np.ndarray, scores: np.ndarray, resamples: Resamples | None) -> Metric:
    return interval(partial(spearman, truth, scores), resamples)


def _mean_spearman(
    truth: np.ndarray, scores: np.ndarray, places: Sequence[np.ndarray], weights: np.ndarray | None
) -> Array:
    """Returns the mean over groups of rows, weighted by their images, for each row of `weights` (B, N)."""
    parts = [spearman(truth[rows], scores[rows], None if weights is None else weights[:, rows]) for rows in places]
    return np.average(np.stack(parts), axis=0, weights=[len(rows) for rows in places])


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """Returns a grey image as 24 x 24 numbers without their mean and deviation."""
    from PIL import Image

    small = np.asarray(Image.fromarray(image).resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX), dtype=np.float64)
    return (small - small.mean()) / max(float(small.std()), 1e-6)


def _ridge(x: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Returns what a ridge regression of `y` on `x` says of `asked`."""
    mean, middle = x.mean(axis=0), float(y.mean())
    gram = (x - mean) @ (x - mean).T + _PENALTY * np.eye(len(x))
    return (asked - mean) @ (x - mean).T @ np.linalg.solve(gram, y - middle) + middle
