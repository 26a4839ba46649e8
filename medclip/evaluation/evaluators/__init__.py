"""Evaluators: a model and data in, named numbers, tables and plots out. One file each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from labelers.attribute_states import observation_of
from labelers.errors import UserError
from medclip.data.cache import ImageCache
from medclip.data.features import FeatureCache
from medclip.data.labelling import Labelling
from medclip.data.tables import label_matrix, learning_labels, observations_of
from medclip.evaluation.bootstrap import Metric, Sampled, flat
from medclip.evaluation.films import Answers
from medclip.inference.prompts import Prompts, load_prompts, select_prompts
from medclip.training.supervised import LabelledImages

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from medclip.models import MedCLIPModel, MedCLIPProcessor


@dataclass(frozen=True)
class EvaluationData:
    """What evaluators read: a prepared image table of all splits, and where its pixels are.

    Attributes:
        images: Prepared image table.
        cache: Its pixels.
        split: The split to report on. Others serve for fitting and choosing only, see `other`.
        sentences: Prepared sentence table, for evaluators that need texts.
        occurrences: Which study says which row of it.
        boxes: Where observations are, see `medclip.data.boxes.prepare_boxes`.
        blank: What a blank label is where labels are learned from, see `medclip.data.tables.learning_labels`.
        labelling: How the sentences were labelled.
        features: What a locked tower makes of the images, where that is known.
        severity: Severity scores: image_id and a column a reader, see `medclip.data.severity`.
    """

    images: pd.DataFrame
    cache: ImageCache
    split: str = "test"
    sentences: pd.DataFrame | None = None
    occurrences: pd.DataFrame | None = None
    boxes: pd.DataFrame | None = None
    blank: str = "source"
    labelling: Labelling = field(default_factory=Labelling)
    features: FeatureCache | None = None
    severity: pd.DataFrame | None = None

    def learning_labels(self, table: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
        """Returns states (N, O) of `names` to learn, choose or fit on; what is reported on counts blanks never."""
        return learning_labels(table, names, blank=self.blank)

    def labelled(self, table: pd.DataFrame, names: Sequence[str]) -> LabelledImages:
        """Returns the images of a table with their states of `names`, to train a tower on."""
        return LabelledImages(table["_key"].tolist(), self.learning_labels(table, names))

    def rows(self) -> pd.DataFrame:
        """Returns the rows of the split to report on.

        Raises:
            UserError: It is empty.
        """
        table = self.images[self.images["split"] == self.split]
        if table.empty:
            counts = self.images["split"].value_counts().to_dict()
            raise UserError(
                f"The {self.split} split holds no images; rows by split: {counts}. Choose another with --split, or put "
                "some into it by a column split of your own table."
            )
        return table.reset_index(drop=True)

    def other(self, split: str) -> pd.DataFrame:
        """Returns the rows of another split, the only ones to fit, train or choose on; it may be empty.

        A patient who is in the split to report on as well is left out, whatever the source says.

        Raises:
            UserError: `split` is what is reported on.
        """
        if split == self.split:
            raise UserError(
                f"The {split} split is what is reported on, so nothing is fitted, trained or chosen on it. Report on "
                "another one, such as --split test."
            )
        reported = set(self.images.loc[self.images["split"] == self.split, "patient_id"])
        table = self.images[(self.images["split"] == split) & ~self.images["patient_id"].isin(reported)]
        return table.reset_index(drop=True)

    def training_rows(self, who: str) -> pd.DataFrame:
        """Returns the rows of the train split, for `who` learns from labels.

        Raises:
            UserError: There are none.
        """
        rows = self.other("train")
        if rows.empty:
            counts = self.images["split"].value_counts().to_dict()
            raise UserError(f"{who} learns from a train split, and there is none here; rows by split: {counts}.")
        return rows

    def questions(
        self, prompts: str | dict[str, Prompts], observations: Sequence[str] = (), *, who: str
    ) -> dict[str, Prompts]:
        """Returns the prompts of `observations`, by default of all that have states in the split to report on.

        Args:
            prompts: A set by name, a file, or prompts.
            observations: Observations to ask about.
            who: Who asks, for the message.

        Raises:
            UserError: None of them has prompts.
        """
        loaded = prompts if isinstance(prompts, dict) else load_prompts(prompts)
        found = select_prompts(loaded, self.observations(observations))
        if not found:
            known = ", ".join(self.observations()) or "none: no image of this split has a label"
            raise UserError(
                f"{who}: no observation of these images has prompts. The images are labelled for {known}; the prompts "
                f"ask about {', '.join(loaded)}. Name another set: --prompts."
            )
        return found

    def observations(self, wanted: Sequence[str] = ()) -> list[str]:
        """Returns those of `wanted` that have states in the split to report on.

        By default of all observation columns but sides and sizes ("Pleural Effusion (left)"), which are no
        observations of their own.
        """
        table = self.rows()
        columns = wanted or [name for name in observations_of(table) if observation_of(name) is None]
        columns = [name for name in columns if name in table.columns]
        known = ~np.isnan(label_matrix(table, columns))
        return [name for name, any_known in zip(columns, known.any(axis=0), strict=True) if any_known]


@dataclass(frozen=True)
class Result:
    """What an evaluator found.

    Attributes:
        metrics: Metrics by name, such as `auroc/Edema`.
        headline: The metrics that a summary shows, in its order; all where it is empty.
        tables: Tables by name, for people to read.
        figures: Figures by name.
        answers: Tells what was answered about single images, for those that want to see films.
        sampled: Some of the metrics with their resamples, for what is computed of several.
    """

    metrics: dict[str, Metric]
    headline: tuple[str, ...] = ()
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    answers: Callable[[], Answers] | None = None
    sampled: Mapping[str, Sampled] = field(default_factory=dict)

    @property
    def numbers(self) -> dict[str, float]:
        """All metrics as numbers by name, bounds and deviations among them; see `flat`."""
        return flat(self.metrics)


class Evaluator:
    """Base of all evaluators, built from data and a seed.

    Attributes:
        is_plugin: Marks the class that stands for its file.
        primary: The metric that picks checkpoints; higher is better.
        needs_labels: Whether it looks at observations of the images.
        settings: Settings of an evaluation under other names than the constructor's.
    """

    is_plugin: ClassVar[bool] = True
    primary: ClassVar[str]
    needs_labels: ClassVar[bool] = True
    settings: ClassVar[Mapping[str, str]] = {}

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Returns what is found of `model`, which must be in evaluation mode."""
        raise NotImplementedError
