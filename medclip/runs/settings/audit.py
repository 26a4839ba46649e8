"""Settings of an audit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from medclip.runs.settings.base import Columns, Settings


@dataclass(frozen=True)
class AuditInput:
    """data"""

    what: str = ""
    """Folder of a training run, or image sources, NAME or NAME=PATH, separated by commas."""
    on: str = ""
    """Image sources to compare with, NAME or NAME=PATH, separated by commas."""
    data_root: str | None = None
    """Folder in which sources without a path are looked for."""
    source_options: dict[str, Any] = field(default_factory=dict)
    """Options of each source. By default those of the training run."""
    split: Literal["all", "train", "valid", "test"] = "all"
    """Split of the sources of --on to compare with."""
    prepared: str = "prepared"
    """Folder for cached pixels."""
    cache_size: int = 256
    """Side of the cached images, in pixels. By default that of the training run, if one is audited."""
    dicom: Literal["voi", "mimic-cxr-jpg"] = "voi"
    """How DICOM values become grey: by the file's own windows, or as MIMIC-CXR-JPG was made."""
    split_seed: int = 0
    """Seed that assigns patients to splits where the source declares none."""
    workers: int = 1
    """Number of processes that prepare images."""


@dataclass(frozen=True)
class AuditOutput:
    """output"""

    output: str = ""
    """CSV file that lists the pairs of images that are the same. It holds ids."""


@dataclass(frozen=True)
class AuditConfig(Columns, AuditOutput, AuditInput, Settings):
    """Settings of an audit."""

    positional: ClassVar[tuple[str, ...]] = ("what",)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(1, "cache_size")
        self.at_least(0, "workers")
