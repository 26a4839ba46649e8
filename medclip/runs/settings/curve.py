"""Settings of a data-efficiency curve."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from medclip.runs.settings.base import Settings


@dataclass(frozen=True)
class CurveSettings:
    """curve"""

    sizes: str = "20000,50000,100000,200000"
    """Numbers of training images and reports, separated by commas."""
    objectives: str = "semantic-matching,gloria,convirt"
    """Objectives to compare, separated by commas."""
    arms: dict[str, Any] = field(default_factory=dict)
    """Instead of --objectives: settings of medclip-train by the name of an arm."""
    seeds: int = 3
    """Number of runs at each size, with other weights, patients and orders."""
    budget: Literal["steps", "epochs"] = "steps"
    """What is equal at each size: the number of steps, or of epochs."""
    metrics: str = "auroc/mean,accuracy"
    """Metrics to draw, separated by commas."""
    published: str = ""
    """Protocol whose published numbers are drawn too, such as medclip-2022."""


@dataclass(frozen=True)
class CurveTraining:
    """training"""

    recipe: str = ""
    """YAML file with the settings of medclip-train that all arms share."""
    images: str = ""
    """Image sources. By default those of the recipe."""
    texts: str = ""
    """Text sources. By default those of the recipe."""
    data_root: str | None = None
    """Folder in which sources without a path are looked for."""
    on: str = ""
    """Image sources to evaluate on. By default those of the training."""
    evaluators: str = "zero-shot"
    """Evaluators to run, separated by commas."""
    resamples: int = 200
    """Number of bootstrap resamples of each evaluation."""


@dataclass(frozen=True)
class CurveRun:
    """run"""

    output: str = "runs/curve"
    """Folder of the points, the table and the figure."""
    workers: int = 1
    """Number of points trained at the same time, one per GPU where there are GPUs."""
    point: int = -1
    """Train this point only, for array jobs; --list numbers them."""
    list: bool = False
    """Show the points, their numbers and which are done."""


@dataclass(frozen=True)
class CurveConfig(CurveRun, CurveTraining, CurveSettings, Settings):
    """Settings of a data-efficiency curve."""
