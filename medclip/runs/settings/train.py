"""Settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from labelers.errors import UserError
from medclip.runs.settings.base import Columns, Devices, Machine, Settings, check_schedule
from medclip.runs.settings.data import LabelSettings


@dataclass(frozen=True)
class TrainingData:
    """data"""

    images: str = ""
    """Image sources, NAME or NAME=PATH, separated by commas. For synthetic images: phantom."""
    texts: str = ""
    """Text sources, NAME or NAME=PATH, separated by commas. By default the image sources that have texts too."""
    data_root: str | None = None
    """Folder in which sources without a path are looked for."""
    source_options: dict[str, Any] = field(default_factory=dict)
    """Options of each source, for instance '{phantom: {studies: 20000}}'."""
    prepared: str = "prepared"
    """Folder for cached pixels and labelled sentences."""
    cache_url: str = ""
    """Where the files of a litdata image cache are, such as s3://bucket/folder, if not in the prepared folder."""
    workers: int = 1
    """Number of processes that prepare and load data."""
    dicom: Literal["voi", "mimic-cxr-jpg"] = "voi"
    """How DICOM values become grey: by the file's own windows, or as MIMIC-CXR-JPG was made."""
    mask_border: float = 0.0
    """Share of each side of the images that is covered, in training and at inference: against what borders tell."""
    mask_corners: float = 0.0
    """Share of the side of the four corners that are covered, in training and at inference: against letters there."""
    remove_markers: bool = False
    """Cover letters burnt into films where they are found, in training and at inference."""
    exclude: str = ""
    """Image sources whose patients are left out of training, such as chexpert-5x200."""
    split_seed: int = 0
    """Seed that assigns patients to splits where the source declares none."""


@dataclass(frozen=True)
class Labels:
    """labels"""

    observations: list[str] = field(default_factory=list)
    """Observations to learn. By default those of the labeler: with its default vocabulary the 14 of CheXpert."""
    uncertain: Literal["zero", "one", "ignore", "soft"] = "soft"
    """What uncertain states become in label vectors; soft is 0.5."""
    negative: Literal["absent", "opposite"] = "opposite"
    """What negative states become in label vectors: 0 (absent) or -1 (opposite)."""
    blank: Literal["ignore", "source", "negative"] = "ignore"
    """What a blank label of an image is: not known, negative where the source says so (CheXpert and MIMIC-CXR), or
    always negative."""
    denials: Literal["as-is", "no-finding", "skip"] = "as-is"
    """Texts that only deny: used as they are, with No Finding positive as in the published system, or not drawn."""


@dataclass(frozen=True)
class Sampling:
    """sampling"""

    batch_images: int = 64
    """Images in a step, over all processes."""
    batch_texts: int = 64
    """Sentences in a step, over all processes."""
    image_weights: list[float] = field(default_factory=list)
    """Relative weight of each image source. By default their sizes."""
    text_weights: list[float] = field(default_factory=list)
    """Relative weight of each text source. By default their sizes."""
    image_order: Literal["any", "shards"] = "any"
    """Order of the images in a pass: any, or those of a few files of the cache at a time, for a cache that is read over
    a network."""
    balance_images: float = 0.0
    """How far images with rare observations are drawn more often: 0 not at all, 1 equally often."""
    balance_texts: float = 0.0
    """How far sentences with rare observations are drawn more often: 0 not at all, 1 equally often."""
    balance_sites: float = 0.0
    """How far images are drawn so that what they show does not depend on their site (column site, or the source): 0 not
    at all, 1 fully."""
    repeats: float = 1.0
    """How often a sentence is drawn that many reports say: 0 like any other, 1 in proportion."""
    limit: int = 0
    """Number of training images and reports to use, chosen by patient; 0 for all."""
    limit_seed: int = 0
    """Seed that chooses the patients of --limit."""
    pairs: float = 0.0
    """Share of the texts drawn from the study of an image. Objectives that need pairs take 1."""
    pair_by: Literal["study", "labels"] = "study"
    """What makes a pair: one study, or labels: any whole report with the same positive observations as the image."""
    pair_text: Literal["sentence", "report", "prompts"] = "sentence"
    """What is drawn for a pair: one sentence of the report, the whole report, or prompts written from the labels of
    the image, as in CXR-CLIP."""
    flips: float = 0.0
    """Share of the sentences drawn that are turned round by rule ("No effusion." of "Large effusion."), as hard
    negatives."""
    rewordings: float = 0.0
    """Share of the sentences drawn that are reworded by rule, with synonyms and other denials that say the same."""
    augmentation: dict[str, Any] = field(default_factory=dict)
    """Random changes of training images: crop, flip, jitter, rotate, shift, scale."""
    augment_on: Literal["cpu", "device"] = "cpu"
    """Where images are augmented: in the loader's processes, or in batches on the model's device."""


