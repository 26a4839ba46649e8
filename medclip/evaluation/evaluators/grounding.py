"""Grounding: whether the patches most like a text lie where readers drew a box."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from labelers.errors import UserError
from medclip.evaluation import figures
from medclip.evaluation.bootstrap import Metric, bootstrap, interval
from medclip.evaluation.evaluators import EvaluationData, Evaluator, Result
from medclip.evaluation.metrics import weighted_mean
from medclip.inference.classifier import prompt_directions
from medclip.inference.embed import encode_batches
from medclip.inference.heatmap import heatmaps, overlay, to_square
from medclip.inference.prompts import Prompts, load_prompts
from medclip.utils.plugins import load_plugin, plugin_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from medclip.models import MedCLIPModel, MedCLIPProcessor

_SIDE = 224
#: Heatmaps (rows, columns) by place of the image and number of the question.
Maps = dict[tuple[int, int], np.ndarray]
#: What boxes with a phrase and no observation are summed up as: phrases are parts of reports.
_PHRASES = "phrases"


@dataclass(frozen=True)
class _Case:
    """One image and one question about it.

    Attributes:
        image: Its id.
        place: Its row among the boxed images.
        question: Number of the question.
        other: Row of an image of another patient; None where there is none.
        boxes: The boxes that answer the question.
    """

    image: str
    place: int
    question: int
    other: int | None
    boxes: pd.DataFrame

    def scored(self, maps: Maps) -> dict[str, object]:
        """Returns how well the maps agree with the boxes."""
        inside, seen = _masks(self.boxes)
        own = box_scores(to_square(maps[self.place, self.question], _SIDE), inside, seen)
        stranger = float("nan")
        if self.other is not None:
            stranger = box_scores(to_square(maps[self.other, self.question], _SIDE), inside, seen)["pointing"]
        return {
            "image_id": self.image, "observation": self.boxes["observation"].iloc[0],
            "by_chance": inside.sum() / seen.sum(), **own, "of_others": stranger, "map": (self.place, self.question),
        }  # fmt: skip


class Grounding(Evaluator):
    """Similarity maps of prompts against boxes: pointing game, contrast-to-noise ratio, overlap.

    For each image and each observation boxed on it, the cosines of the positive prompts' mean direction with the
    patches are brought to 224 x 224 over the square image, without its padding; the boxes of the observation count
    together. A box that has a phrase, as in MS-CXR, is asked about by that phrase.

    - `pointing`: whether the highest value lies in a box (Zhang et al. 2018, excitation backprop, section 5.1).
    - `cnr`: |mean inside - mean outside| / sqrt(variance inside + variance outside) (Boecking et al. 2022, BioViL,
      section 4.3). Inside must be the higher to be right, so ours has a sign.
    - `iou`: overlap of the boxes with as many of the highest pixels as the boxes have; needs no threshold.
    - `miou`: the overlap above a cosine of .1, .2, .3, .4 and .5, averaged, as BioViL does.

    It can mislead: large boxes are hit by chance, and findings lie where they usually lie. `by_chance` is what a map
    of noise gets in the pointing game, `of_others` what the model's maps of other patients get on these boxes: only
    what is above both is looking at the image.

    Args:
        data: Images, with boxes.
        seed: Seed of the bootstrap, and of which other image stands in.
        observations: Observations to report on; by default all that have boxes and prompts.
        prompts: A set by name, a file, or prompts.
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
        resamples: int = 1000,
        examples: int = 0,
    ) -> None:
        if data.boxes is None:
            raise UserError(_no_boxes())
        loaded = prompts if isinstance(prompts, dict) else load_prompts(prompts)
        images = data.rows().drop_duplicates("image_id").set_index("image_id")
        self._boxes, self._questions = _with_questions(data.boxes, loaded, observations or list(loaded))
        self._boxes = self._boxes[self._boxes["image_id"].isin(images.index)]
        if self._boxes.empty:
            raise UserError(
                f"No image of the {data.split} split has a box with a phrase, or of an observation with prompts; "
                f"boxes are of {', '.join(sorted(set(data.boxes['observation']) - {''})) or 'no observation'}."
            )
        self._images = images.loc[sorted(self._boxes["image_id"].unique())]
        self._data, self._seed, self._examples, self._count = data, seed, examples, resamples

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Encodes each boxed image once, and compares its maps with its boxes."""
        cases = self._cases()
        if not cases:
            raise UserError("grounding: every box covers its whole image, so nothing can be told from where maps are.")
        maps = self._maps(model, processor, cases)
        return self._summed(pd.DataFrame([case.scored(maps) for case in cases]), maps)

    def _cases(self) -> list[_Case]:
        """Returns what is to be compared: each image with each question about it that boxes answer."""
        places = {name: i for i, name in enumerate(self._images.index)}
        patients = self._images["patient_id"].to_numpy()
        rng = np.random.default_rng(self._seed)
        cases = []
        for (image, question), boxes in self._boxes.groupby(["image_id", "question"], sort=True):
            inside, seen = _masks(boxes)
            if not inside.any() or inside[seen].all():
                continue
            others = np.flatnonzero(patients != patients[places[image]])
            other = int(others[rng.integers(len(others))]) if len(others) else None
            cases.append(_Case(str(image), places[image], int(str(question)), other, boxes))
        return cases

    def _maps(self, model: MedCLIPModel, processor: MedCLIPProcessor, cases: Sequence[_Case]) -> Maps:
        """Returns the heatmaps that cases need; there may be more questions than all maps would fit in memory."""
        wanted: dict[int, set[int]] = {}
        for case in cases:
            for place in (case.place, case.other):
                if place is not None:
                    wanted.setdefault(place, set()).add(case.question)
        texts = prompt_directions(model, processor, self._questions).centres()
        pixels = processor.batches(self._images["_key"].tolist(), cache=self._data.cache, batch_size=64)
        maps: Maps = {}
        places = itertools.count()
        for encoded in encode_batches(model, pixels, local=True):
            for found, place in zip(heatmaps(encoded, texts), places, strict=False):
                maps |= {(place, question): found[question].copy() for question in wanted.get(place, ())}
        return maps

    def _summed(self, table: pd.DataFrame, maps: Maps) -> Result:
        patients = self._images.loc[table["image_id"], "patient_id"].to_numpy()
        weights = bootstrap(patients, resamples=self._count, seed=self._seed)
        names = {
            "pointing": "pointing", "by_chance": "pointing/by_chance", "of_others": "pointing/of_others", "cnr": "cnr",
            "iou": "iou", "miou": "miou",
        }  # fmt: skip
        metrics = {"grounding/boxed": Metric(len(table))}
        for column, name in names.items():
            mean = partial(weighted_mean, table[column].to_numpy(dtype=float))
            metrics[f"grounding/{name}"] = interval(mean, weights)
        means = table.groupby("observation")[list(names)].mean()
        means.insert(0, "boxed", table["observation"].value_counts())
        metrics |= {f"grounding/pointing/{name}": Metric(float(value)) for name, value in means["pointing"].items()}
        drawn = {"grounding": self._overlays(table, maps)} if self._examples else {}
        headline = tuple(f"grounding/{name}" for name in names.values())
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


def _with_questions(
    boxes: pd.DataFrame, prompts: dict[str, Prompts], observations: Sequence[str]
) -> tuple[pd.DataFrame, list[tuple[str, ...]]]:
    """Returns boxes with the number of what is asked about them, and the texts of each question.

    A box with a phrase is asked about by that phrase, others by the positive prompts of their observation; boxes of an
    observation without prompts are left out.
    """
    phrase = boxes["phrase"] if "phrase" in boxes.columns else pd.Series("", index=boxes.index)
    names = [name for name in sorted(boxes["observation"].unique()) if name in prompts and name in observations]
    phrases = sorted(set(phrase) - {""})
    asked = phrase.map({text: len(names) + i for i, text in enumerate(phrases)})
    asked = asked.fillna(boxes["observation"].map({name: i for i, name in enumerate(names)}))
    about = boxes["observation"].replace("", _PHRASES)
    kept = boxes.assign(question=asked, observation=about)[asked.notna()].astype({"question": int})
    return kept, [*(prompts[name].positive for name in names), *((text,) for text in phrases)]


def _no_boxes() -> str:
    having = [name for name in plugin_names("sources") if load_plugin("sources", name).gives("boxes")]
    return (
        f"grounding needs boxes, and these images have none. Sources that can have them: {', '.join(having)}. For csv, "
        "name a table of boxes: --source-options '{csv: {boxes: boxes.csv}}'."
    )


def _masks(boxes: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Returns (S, S) booleans: which pixels are in a box, and which belong to the image and not to its padding."""
    inside, seen = np.zeros((_SIDE, _SIDE), dtype=bool), np.zeros((_SIDE, _SIDE), dtype=bool)
    for left, top, width, height in boxes[["left", "top", "width", "height"]].to_numpy():
        inside[_span(top, height), _span(left, width)] = True
    left, top, width, height = boxes[["image_left", "image_top", "image_width", "image_height"]].to_numpy()[0]
    seen[_span(top, height), _span(left, width)] = True
    return inside & seen, seen


