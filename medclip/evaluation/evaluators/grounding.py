"""Grounding: whether a map of a text is highest where readers drew a box. `detection` asks for the boxes themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from labelers.errors import UserError
from medclip.evaluation import figures
from medclip.evaluation.bootstrap import Metric, bootstrap, interval
from medclip.evaluation.box_metrics import SIDE, box_masks, box_scores, mean_overlap
from medclip.evaluation.boxed_images import boxed_images, half_of, usual_places
from medclip.evaluation.evaluators import EvaluationData, Evaluator, Result
from medclip.evaluation.metrics import weighted_mean
from medclip.inference.classifier import prompt_directions
from medclip.inference.heatmap import overlay, text_maps, to_square
from medclip.inference.prompts import Prompts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from medclip.models import MedCLIPModel, MedCLIPProcessor

#: Share of the image from which on boxes are large.
LARGE = 0.1
#: Images encoded at once.
_BATCH = 64
#: Heatmaps (rows, columns) by place of the image and number of the question.
Maps = dict[tuple[int, int], np.ndarray]


@dataclass(frozen=True)
class _Case:
    """One image and one question about it.

    Attributes:
        image: Its id.
        place: Its row among the boxed images.
        question: Number of the question.
        other: Row of an image of another patient; None where there is none.
        boxes: The boxes that answer the question.
        usual: (S, S) where such boxes lie in other patients.
    """

    image: str
    place: int
    question: int
    other: int | None
    boxes: pd.DataFrame
    usual: np.ndarray

    def scored(self, maps: Maps, *, cosines: bool) -> dict[str, object]:
        """Returns how well the maps agree with the boxes; of maps of cosines the mean overlap, too."""
        inside, seen = box_masks(self.boxes)
        own_map = to_square(maps[self.place, self.question], SIDE)
        own = box_scores(own_map, inside, seen)
        if cosines:
            own["miou"] = mean_overlap(own_map, inside, seen)
        stranger = float("nan")
        if self.other is not None:
            stranger = box_scores(to_square(maps[self.other, self.question], SIDE), inside, seen)["pointing"]
        share = inside.sum() / seen.sum()
        return {
            "image_id": self.image, "observation": self.boxes["observation"].iloc[0], "by_chance": share, **own,
            "of_others": stranger, "usual_place": box_scores(self.usual, inside, seen)["pointing"],
            "large": share >= LARGE, "map": (self.place, self.question),
        }  # fmt: skip


class Grounding(Evaluator):
    """Maps of prompts against boxes: pointing game, contrast-to-noise ratio, overlap.

    For each image and each observation boxed on it, a map of the observation's prompts is brought to 224 x 224 over
    the square image, without its padding; the boxes of the observation count together. A box that has a phrase, as in
    MS-CXR, is asked about by that phrase. Maps are `evidence`, of the positive less the negative prompts, or `patches`:
    cosines of the positive prompts' mean direction with the patches (see `medclip.inference.heatmap.text_maps`).

    - `pointing`: whether the highest value lies in a box (Zhang et al. 2018, excitation backprop, section 5.1);
      `pointing/large` counts boxes of at least a tenth of the image only.
    - `cnr`: |mean inside - mean outside| / sqrt(variance inside + variance outside) (Boecking et al. 2022, BioViL,
      section 4.3). Inside must be the higher to be right, so ours has a sign.
    - `iou`, `dice`: overlap of the boxes with as many of the highest pixels as the boxes have; needs no threshold.
    - `miou`, of `patches`: the overlap above a cosine of .1, .2, .3, .4 and .5, averaged, as BioViL does.

    It can mislead: large boxes are hit by chance, and findings lie where they usually lie. `by_chance` is what a map
    of noise gets in the pointing game, `of_others` what the model's maps of other patients get on these boxes, and
    `usual_place` what the place gets in which most boxes of the other half of the patients meet, without a look at
    the image: only what is above all three is looking at the image.

    Args:
        data: Images, with boxes.
        seed: Seed of the bootstrap, of which other image stands in, and of the halves.
        observations: Observations to report on; by default all that have boxes and prompts.
        prompts: A set by name, a file, or prompts.
        maps: "evidence" or "patches".
        resamples: Number of bootstrap resamples over patients; 0 for none.
        examples: Number of overlays to draw. They show patients' images.
    """

    primary = "grounding/pointing"

    def __init__(
        self,
        data: EvaluationData,
        *,
        seed: int = 0,
        observations: Sequence[str] = (),
        prompts: str | dict[str, Prompts] = "chexpert14",
        maps: str = "evidence",
        resamples: int = 1000,
        examples: int = 0,
    ) -> None:
        boxed = boxed_images(data, prompts, observations, who="grounding")
        self._boxes, self._questions, self._images = boxed.boxes, boxed.questions, boxed.images
        self._data, self._seed, self._kind = data, seed, maps
        self._examples, self._count = examples, resamples

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Encodes each boxed image once, and compares its maps with its boxes."""
        cases = self._cases()
        if not cases:
            raise UserError("grounding: every box covers its whole image, so nothing can be told from where maps are.")
        maps = self._maps(model, processor, cases)
        cosines = self._kind == "patches"
        return self._summed(pd.DataFrame([case.scored(maps, cosines=cosines) for case in cases]), maps)

    def _cases(self) -> list[_Case]:
        """Returns what is to be compared: each image with each question about it that boxes answer."""
        places = {name: i for i, name in enumerate(self._images.index)}
        patients = self._images["patient_id"].to_numpy()
        usual = usual_places(self._boxes, self._images["patient_id"], seed=self._seed)
        half = half_of(self._images["patient_id"], seed=self._seed).to_dict()
        rng = np.random.default_rng(self._seed)
        cases = []
        for (image, question), boxes in self._boxes.groupby(["image_id", "question"], sort=True):
            inside, seen = box_masks(boxes)
            if not inside.any() or inside[seen].all():
                continue
            others = np.flatnonzero(patients != patients[places[image]])
            other = int(others[rng.integers(len(others))]) if len(others) else None
            place = usual[boxes["observation"].iloc[0], half[image]]
            cases.append(_Case(str(image), places[image], int(str(question)), other, boxes, place))
        return cases

    def _maps(self, model: MedCLIPModel, processor: MedCLIPProcessor, cases: Sequence[_Case]) -> Maps:
        """Returns the maps that cases need; there may be more questions than all maps would fit in memory."""
        wanted: dict[int, set[int]] = {}
        for case in cases:
            for place in (case.place, case.other):
                if place is not None:
                    wanted.setdefault(place, set()).add(case.question)
        positive, negative = (
            prompt_directions(model, processor, [getattr(one, side) for one in self._questions]).centres()
            for side in ("positive", "negative")
        )
        keys = self._images["_key"].tolist()
        maps: Maps = {}
        for start in range(0, len(keys), _BATCH):
            places = range(start, min(start + _BATCH, len(keys)))
            asked = sorted(set().union(*(wanted.get(place, set()) for place in places)))
            if asked:
                pixels = processor.batches([keys[place] for place in places], cache=self._data.cache)
                _, found = next(text_maps(model, pixels, positive[asked], negative[asked], kind=self._kind))
                maps |= {
                    (p, one): found[p - start, asked.index(one)].copy() for p in places for one in wanted.get(p, ())
                }
        return maps

    def _summed(self, table: pd.DataFrame, maps: Maps) -> Result:
        patients = self._images.loc[table["image_id"], "patient_id"].to_numpy()
        weights = bootstrap(patients, resamples=self._count, seed=self._seed)
        against = ["by_chance", "of_others", "usual_place"]
        names = {"pointing": "pointing", **{name: f"pointing/{name}" for name in against}}
        names |= {name: name for name in ("cnr", "iou", "dice", "miou") if name in table}
        metrics = {"grounding/boxed": Metric(len(table))}
        large = np.flatnonzero(table["large"])
        for column, name in names.items():
            values = table[column].to_numpy(dtype=float)
            metrics[f"grounding/{name}"] = interval(partial(weighted_mean, values), weights)
            if name.startswith("pointing") and len(large):
                own = None if weights is None else weights.take(large)
                found = interval(partial(weighted_mean, values[large]), own)
                metrics[f"grounding/{name.replace('pointing', 'pointing/large', 1)}"] = found
        headline = tuple(name for name in metrics if name != "grounding/boxed")
        means = table.groupby("observation")[list(names)].mean()
        means.insert(0, "boxed", table["observation"].value_counts())
        metrics |= {f"grounding/pointing/{name}": Metric(float(value)) for name, value in means["pointing"].items()}
        drawn = {"grounding": self._overlays(table, maps)} if self._examples else {}
        return Result(metrics, headline, {"grounding": means.reset_index()}, drawn)

    def _overlays(self, table: pd.DataFrame, maps: Maps) -> Figure:
        """Returns examples spread over the table, whatever their scores."""
        chosen = table.iloc[np.linspace(0, len(table) - 1, min(self._examples, len(table))).round().astype(int)]
        size = self._data.cache.size
        pictures, titles, boxes = [], [], []
        for row in chosen.to_dict("records"):
            place, question = row["map"]
            square = self._data.cache.get([self._images["_key"].iloc[place]])[0]
            pictures.append(overlay(square, to_square(maps[place, question], size)))
            titles.append(f"{row['observation']}: {'hit' if row['pointing'] else 'missed'}, cnr {row['cnr']:.2f}")
            same = (self._boxes["image_id"] == row["image_id"]) & (self._boxes["question"] == question)
            boxes.append(self._boxes.loc[same, ["left", "top", "width", "height"]].to_numpy() * size)
        return figures.pictures(pictures, titles, boxes=boxes)
