"""Settings of preparation and labelling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from labelers.errors import UserError
from medclip.runs.settings.base import Columns, Machine, Settings


@dataclass(frozen=True)
class PrepareData:
    """data"""

    images: str = ""
    """Image sources, NAME or NAME=PATH, separated by commas."""
    texts: str = ""
    """Text sources, NAME or NAME=PATH, separated by commas."""
    data_root: str | None = None
    """Folder in which sources without a path are looked for."""
    source_options: dict[str, Any] = field(default_factory=dict)
    """Options of each source."""
    prepared: str = "prepared"
    """Folder for cached pixels and labelled sentences."""
    cache_size: int = 256
    """Side of the cached images, in pixels."""
    cache_format: Literal["", "npy", "litdata"] = ""
    """Format of the image cache. By default the one that is there, else npy. Object stores like litdata."""
    split_seed: int = 0
    """Seed that assigns patients to splits where the source declares none."""
    dicom: Literal["voi", "mimic-cxr-jpg"] = "voi"
    """How DICOM values become grey: by the file's own windows, or as MIMIC-CXR-JPG was made."""


@dataclass(frozen=True)
class LabelSettings:
    """labeler"""

    labeler: Literal["rules", "chexbert"] = "rules"
    """Which labeler to use."""
    checkpoint: str = ""
    """Checkpoint file or folder of chexbert."""
    vocabulary: str = "chexpert14"
    """Vocabulary of the rules, by name or as a folder of phrase files."""
    profile: str | None = None
    """Conventions of an annotation project for the rules to follow, such as openi."""
    attributes: str = ""
    """Attributes that get label columns of their own, separated by commas: side (left, right), size (small, large)."""

    def check_labeler(self) -> None:
        """Refuses what the chosen labeler would not look at.

        Raises:
            UserError: The labeler is a network, and an option of the rules is given.
        """
        for option, value in (("profile", self.profile), ("attributes", self.attributes)):
            if self.labeler != "rules" and value:
                raise UserError(f"--{option} belongs to the rules, not to --labeler {self.labeler}.")


@dataclass(frozen=True)
class PrepareRun:
    """run"""

    engine: Literal["local", "ray"] = "local"
    """What does the work: processes of this machine, or all machines of a Ray cluster."""
    workers: int = 1
    """Number of processes; 0 for one per core."""
    strict: bool = False
    """Treat an unreadable image as an error."""
    check: bool = False
    """Read all cached images and make those again whose file does not have its checksum."""


@dataclass(frozen=True)
class PrepareConfig(Columns, PrepareRun, LabelSettings, PrepareData, Settings):
    """Settings of a preparation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(1, "cache_size")
        self.at_least(0, "workers")


@dataclass(frozen=True)
class LabelInput:
    """input"""

    input: str = "-"
    """A .csv, .tsv, .xlsx, .parquet, .json or .jsonl file, a folder or .zip of .txt files, a source (openi=PATH), or -
    for standard input."""
    id_column: str = ""
    """Column that names a report. By default study_id, id, accession and the like, else the row."""
    text_column: str = ""
    """Columns with the text, separated by commas."""
    lines: bool = False
    """Take each line of standard input as a report of its own. By default all of it is one report."""
    data_root: str | None = None
    """Folder in which a source without a path is looked for."""
    source_options: dict[str, Any] = field(default_factory=dict)
    """Options of a source, for instance '{csv: {columns: {text: Report}}}'."""
    encoding: str = ""
    """Encoding of the reports, such as cp1252 or gb18030. By default UTF-8 or UTF-16, told by looking."""


@dataclass(frozen=True)
class LabelOutput:
    """output"""

    output: str = "-"
    """File of the labels, .csv or .parquet, or - for standard output."""
    sentences: str = ""
    """File for the sentence table, .csv or .parquet."""
    findings: str = ""
    """File for a record of every finding, .jsonl or .ndjson; needs the labeler rules."""
    findings_format: str = "jsonl"
    """Format of the findings: jsonl (records), fhir (FHIR R4 bundles) or radgraph (RadGraph-like JSON)."""
    explain: bool = False
    """Show why: as tables; as a page of the first 50 reports, or JSON of the first, if --output ends in .html or
    .json."""
    score: str = ""
    """Table of reference labels with the same ids; prints precision, recall and F1."""
    compare: str = ""
    """Table of other labels with the same ids; prints the agreement (kappa)."""
    engine: Literal["local", "ray"] = "local"
    """What does the work: processes of this machine, or all machines of a Ray cluster."""
    workers: int = 1
    """Number of processes; 0 for one per core."""


@dataclass(frozen=True)
class LabelConfig(Machine, LabelOutput, LabelSettings, LabelInput, Settings):
    """Settings of a labelling."""

    positional: ClassVar[tuple[str, ...]] = ("input",)
