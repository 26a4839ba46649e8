"""Detection: boxes of observations in all images, also where there are none, against the boxes of readers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from labelers.errors import UserError
from medclip.data.tables import label_matrix
from medclip.evaluation.bootstrap import Metric, Resamples, Sampled, bootstrap, mean_sampled, sample
from medclip.evaluation.box_metrics import Matched, average_precision, matches
from medclip.evaluation.boxed_images import PHRASES, boxed_images, half_of, usual_places
from medclip.evaluation.evaluators import EvaluationData, Evaluator, Result
from medclip.inference.classifier import ZeroShotClassifier
from medclip.inference.detection import Boxes, overlap, propose, suppress
from medclip.inference.heatmap import text_maps, to_square
from medclip.inference.prompts import Prompts, load_prompts

if TYPE_CHECKING:
    from medclip.models import MedCLIPModel, MedCLIPProcessor

#: Overlaps with a reader's box from which on a found box is right, by the name of the metric.
LEAST = {"ap25": 0.25, "ap50": 0.5}
#: Side of the maps that boxes are drawn around, and the images encoded at once.
_SIDE, _BATCH = 112, 64


class Detection(Evaluator):
    """Average precision of boxes that are drawn around what a map of prompts holds high.

    Boxes come from the model's own maps, see `medclip.inference.detection`; the score of a box is the probability of
    the observation in the image times the mean of the map in it, as a share of the map's highest value. An image counts
    for an observation where readers boxed it, or where its label denies it: a positive image without a box has one
    that nobody drew. `ap25` and `ap50` need an overlap (IoU) of .25 and .5, and are means over observations.

    It can mislead: most of the average precision can come from telling which images have the finding, and a usual
    place does for the rest. `usual_place` has the model's scores of images, and boxes where those of the other half of
    the patients usually lie; `by_chance` has those boxes in random order, so it never looks at an image. Where the map
    alone points is `grounding`.

    Args:
        data: Images, with boxes.
        seed: Seed of the bootstrap, the halves and the random order.
        observations: Observations to report on; by default all that have boxes and prompts.
        prompts: A set by name, a file, or prompts.
        maps: "evidence" or "patches", see `grounding`.
        resamples: Number of bootstrap resamples over patients; 0 for none.
    """

    primary = "detection/ap25"

    def __init__(
        self,
        data: EvaluationData,
        *,
        seed: int = 0,
        observations: Sequence[str] = (),
        prompts: str | dict[str, Prompts] = "chexpert14",
        maps: str = "evidence",
        resamples: int = 1000,
    ) -> None:
        loaded = prompts if isinstance(prompts, dict) else load_prompts(prompts)
        boxed = boxed_images(data, loaded, observations, who="detection")
        named = boxed.boxes["observation"].isin(set(loaded)) & (boxed.boxes["observation"] != PHRASES)
        if not named.any():
            raise UserError(
                "detection needs boxes of observations; these have phrases only. Use the evaluator grounding."
            )
        self._boxes = boxed.boxes[named]
        self._names = sorted(self._boxes["observation"].unique())
        self._prompts = {name: loaded[name] for name in self._names}
        self._images = data.rows().drop_duplicates("image_id").reset_index(drop=True)
        self._data, self._seed, self._kind, self._count = data, seed, maps, resamples

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Finds boxes in every image, and compares them with those of readers."""
        counted = self._counted()
        usual = self._usual()
        rng = np.random.default_rng(self._seed)
        kinds = ("", "/usual_place", "/by_chance")
        found: dict[tuple[str, str], list[tuple[int, Boxes]]] = {(k, name): [] for k in kinds for name in self._names}
        for row, chances, maps in self._looked_at(model, processor):
            for i, name in enumerate(self._names):
                if counted[row, i]:
                    own, place = suppress(propose(maps[i])), usual[name][row]
                    found["", name].append((row, own.times(chances[i])))
                    found["/usual_place", name].append((row, place.times(chances[i])))
                    found["/by_chance", name].append((row, place.times(rng.random())))
        return self._summed(found, counted)

    def _counted(self) -> np.ndarray:
        """Returns (R, O) booleans: which images count for which observation."""
        known = [name for name in self._names if name in self._images.columns]
        states = pd.DataFrame(label_matrix(self._images, known), columns=known).reindex(columns=self._names)
        boxed = np.column_stack([self._images["image_id"].isin(self._of(name)["image_id"]) for name in self._names])
        return boxed | (states == 0).to_numpy()

    def _of(self, name: str) -> pd.DataFrame:
        return self._boxes[self._boxes["observation"] == name]

    def _usual(self) -> dict[str, list[Boxes]]:
        """Returns the boxes of the usual place for each observation and image."""
        patients = self._images.set_index("image_id")["patient_id"]
        half = half_of(patients, seed=self._seed).tolist()
        places = usual_places(self._boxes, patients, seed=self._seed)
        boxes = {key: suppress(propose(to_square(place, _SIDE))) for key, place in places.items()}
        return {name: [boxes[name, mine] for mine in half] for name in self._names}

    def _looked_at(
        self, model: MedCLIPModel, processor: MedCLIPProcessor
    ) -> Iterator[tuple[int, np.ndarray, list[np.ndarray]]]:
        """Yields of each image its row, its chances (O,) and its maps (S, S), which are 0 where the image is empty."""
        classifier = ZeroShotClassifier(model, processor, self._prompts)
        positive, negative = classifier.positive.centres(), classifier.negative.centres()
        keys = self._images["_key"].tolist()
        pixels = processor.batches(keys, cache=self._data.cache, batch_size=_BATCH)
        row = 0
        for embeds, maps in text_maps(model, pixels, positive, negative, kind=self._kind):
            chances = classifier.probabilities(embeds)
            squares = self._data.cache.get(keys[row : row + len(maps)])
            for own, chance, square in zip(maps, chances, squares, strict=True):
                filled = to_square((square > 0).astype(np.float32), _SIDE) > 0
                seen = np.outer(filled.any(axis=1), filled.any(axis=0))
                yield row, chance, [np.maximum(to_square(one, _SIDE), 0) * seen for one in own]
                row += 1

    def _summed(self, found: dict[tuple[str, str], list[tuple[int, Boxes]]], counted: np.ndarray) -> Result:
        weights = bootstrap(self._images["patient_id"].to_numpy(), resamples=self._count, seed=self._seed)
        sampled: dict[str, list[Sampled]] = {}
        table = pd.DataFrame({"observation": self._names, "images": counted.sum(axis=0)})
        table["boxes"] = [len(self._of(name)) for name in self._names]
        for metric, least in LEAST.items():
            for (kind, name), boxes in found.items():
                value = self._precision(name, boxes, least, weights)
                sampled.setdefault(metric + kind, []).append(value)
                table.loc[table["observation"] == name, metric + kind] = value.value
        metrics = {"detection/images": Metric(int(counted.any(axis=1).sum()))}
        metrics |= {f"detection/{name}": mean_sampled(each).metric() for name, each in sampled.items()}
        headline = tuple(metrics)[1:]
        for metric in LEAST:
            of_each = zip(self._names, sampled[metric], strict=True)
            metrics |= {f"detection/{metric}/{name}": value.metric() for name, value in of_each}
        return Result(metrics, headline, {"detection": table})

    def _precision(
        self, name: str, found: Sequence[tuple[int, Boxes]], least: float, weights: Resamples | None
    ) -> Sampled:
        """Returns the average precision of the boxes found for one observation."""
        rows = np.array([row for row, _ in found])
        truths = dict(iter(self._of(name).groupby("image_id")))
        true = [_corners(truths.get(self._images["image_id"].iloc[row])) for row in rows]
        correct = [matches(overlap(own.corners, of), least) for (_, own), of in zip(found, true, strict=True)]
        matched = Matched(
            np.concatenate([own.scores for _, own in found]), np.concatenate(correct),
            np.repeat(np.arange(len(rows)), [len(own) for _, own in found]), np.array([len(of) for of in true]),
        )  # fmt: skip
        return sample(partial(average_precision, matched), None if weights is None else weights.take(rows))


def _corners(boxes: pd.DataFrame | None) -> np.ndarray:
    """Returns (N, 4) left, top, right, bottom of the boxes of one image, as shares of the side of its square."""
    if boxes is None:
        return np.empty((0, 4))
    places = boxes[["left", "top", "width", "height"]].to_numpy(dtype=float)
    return np.column_stack([places[:, :2], places[:, :2] + places[:, 2:]])
