"""Settings of the page in the browser."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from labelers.errors import UserError
from medclip.runs.settings.base import Machine, Settings


@dataclass(frozen=True)
class ServedModel:
    """model"""

    model: str = ""
    """Folder of a training run or of a model. By default a small one that is trained on synthetic images at first."""
    onnx: str = ""
    """Folder of an export to answer with instead, without torch and without heatmaps."""
    prompts: str = ""
    """Prompt set that is offered first, by name or as a YAML file. By default chexpert14, or the one of the export."""
    index: str = ""
    """Index of images or sentences to search in, as medclip-search builds it."""
    device: str = "auto"
    """Device to compute on: auto, cpu, cuda, cuda:1, mps."""


@dataclass(frozen=True)
class Address:
    """address"""

    host: str = "127.0.0.1"
    """Address to listen at. Any other than this machine's own needs the token that is then made, or --token."""
    port: int = 8765
    """Port to listen at; 0 for a free one."""
    token: str = ""
    """Word that every request must carry."""
    browser: bool = False
    """Open the page in the browser of this machine."""


@dataclass(frozen=True)
class UploadLimits:
    """limits"""

    max_files: int = 32
    """Number of files in one request; the page sends more of them in several."""
    max_megabytes: int = 64
    """Size of one file, in megabytes."""
    max_megapixels: int = 50
    """Size of one image, in millions of pixels."""
    max_memory: int = 1024
    """Megabytes of films that are held in memory; the oldest are dropped, and sent again by the page when needed."""
    batch_size: int = 32
    """Number of images encoded at once."""


@dataclass(frozen=True)
class ServeConfig(Machine, UploadLimits, Address, ServedModel, Settings):
    """Settings of a service."""

    positional: ClassVar[tuple[str, ...]] = ("model",)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(1, "max_files", "max_megabytes", "max_megapixels", "max_memory", "batch_size")
        self.at_least(0, "port")
        if self.onnx and (self.model or self.index):
            raise UserError("--onnx answers without a model, and an index belongs to a model. Leave one of them out.")
        if self.token and not re.fullmatch(r"[\w.~-]{16,}", self.token, re.ASCII):
            raise UserError(
                "--token: found another word than 16 or more of A-Z, a-z, 0-9, _, ., ~ and -. Choose such one."
            )
