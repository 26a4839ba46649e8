"""Settings of a training by images alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from medclip.runs.settings.base import Columns, Devices, Machine, Settings, check_schedule


@dataclass(frozen=True)
class PretrainingData:
    """data"""

    images: str = ""
    """Image sources, NAME or NAME=PATH, separated by commas; their labels are not looked at. For synthetic images:
    phantom."""
    data_root: str | None = None
    """Folder in which sources without a path are looked for."""
    source_options: dict[str, Any] = field(default_factory=dict)
    """Options of each source, for instance '{phantom: {studies: 20000}}'."""
    prepared: str = "prepared"
    """Folder for cached pixels, the one of medclip-train."""
    workers: int = 1
    """Number of processes that prepare and load data."""
    dicom: Literal["voi", "mimic-cxr-jpg"] = "voi"
    """How DICOM values become grey: by the file's own windows, or as MIMIC-CXR-JPG was made."""
    exclude: str = ""
    """Image sources whose patients are left out of training, such as chexpert-5x200."""
    split_seed: int = 0
    """Seed that assigns patients to splits where the source declares none; take that of medclip-train."""


@dataclass(frozen=True)
class PretrainingSampling:
    """sampling"""

    batch_images: int = 64
    """Images in a step, over all processes."""
    image_weights: list[float] = field(default_factory=list)
    """Relative weight of each image source. By default their sizes."""
    limit: int = 0
    """Number of training images to use, chosen by patient; 0 for all."""
    limit_seed: int = 0
    """Seed that chooses the patients of --limit."""
    augmentation: dict[str, Any] = field(default_factory=dict)
    """How views of an image differ: area, flip, jitter, blur, rotate."""


@dataclass(frozen=True)
class PretrainingMethod:
    """method"""

    method: str = "simclr"
    """simclr, mocov2, mocov3, dino, mae or rotation; medclip/training/methods/ has one file for each."""
    method_options: dict[str, Any] = field(default_factory=dict)
    """Options of the method, for instance '{temperature: 0.2}'."""
    vision: str = "small"
    """Image tower to start from: small, tiny, small-vit, torchvision:ARCHITECTURE[:WEIGHTS], timm:ARCHITECTURE[.TAG],
    or the folder or hub id of a backbone."""
    vision_weights: str = ""
    """File of weights for the image tower, by the names of the library that --vision names."""
    vision_pooling: Literal["mean", "cls"] = "mean"
    """How patches become one vector."""
    image_size: int = 224
    """Side of the images that the tower sees, in pixels."""
    cache_size: int = 256
    """Side of the cached images, in pixels."""


@dataclass(frozen=True)
class PretrainingOptimisation:
    """optimisation"""

    steps: int = 0
    """Number of training steps; 0 for as many as --epochs makes."""
    epochs: float = 100.0
    """Number of passes over the images, where --steps is 0."""
    learning_rate: float = 5e-4
    """Highest learning rate, reached after the warm-up."""
    weight_decay: float = 0.05
    """Weight decay applied to weight matrices."""
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises."""
    clip_norm: float = 1.0
    """Largest gradient norm; larger ones are clipped. 0 for no clipping."""


@dataclass(frozen=True)
class PretrainingRun:
    """run"""

    output: str = "runs/pretrained"
    """Folder of the run; the tower is in its folder tower/."""
    seed: int = 0
    """Seed of weights, sampling and augmentation."""
    resume: str = "auto"
    """auto resumes an interrupted run, never does not; or the path of a checkpoint."""
    overwrite: bool = False
    """Start again even if --output holds a run."""
    save_every: int = 500
    """Number of steps between checkpoints."""
    keep: int = 2
    """Number of newest checkpoints to keep."""
    compile: bool = False
    """Compile the tower: minutes at the start, faster steps on a GPU."""
    loggers: str = "tensorboard"
    """Loggers beside the CSV file: tensorboard, wandb, mlflow, separated by commas."""


@dataclass(frozen=True)
class PretrainConfig(
    PretrainingRun,
    Devices,
    Machine,
    PretrainingOptimisation,
    PretrainingMethod,
    PretrainingSampling,
    Columns,
    PretrainingData,
    Settings,
):
    """Settings of a training by images alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(2, "batch_images")
        self.at_least(1, "image_size", "cache_size", "keep", "nodes", "save_every")
        self.at_least(0, "steps", "workers", "limit", "weight_decay", "clip_norm")
        check_schedule(self.steps, self.epochs, self.learning_rate, self.warmup)