@dataclass(frozen=True)
class ModelSettings:
    """model"""

    vision: str = "small"
    """Image tower: small, tiny, small-vit, torchvision:ARCHITECTURE[:WEIGHTS], timm:ARCHITECTURE[.TAG], a run of
    medclip-pretrain, or the folder or hub id of a backbone."""
    vision_weights: str = ""
    """File of weights for the image tower, by the names of the library that --vision names."""
    text: str = "small"
    """Text tower: small, tiny, or the folder or hub id of a Hugging Face text encoder."""
    image_size: int = 224
    """Side of the images that the model sees, in pixels."""
    cache_size: int = 256
    """Side of the cached images, in pixels."""
    max_length: int = 77
    """Number of tokens of a text that the model sees."""
    vocab_size: int = 4000
    """Size of the vocabulary that is learned for a small or tiny text tower."""
    projection_dim: int = 512
    """Size of embeddings."""
    text_pooling: Literal["mean", "max", "layers", "last4", "cls"] = "mean"
    """How tokens become one vector; layers is MedCLIP's (layers 1, 2 and last), last4 is GLoRIA's."""
    vision_pooling: Literal["mean", "cls"] = "mean"
    """How patches become one vector."""
    vision_local: Literal["shared", "last", "previous"] = "shared"
    """Where patch features come from; previous is GLoRIA's, the last but one stage."""
    projection: Literal["linear", "mlp"] = "linear"
    """Kind of projection into the shared space; mlp has a hidden layer, as in ConVIRT."""
    lock_vision: str = ""
    """Layers of the image tower that are not trained: all, or the number of first layers."""
    lock_text: str = ""
    """Layers of the text tower that are not trained: all, or the number of first layers."""
    lora_vision: int = 0
    """Rank of the low-rank weights that are trained instead of the image tower; 0 for none."""
    lora_text: int = 0
    """Rank of the low-rank weights that are trained instead of the text tower; 0 for none."""
    unlock_after: float = 0.0
    """Share of the steps after which locked layers are trained too; 0 for never."""
    unlock_patience: int = 0
    """Number of validations in a row without a better one after which locked layers are trained too; 0 for never."""
    cache_features: int = 0
    """Views of each image that a locked image tower encodes once, before training, instead of at each step: 1 for the
    image as it is, more for augmented ones; 0 for none. With --lock-text all each text is encoded once, too."""


@dataclass(frozen=True)
class ObjectiveSettings:
    """objective"""

    objective: str = "semantic-matching"
    """Name of the objective; medclip/objectives/ has one file for each."""
    objective_options: dict[str, Any] = field(default_factory=dict)
    """Options of the objective, for instance '{similarity: claims}'."""


@dataclass(frozen=True)
class Optimisation:
    """optimisation"""

    encode_batch: int = 0
    """Inputs encoded at once; larger batches are encoded in parts, in less memory. 0 for all at once."""
    own_rows: bool = False
    """With several processes: each computes the losses of its own rows only."""
    steps: int = 0
    """Number of training steps; 0 for as many as --epochs makes."""
    epochs: float = 10.0
    """Number of passes over the images, where --steps is 0."""
    learning_rate: float = 5e-5
    """Highest learning rate, reached after the warm-up."""
    weight_decay: float = 1e-4
    """Weight decay applied to weight matrices."""
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises."""
    clip_norm: float = 1.0
    """Largest gradient norm; larger ones are clipped. 0 for no clipping."""


@dataclass(frozen=True)
class Validation:
    """validation"""

    prompts: str = "chexpert14"
    """Prompt set of the validation, by name or as a YAML file."""
    evaluate_every: int = 200
    """Number of steps between validations, by which the best model is chosen; 0 to keep the last model unseen."""


@dataclass(frozen=True)
class TrainingRun:
    """run"""

    output: str = "runs/medclip"
    """Folder of the run."""
    seed: int = 0
    """Seed of weights, sampling and augmentation."""
    resume: str = "auto"
    """auto resumes an interrupted run, never does not; or the path of a checkpoint."""
    overwrite: bool = False
    """Start again even if --output holds a run."""
    save_every: int = 0
    """Number of steps between checkpoints; 0 for one with each validation, or every 500 where there is none."""
    keep: int = 2
    """Number of newest checkpoints to keep beside the best."""
    compile: bool = False
    """Compile the towers: minutes at the start, faster steps on a GPU."""
    step_times: bool = False
    """Measure the parts of a step and print them at the end."""
    loggers: str = "tensorboard"
    """Loggers beside the CSV file: tensorboard, wandb, mlflow, separated by commas."""


@dataclass(frozen=True)
class TrainConfig(
    Devices,
    Machine,
    Columns,
    TrainingRun,
    Validation,
    Optimisation,
    ObjectiveSettings,
    ModelSettings,
    Sampling,
    Labels,
    LabelSettings,
    TrainingData,
    Settings,
):
    """Settings of a training run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(1, "batch_images", "batch_texts", "image_size", "cache_size", "max_length", "projection_dim")
        self.at_least(1, "keep", "nodes")
        self.at_least(0, "evaluate_every", "steps", "workers", "limit", "encode_batch", "save_every")
        self.at_least(0, "cache_features", "unlock_patience")
        if self.unlock_patience and not self.evaluate_every:
            raise UserError("--unlock-patience waits for validations; found --evaluate-every 0. Set it to a number.")
        self.at_least(0, "weight_decay", "clip_norm", "balance_images", "balance_texts")
        for name in ("mask_border", "mask_corners"):
            if not 0 <= (share := getattr(self, name)) < 0.4:
                raise UserError(
                    f"--{name.replace('_', '-')} is a share of each side, at least 0 and below 0.4; found {share}."
                )
        for name in ("flips", "rewordings"):
            if not 0 <= (share := getattr(self, name)) < 1:
                raise UserError(f"--{name} is a share of the sentences, at least 0 and below 1; found {share}.")
        if self.image_order == "shards" and (self.image_weights or self.balance_images or self.balance_sites):
            raise UserError(
                "--image-order shards is an order of passes, and --image-weights, --balance-images and --balance-sites "
                "draw at random. Leave one of them out."
            )
        check_schedule(self.steps, self.epochs, self.learning_rate, self.warmup)
