"""Settings of a data-efficiency curve."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from labelers.errors import UserError
from medclip.runs.settings.base import Machine, Settings


@dataclass(frozen=True)
class CurveSettings:
    """curve"""

    sizes: str = "20000,50000,100000,200000"
    """Numbers of training images and reports, separated by commas."""
    objectives: str = "semantic-matching,gloria,convirt"
    """Objectives to compare, separated by commas."""
    arms: dict[str, Any] = field(default_factory=dict)
    """Instead of --objectives: settings of medclip-train by the name of an arm. Besides, 'search: {SETTING: [VALUES]}'
    says what --trials choose among, and 'supervised: true' makes it a classifier that learns from the labels alone."""
    seeds: int = 3
    """Number of runs at each size, with other weights, patients and orders."""
    budget: Literal["steps", "epochs"] = "steps"
    """What is equal at each size: the number of steps, or of epochs."""
    metrics: str = "auroc/mean,accuracy"
    """Metrics to draw, separated by commas."""
    trials: int = 0
    """Number of settings tried for each arm before its points, and chosen among on the valid split; 0 for none."""
    search_size: int = 2000
    """Number of training images and reports of a trial."""
    search_seed: int = 99
    """Seed of the trials, unlike any of the points'."""
    search_settings: dict[str, Any] = field(default_factory=dict)
    """Settings of medclip-train in which trials differ from points, such as fewer steps or another population."""
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
    split: Literal["valid", "test"] = "test"
    """Split to report on; take valid to choose among recipes, whose best checkpoints are then those of this split."""
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
class CurveConfig(Machine, CurveRun, CurveTraining, CurveSettings, Settings):
    """Settings of a data-efficiency curve."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(0, "trials", "resamples")
        self.at_least(1, "seeds", "search_size")
        if self.trials and self.split == "valid":
            raise UserError(
                "--trials chooses on the valid split, so nothing can be reported on it. Leave one of them out."
            )
        if self.trials and self.search_seed < self.seeds:
            raise UserError(
                f"--search-seed {self.search_seed} is the seed of a point, so recipes would be chosen on the very "
                f"data that they are reported on. Choose one of at least --seeds {self.seeds}."
            )
