"""Settings of what is done with a trained model: search, classify, convert, export."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from labelers.errors import UserError
from medclip.runs.settings.base import Columns, Machine, Settings


@dataclass(frozen=True)
class SearchInput:
    """index"""

    model: str = ""
    """Folder of a training run, or of a model."""
    queries: list[str] = field(default_factory=list)
    """Texts, or image files, to search with."""
    index: str = ""
    """File of the index; it is built if it does not exist."""
    images: str = ""
    """Image sources to build the index from, separated by commas."""
    texts: str = ""
    """Text sources whose sentences the index is to hold, instead of images."""
    data_root: str | None = None
    """Folder in which sources without a path are looked for."""
    source_options: dict[str, Any] = field(default_factory=dict)
    """Options of each source. By default those of the training run."""
    prepared: str = "prepared"
    """Folder for cached pixels and labelled sentences."""
    workers: int = 1
    """Number of processes that prepare data."""


@dataclass(frozen=True)
class SearchOutput:
    """output"""

    compose: bool = False
    """Take all queries as one: films, moved by texts such as 'without the effusion' or '+ pacemaker'."""
    text_weight: float = 1.0
    """How far texts move films, with --compose."""
    k: int = 5
    """Number of results for each query."""
    html: str = ""
    """Page of the results, films on a contact sheet. It shows patients' films or sentences, and stands for itself."""
    format: Literal["table", "json"] = "table"
    """Format of the results."""
    device: str = "auto"
    """Device to compute on: auto, cpu, cuda, cuda:1, mps."""


@dataclass(frozen=True)
class SearchConfig(Machine, Columns, SearchOutput, SearchInput, Settings):
    """Settings of a search."""

    positional: ClassVar[tuple[str, ...]] = ("model", "queries")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(1, "k", "workers")


@dataclass(frozen=True)
class Conversion:
    """conversion"""

    checkpoint: str = ""
    """A .bin, .pt, .pth, .ckpt, .safetensors or .zip file, or a folder."""
    output: str = "converted"
    """Folder of the converted model."""
    tokenizer: str = ""
    """Folder or hub id of the tokenizer. By default the one its authors used."""
    text_heads: int = 0
    """Number of attention heads of the text tower; 0 for one per 64 features."""


@dataclass(frozen=True)
class ConvertConfig(Conversion, Settings):
    """Settings of a conversion."""

    positional: ClassVar[tuple[str, ...]] = ("checkpoint",)


@dataclass(frozen=True)
class ExportSettings:
    """export"""

    model: str = ""
    """Folder of a training run, or of a model."""
    output: str = "exported"
    """Folder of the ONNX files."""
    prompts: str = "chexpert14"
    """Prompt set to encode with the model, by name or as a YAML file."""
    int8: bool = False
    """Store weights in eight bits, for CPUs."""


@dataclass(frozen=True)
class ExportConfig(Machine, ExportSettings, Settings):
    """Settings of an export."""

    positional: ClassVar[tuple[str, ...]] = ("model",)


@dataclass(frozen=True)
class ClassifyInput:
    """questions"""

    model: str = ""
    """Folder of a training run, of a model, or of an export."""
    files: list[str] = field(default_factory=list)
    """Images, folders, or - for paths on standard input."""
    from_: str = ""
    """Archive to take films from instead of files, dicomweb:URL, with what studies are searched by:
    dicomweb:http://127.0.0.1:8042/dicom-web?StudyDate=20260101"""
    prompts: str = ""
    """Prompt set, by name or as a YAML file. By default chexpert14, or the one of the export."""
    classes: list[str] = field(default_factory=list)
    """Classes of which exactly one is present; their probabilities add up to 1."""
    abstain: bool = False
    """Answer present, absent or unsure, by what medclip-evaluate --save-abstention saved."""
    no_calibration: bool = False
    """Leave a saved calibration aside, and rank by scores."""


@dataclass(frozen=True)
class ClassifyOutput:
    """output"""

    format: Literal["table", "csv", "json"] = "table"
    """Format of the answers on the screen."""
    output: str = "-"
    """File of the answers, .csv or .json, or - for the screen."""
    heatmap: str = ""
    """Folder for heatmaps of --show, or else of the most likely observation other than No Finding, each with its bar of
    colours, the observation and its score."""
    show: list[str] = field(default_factory=list)
    """Observations to draw heatmaps of."""
    html: str = ""
    """Page of the films with their strongest answers and, where the model has patches, heatmaps. It shows patients'
    films, and stands for itself: nothing is fetched."""
    to: str = ""
    """DICOM objects to write about DICOM files, separated by commas: sr (structured report), seg (the regions most like
    --show, or else the most likely observation), sc (a picture of these regions)."""
    objects: str = "objects"
    """Folder for the DICOM objects."""
    send: str = ""
    """Archive to store the DICOM objects in, too, dicomweb:URL."""
    batch_size: int = 32
    """Number of images encoded at once."""
    device: str = "auto"
    """Device to compute on: auto, cpu, cuda, cuda:1, mps."""


@dataclass(frozen=True)
class ClassifyConfig(Machine, ClassifyOutput, ClassifyInput, Settings):
    """Settings of a classification."""

    positional: ClassVar[tuple[str, ...]] = ("model", "files")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(1, "batch_size")
        if self.from_ and self.files:
            raise UserError(f"Films come from files or from an archive. Found {self.files[0]} and --from {self.from_}.")
        if self.send and not self.to:
            raise UserError("--send stores the objects that --to writes. Say which: --to sr,seg,sc.")


@dataclass(frozen=True)
class DetectInput:
    """questions"""

    model: str = ""
    """Folder of a training run, or of a model."""
    files: list[str] = field(default_factory=list)
    """Images, folders, or - for paths on standard input."""
    phrases: list[str] = field(default_factory=list)
    """Phrases to find, in any words: 'left pleural effusion'."""
    prompts: str = ""
    """Prompt set whose observations to find, by name or as a YAML file. By default chexpert14, without a phrase."""
    observations: list[str] = field(default_factory=list)
    """Observations of the prompt set. By default all but No Finding."""
    words: str = ""
    """Sentence of which each word is to be found, instead of phrases."""


@dataclass(frozen=True)
class DetectOutput:
    """output"""

    least_score: float = 0.3
    """Score from which on a box is told, between 0 and 1."""
    most: int = 5
    """Number of boxes of a phrase in an image, at most."""
    same: float = 0.7
    """Share of the smaller of two boxes, of one phrase, from which on they are one."""
    maps: Literal["evidence", "patches"] = "evidence"
    """Where maps come from: gradients, or cosines of patches, for objectives that compare patches (filip, gloria)."""
    format: Literal["table", "csv", "json"] = "table"
    """Format of the boxes on the screen."""
    output: str = "-"
    """File of the boxes, .csv or .json, or - for the screen."""
    pictures: str = ""
    """Folder for pictures of the films with their boxes, or with the maps of --words."""
    batch_size: int = 32
    """Number of images encoded at once."""
    device: str = "auto"
    """Device to compute on: auto, cpu, cuda, cuda:1, mps."""


@dataclass(frozen=True)
class DetectConfig(Machine, DetectOutput, DetectInput, Settings):
    """Settings of a detection."""

    positional: ClassVar[tuple[str, ...]] = ("model", "files")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(1, "batch_size", "most")
        for name in ("least_score", "same"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)}: must lie between 0 and 1.")
        if self.words and (self.phrases or self.prompts):
            raise UserError("--words is about the words of one sentence. Leave --phrases and --prompts out.")
