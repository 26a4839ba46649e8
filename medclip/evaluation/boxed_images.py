"""Boxes of readers as questions: by which prompts or phrase each is asked about, and where such boxes usually lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from labelers.errors import UserError
from medclip.evaluation.box_metrics import box_masks
from medclip.evaluation.evaluators import EvaluationData
from medclip.inference.prompts import Prompts, load_prompts
from medclip.utils.plugins import load_plugin, plugin_names

#: What boxes with a phrase and no observation are summed up as: phrases are parts of reports.
PHRASES = "phrases"
#: Deviation that smooths where boxes usually lie, as a share of the side: the middle of a flat top becomes its highest.
_EDGE = 0.03


@dataclass(frozen=True)
class BoxedImages:
    """The boxed images of a split, and the questions that their boxes answer.

    Attributes:
        images: The rows with a box that answers a question, by image_id.
        boxes: The boxes, with the number of their question.
        questions: The prompts of each question.
    """

    images: pd.DataFrame
    boxes: pd.DataFrame
    questions: list[Prompts]


def boxed_images(
    data: EvaluationData, prompts: str | dict[str, Prompts], observations: Sequence[str], *, who: str
) -> BoxedImages:
    """Returns the boxed images of the split to report on.

    Args:
        data: Images, with boxes.
        prompts: A set by name, a file, or prompts.
        observations: Observations to ask about; by default all with boxes and prompts.
        who: Who asks, for messages.

    Raises:
        UserError: There are no boxes, or none that anything is asked about.
    """
    if data.boxes is None:
        raise UserError(_no_boxes(who))
    loaded = prompts if isinstance(prompts, dict) else load_prompts(prompts)
    images = data.rows().drop_duplicates("image_id").set_index("image_id")
    boxes, questions = _with_questions(data.boxes, loaded, observations or list(loaded))
    boxes = boxes[boxes["image_id"].isin(images.index)]
    if boxes.empty:
        raise UserError(
            f"No image of the {data.split} split has a box with a phrase, or of an observation with prompts; "
            f"boxes are of {', '.join(sorted(set(data.boxes['observation']) - {''})) or 'no observation'}."
        )
    return BoxedImages(images.loc[sorted(boxes["image_id"].unique())], boxes, questions)


def usual_places(boxes: pd.DataFrame, patients: pd.Series, *, seed: int) -> dict[tuple[str, int], np.ndarray]:
    """Returns where the boxes of each observation usually lie: by observation and half of the patients, (S, S).

    The map of one half is the share of boxed images of the other half whose boxes hold a pixel, so that nobody's own
    boxes are in it. Which half a patient is in says `half_of`.

    Args:
        boxes: Boxes with their observation, see `medclip.data.boxes.prepare_boxes`.
        patients: The patient of each image, by image_id.
        seed: Seed of the halves.
    """
    from scipy.ndimage import gaussian_filter

    half = half_of(patients, seed=seed)
    places = {}
    for name, of_one in boxes.groupby("observation"):
        masks = [(half[image], box_masks(own)[0]) for image, own in of_one.groupby("image_id")]
        for mine in (0, 1):
            others = [mask for whose, mask in masks if whose != mine]
            mean = np.mean(others, axis=0) if others else np.zeros(masks[0][1].shape)
            places[str(name), mine] = gaussian_filter(mean, _EDGE * len(mean))
    return places


def half_of(patients: pd.Series, *, seed: int) -> pd.Series:
    """Returns 0 or 1 for each image: the half that its patient is in."""
    names = np.unique(patients.astype(str))
    sides = dict(zip(names, np.random.default_rng(seed).permutation(len(names)) % 2, strict=True))
    return patients.astype(str).map(sides)


def _with_questions(
    boxes: pd.DataFrame, prompts: dict[str, Prompts], observations: Sequence[str]
) -> tuple[pd.DataFrame, list[Prompts]]:
    """Returns boxes with the number of what is asked about them, and the prompts of each question.

    A box with a phrase is asked about by that phrase, others by the prompts of their observation; boxes of an
    observation without prompts are left out.
    """
    phrase = boxes["phrase"] if "phrase" in boxes.columns else pd.Series("", index=boxes.index)
    names = [name for name in sorted(boxes["observation"].unique()) if name in prompts and name in observations]
    phrases = sorted(set(phrase) - {""})
    asked = phrase.map({text: len(names) + i for i, text in enumerate(phrases)})
    asked = asked.fillna(boxes["observation"].map({name: i for i, name in enumerate(names)}))
    about = boxes["observation"].replace("", PHRASES)
    kept = boxes.assign(question=asked, observation=about)[asked.notna()].astype({"question": int})
    return kept, [*(prompts[name] for name in names), *(Prompts((text,), ()) for text in phrases)]


def _no_boxes(who: str) -> str:
    having = [name for name in plugin_names("sources") if load_plugin("sources", name).gives("boxes")]
    return (
        f"{who} needs boxes, and these images have none. Sources that can have them: {', '.join(having)}. For csv, "
        "name a table of boxes: --source-options '{csv: {boxes: boxes.csv}}'."
    )