def _span(start: float, length: float) -> slice:
    """Returns the pixels of a share of the side; at least one."""
    low = int(np.clip(round(start * _SIDE), 0, _SIDE - 1))
    return slice(low, int(np.clip(round((start + length) * _SIDE), low + 1, _SIDE)))


def box_scores(heatmap: np.ndarray, inside: np.ndarray, seen: np.ndarray) -> dict[str, float]:
    """Returns how well a heatmap agrees with boxes; see `Grounding` for what the names mean.

    Args:
        heatmap: (S, S) cosines.
        inside: (S, S) booleans, true within a box.
        seen: (S, S) booleans, true within the image; the rest is padding.
    """
    values, boxed = heatmap[seen].astype(np.float64), inside[seen]
    within, without = values[boxed], values[~boxed]
    highest = np.zeros(len(values), dtype=bool)
    highest[np.argpartition(-values, int(boxed.sum()) - 1)[: int(boxed.sum())]] = True
    return {
        "pointing": float(boxed[np.argmax(values)]),
        "cnr": float((within.mean() - without.mean()) / np.sqrt(max(within.var() + without.var(), 1e-12))),
        "iou": _overlap(highest, boxed),
        "miou": float(np.mean([_overlap(values >= threshold, boxed) for threshold in (0.1, 0.2, 0.3, 0.4, 0.5)])),
    }


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / max((first | second).sum(), 1))
