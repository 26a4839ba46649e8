"""Settings of all protocols at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from medclip.runs.settings.base import Machine, Settings


@dataclass(frozen=True)
class BenchmarkData:
    """data"""

    model: str = ""
    """Folder of a training run, or of a model."""
    data_root: str | None = None
    """Folder in which test sets are looked for; what is not there is left out."""
    test_sets: str = ""
    """Test sets, NAME or NAME=PATH, separated by commas. By default all that the protocols name."""
    source_options: dict[str, Any] = field(default_factory=dict)
    """Options of each source. By default those of the training run."""
    prepared: str = "prepared"
    """Folder for cached pixels and labelled sentences."""
    workers: int = 1
    """Number of processes that prepare data."""


@dataclass(frozen=True)
class BenchmarkRun:
    """run"""

    protocols: str = ""
    """Protocols to follow, separated by commas. By default all."""
    prompts: str = ""
    """Prompts instead of those of the protocols, such as the authors' constants.py; a departure that is told."""
    resamples: int = 1000
    """Number of bootstrap resamples of patients, for intervals."""
    list: bool = False
    """Show which test sets are there, and stop."""
    output: str = ""
    """Folder of the results. By default benchmark in the run folder."""
    overwrite: bool = False
    """Evaluate again what is there with other settings."""
    device: str = "auto"
    """Device to compute on: auto, cpu, cuda, cuda:1, mps."""


@dataclass(frozen=True)
class BenchmarkConfig(Machine, BenchmarkRun, BenchmarkData, Settings):
    """Settings of all protocols at once."""

    positional: ClassVar[tuple[str, ...]] = ("model",)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(0, "resamples", "workers")
