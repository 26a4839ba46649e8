"""Evaluators: a model and data in, named numbers, tables and plots out. One file each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from medclip.cache import PixelCache
from medclip.tables import label_matrix, observations_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from medclip.models import MedCLIPModel, MedCLIPProcessor


@dataclass(frozen=True)
class EvaluationData:
    """What evaluators read: a prepared image table of all splits, and where its pixels are.

    Attributes:
        images: prepared image table.
        cache: its pixels.
        split: the split to report on. Others serve for fitting and choosing only.
        sentences: prepared sentence table, for evaluators that need texts.
        occurrences: which study says which row of it.
    """

    images: pd.DataFrame
    cache: PixelCache
    split: str = "test"
    sentences: pd.DataFrame | None = None
    occurrences: pd.DataFrame | None = None

    def rows(self, split: str | None = None) -> pd.DataFrame:
        """Returns the rows of a split, by default the one to report on.

        Raises:
            ValueError: it is empty.
        """
        split = split or self.split
        table = self.images[self.images["split"] == split]
        if table.empty:
            counts = self.images["split"].value_counts().to_dict()
            raise ValueError(f"The {split} split holds no images; rows by split: {counts}.")
        return table.reset_index(drop=True)

    def observations(self, wanted: Sequence[str] = ()) -> list[str]:
        """Returns those of `wanted` (or of all observation columns) that have states in the split to report on."""
        table = self.rows()
        columns = [name for name in (wanted or observations_of(table)) if name in table.columns]
        known = ~np.isnan(label_matrix(table, columns))
        return [name for name, any_known in zip(columns, known.any(axis=0), strict=True) if any_known]


@dataclass(frozen=True)
class Result:
    """What an evaluator found.

    Attributes:
        metrics: flat, such as `auroc/Edema`; intervals as `auroc/Edema/low` and `/high`.
        tables: by name, for people.
        figures: by name.
    """

    metrics: dict[str, float]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)


class Evaluator:
    """Base of all evaluators, built from data and a seed.

    Attributes:
        is_plugin: marks the class that stands for its file.
        primary: the metric that picks checkpoints; higher is better.
    """

    is_plugin: ClassVar[bool] = True
    primary: ClassVar[str]

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Returns what is found of `model`, which must be in evaluation mode."""
        raise NotImplementedError
