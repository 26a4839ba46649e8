"""Settings of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from labelers.errors import UserError
from medclip.runs.settings.base import Columns, Machine, Settings


@dataclass(frozen=True)
class EvaluationInput:
    """data"""

    model: str = ""
    """Folder of a training run, or of a model."""
    on: str = ""
    """Image sources to evaluate on, NAME or NAME=PATH, separated by commas."""
    texts: str = ""
    """Text sources, for evaluators that need texts, such as retrieval."""
    data_root: str | None = None
    """Folder in which sources without a path are looked for."""
    source_options: dict[str, Any] = field(default_factory=dict)
    """Options of each source. By default those of the training run."""
    severity: str = ""
    """CSV file of readers' severity scores, by image_id or path, for the evaluator severity."""
    severity_readers: list[str] = field(default_factory=list)
    """Columns of that file, one a reader."""
    split: Literal["train", "valid", "test"] = "test"
    """Split to report on."""
    split_seed: int | None = None
    """Seed that assigns patients to splits. By default that of the training run."""
    prepared: str = "prepared"
    """Folder for cached pixels and labelled sentences."""
    workers: int = 1
    """Number of processes that prepare data."""


@dataclass(frozen=True)
class EvaluationSettings:
    """evaluation"""

    protocol: str = ""
    """Published protocol to follow: medclip-2022, gloria, chexzero, carzero-2024, denial-2026 or cxr-lt-2026."""
    evaluators: str = "zero-shot"
    """Evaluators, separated by commas: zero-shot, flip, attributes, retrieval, few-shot, linear-probe, fine-tune,
    grounding, detection, calibration, subgroups, abstention, severity, composed,
    prompt-styles."""
    maps: Literal["evidence", "patches"] = "evidence"
    """Where maps of grounding and detection come from: gradients, or cosines of patches, for objectives that compare
    patches (filip, gloria)."""
    baselines: str = ""
    """Baselines beside the model, separated by commas: untrained, supervised."""
    references: list[str] = field(default_factory=list)
    """Other runs that were evaluated on the same several test sets, for the line of effective robustness."""
    observations: list[str] = field(default_factory=list)
    """Observations to ask about. By default those of the source."""
    unseen: list[str] = field(default_factory=list)
    """Observations that count as unseen in zero-shot. By default those that the run did not learn from."""
    classes: list[str] = field(default_factory=list)
    """Classes of the multiclass score. By default CheXpert's five."""
    shares: list[float] = field(default_factory=lambda: [0.01, 0.1, 1.0])
    """Shares of the labels that linear-probe and fine-tune learn from."""
    shots: list[int] = field(default_factory=lambda: [1, 2, 4, 8, 16])
    """Labelled images of the rarer state that few-shot learns from, beside none and all."""
    shot_draws: int = 20
    """Number of draws of each number of shots."""
    blank: Literal["source", "ignore", "negative"] = "source"
    """What a blank label is where labels are learned or fitted on: negative where the source says so (CheXpert and
    MIMIC-CXR), never known, or always negative. In the split reported on, blanks do not count."""
    label_draws: int = 3
    """Number of draws of each share of the labels."""
    resamples: int = 1000
    """Number of bootstrap resamples of patients, for intervals."""
    calibrate: bool = False
    """Fit probabilities and thresholds on the valid split, and save them with the model."""
    least_positives: int = 10
    """Positive, and negative, validation images that an observation needs to be calibrated."""
    abstention_error: float = 0.1
    """Share of the patients with a state in whom abstention may exclude it."""
    save_abstention: bool = False
    """Fit when to answer present, absent or unsure on the valid split, and save it with the model."""
    severity_observation: str = "Lung Opacity"
    """Observation whose score is compared with the readers' severity scores."""
    supervised_epochs: float = 10.0
    """Number of passes over the labels, for the supervised baseline and fine-tune."""
    seed: int = 0
    """Seed of resampling, draws and baselines."""


@dataclass(frozen=True)
class PromptSettings:
    """prompts"""

    prompts: str = "chexpert14"
    """Prompt sets, by name or as files (.yaml, or GLoRIA's constants.py), separated by commas. With the default,
    other observations of the images, such as COVID-19, are asked about by the set others."""
    prompt_styles: list[str] = field(default_factory=lambda: ["report", "terse", "plain", "question", "misspelt", "zh"])
    """Styles that prompt-styles compares: report, terse, plain, question, misspelt, zh, or prompt sets of any name."""
    ensemble: Literal["embeddings", "logits", "max"] = "embeddings"
    """How several prompts become one score: mean embedding, mean cosine, or largest cosine."""
    standardise: bool = False
    """Standardise the scores of each class over the images before classes are compared, as GLoRIA does."""
    prompt_draws: int = 5
    """Number of random draws of prompts, for the deviation over wordings."""
    prompts_per_draw: int = 0
    """Number of prompts of each side in a draw; 0 for half of them."""


@dataclass(frozen=True)
class EvaluationOutput:
    """output"""

    examples: int = 0
    """Number of films, with the model's maps, and texts that each evaluator shows in the report. They are patients'
    data, so none by default."""
    output: str = ""
    """Folder of the results. By default evaluation/SOURCE in the run folder."""
    overwrite: bool = False
    """Replace the results of another evaluation in that folder."""
    device: str = "auto"
    """Device to compute on: auto, cpu, cuda, cuda:1, mps."""


@dataclass(frozen=True)
class EvaluateConfig(Machine, Columns, EvaluationOutput, PromptSettings, EvaluationSettings, EvaluationInput, Settings):
    """Settings of an evaluation."""

    positional: ClassVar[tuple[str, ...]] = ("model",)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least(0, "resamples", "examples", "prompt_draws", "prompts_per_draw", "workers", "supervised_epochs")
        self.at_least(1, "shot_draws", "label_draws", "least_positives")
        if not self.evaluators.strip(", "):
            raise UserError("--evaluators names none; expected such as zero-shot,few-shot.")
        if any(shots < 0 for shots in self.shots):
            raise UserError(f"--shots {self.shots}: must be numbers of images, 0 or more.")
        if not self.shares or not all(0 < share <= 1 for share in self.shares):
            raise UserError(f"--shares {self.shares}: must be shares of the labels, above 0 and at most 1.")
        if not 0 < self.abstention_error < 0.5:
            raise UserError(f"--abstention-error {self.abstention_error:g}: must lie between 0 and 0.5, such as 0.1.")
