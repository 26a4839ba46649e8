"""Settings of the commands: frozen dataclasses, which `medclip.config` fills from YAML and flags.

A field of a dataclass is a YAML key and a flag: `learning_rate` and `--learning-rate`.
"""

from __future__ import annotations

import dataclasses
from typing import Any


def setting(default: Any, help: str, *, group: str = "", positional: bool = False) -> Any:
    """Returns a dataclass field with a help text; mutable defaults are copied."""
    metadata = {"help": help, "group": group, "positional": positional}
    if isinstance(default, (dict, list)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Settings of `medclip-train`."""

    images: str = setting("phantom", "image sources, NAME or NAME=PATH, joined by commas", group="data")
    texts: str = setting("phantom", "text sources, NAME or NAME=PATH, joined by commas", group="data")
    data_root: str | None = setting(None, "folder in which sources without a path are looked for", group="data")
    source_options: dict[str, Any] = setting({}, "options by source, e.g. '{phantom: {studies: 20000}}'", group="data")
    prepared: str = setting("prepared", "folder for cached pixels and labelled sentences", group="data")
    workers: int = setting(1, "processes that prepare and load data", group="data")
    dicom: str = setting("voi", "DICOM to grey: voi, or mimic-cxr-jpg as that was made", group="data")
    exclude: str = setting("", "image sources whose patients are left out, such as chexpert-5x200", group="data")
    split_seed: int = setting(0, "decides which patients are in which split, where the source does not", group="data")
    observations: list[str] = setting([], "observations to learn; by default the 14 of CheXpert", group="labels")
    uncertain: str = setting("soft", "uncertain states become: zero, one, ignore or soft (0.5)", group="labels")
    negative: str = setting("opposite", "negative states become: absent (0) or opposite (-1)", group="labels")
    batch_images: int = setting(64, "images in a step, over all processes", group="sampling")
    batch_texts: int = setting(64, "sentences in a step, over all processes", group="sampling")
    image_weights: list[float] = setting(
        [], "relative weight of each image source; by default by size", group="sampling"
    )
    text_weights: list[float] = setting([], "relative weight of each text source; by default by size", group="sampling")
    balance_images: float = setting(0.0, "0: as they come, 1: rare observations as often as common", group="sampling")
    balance_texts: float = setting(0.0, "the same for sentences", group="sampling")
    repeats: float = setting(1.0, "0: each different sentence as often, 1: as often as it is said", group="sampling")
    limit: int = setting(0, "train on about so many images and reports, by patient; 0: all", group="sampling")
    limit_seed: int = setting(0, "decides which patients those are", group="sampling")
    pairs: float = setting(
        0.0, "share of texts drawn from the study of an image; objectives that need pairs take 1", group="sampling"
    )
    pair_text: str = setting("sentence", "what is drawn for a pair: a sentence, or the whole report", group="sampling")
    augmentation: dict[str, Any] = setting({}, "see medclip.data.transforms.Augmentation", group="sampling")
    augment_on: str = setting(
        "cpu", "where: cpu, in --workers processes; or device, in batches beside the model", group="sampling"
    )
    vision: str = setting(
        "small", "small, torchvision:ARCHITECTURE[:WEIGHTS], or a Hugging Face backbone", group="model"
    )
    text: str = setting("small", "small, or a Hugging Face text encoder", group="model")
    image_size: int = setting(224, "side of the images that the model sees, in pixels", group="model")
    cache_size: int = setting(256, "side of the cached images, in pixels", group="model")
    max_length: int = setting(77, "tokens of a text that the model sees", group="model")
    vocab_size: int = setting(4000, "of the tokenizer that is learned for the small text tower", group="model")
    projection_dim: int = setting(512, "size of embeddings", group="model")
    text_pooling: str = setting(
        "mean", "mean, max, layers (1, 2 and last, as in MedCLIP), last4 (GLoRIA) or cls", group="model"
    )
    vision_pooling: str = setting("mean", "mean or cls", group="model")
    vision_local: str = setting("shared", "where patches come from: shared, last or previous (GLoRIA)", group="model")
    projection: str = setting("linear", "linear, or mlp with a hidden layer (ConVIRT)", group="model")
    lock_vision: str = setting(
        "", "of the image tower, what is not trained: all, or the first so many layers", group="model"
    )
    lora_vision: int = setting(0, "rank of additions that are trained instead of the image tower", group="model")
    lora_text: int = setting(0, "the same of the text tower", group="model")
    unlock_after: float = setting(0.0, "share of the steps after which locked parts train too; 0: never", group="model")
    lock_text: str = setting("", "the same of the text tower", group="model")
    objective: str = setting("semantic-matching", "what is optimised", group="objective")
    objective_options: dict[str, Any] = setting({}, "options of the objective", group="objective")
    encode_batch: int = setting(
        0, "inputs encoded at once; larger batches go in parts, in little memory (0: all)", group="optimisation"
    )
    own_rows: bool = setting(
        False, "with several processes: each computes the losses of its own rows", group="optimisation"
    )
    steps: int = setting(0, "training steps; 0: as many as --epochs makes", group="optimisation")
    epochs: float = setting(10.0, "passes over the images, where --steps is 0", group="optimisation")
    learning_rate: float = setting(5e-5, "at its peak", group="optimisation")
    weight_decay: float = setting(1e-4, "of matrices", group="optimisation")
    warmup: float = setting(0.1, "share of the steps in which the learning rate rises", group="optimisation")
    clip_norm: float = setting(1.0, "bound of the gradient norm, 0 for none", group="optimisation")
    prompts: str = setting("chexpert14", "prompt set of the validation, a name or a YAML file", group="validation")
    evaluate_every: int = setting(200, "steps between validations and checkpoints", group="validation")
    save_every: int = setting(0, "steps between checkpoints; 0: with each validation", group="run")
    keep: int = setting(2, "how many of the newest checkpoints are kept, beside the best", group="run")
    output: str = setting("runs/medclip", "folder of the run", group="run")
    seed: int = setting(0, "of weights, streams and augmentation", group="run")
    resume: str = setting("auto", "auto: go on where a killed run stopped; never; or a checkpoint", group="run")
    overwrite: bool = setting(False, "start again although --output holds a run", group="run")
    accelerator: str = setting("auto", "auto, cpu, gpu", group="run")
    devices: str = setting("auto", "auto, or how many on each node", group="run")
    nodes: int = setting(1, "machines; torchrun and SLURM start one process for each device", group="run")
    strategy: str = setting("auto", "how they share the work: auto, ddp, fsdp", group="run")
    compile: bool = setting(False, "compile the towers (minutes at first, then faster on a GPU)", group="run")
    profile: bool = setting(False, "measure the parts of a step, and show them in the end", group="run")
    loggers: str = setting("tensorboard", "tensorboard, wandb, mlflow, joined by commas; CSV always", group="run")
    precision: str | None = setting(None, "Lightning's; by default bf16-mixed on a GPU, 32-true elsewhere", group="run")
    threads: int = setting(0, "CPU threads of the arithmetic, 0: as many as there are cores", group="run")

    def __post_init__(self) -> None:
        _at_least(self, 1, "batch_images", "batch_texts", "image_size", "cache_size", "max_length", "projection_dim")
        _at_least(self, 1, "evaluate_every", "keep", "nodes")
        _at_least(
            self,
            0,
            "steps",
            "workers",
            "threads",
            "limit",
            "encode_batch",
            "save_every",
            "weight_decay",
            "clip_norm",
            "balance_images",
            "balance_texts",
        )
        if self.augment_on not in ("cpu", "device"):
            raise ValueError(f"--augment-on {self.augment_on}: write cpu or device.")
        if not (self.steps or self.epochs > 0) or not self.learning_rate > 0 or not 0 <= self.warmup <= 1:
            raise ValueError(
                f"Found epochs={self.epochs}, learning_rate={self.learning_rate}, warmup={self.warmup}. Epochs and the "
                "learning rate must be above 0, and warmup is a share of the steps, 0 to 1."
            )


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Settings of `medclip-evaluate`."""

    model: str = setting("", "a run folder of medclip-train, or a model folder", positional=True)
    on: str = setting("phantom", "image sources, NAME or NAME=PATH, joined by commas", group="data")
    texts: str = setting("", "text sources, for evaluators that need texts, such as retrieval", group="data")
    data_root: str | None = setting(None, "folder in which sources without a path are looked for", group="data")
    source_options: dict[str, Any] = setting({}, "options by source; by default those of the run", group="data")
    split: str = setting("test", "train, valid or test", group="data")
    split_seed: int | None = setting(None, "as in medclip-train; by default that of the run", group="data")
    prepared: str = setting("prepared", "folder for cached pixels", group="data")
    workers: int = setting(1, "processes that prepare data", group="data")
    protocol: str = setting("", "medclip-2022, gloria or chexzero: evaluate as was published", group="evaluation")
    evaluators: str = setting(
        "zero-shot", "joined by commas: zero-shot, retrieval, linear-probe, fine-tune, grounding, calibration",
        group="evaluation",
    )  # fmt: skip
    baselines: str = setting(
        "", "beside the model: untrained, supervised, or both joined by a comma", group="evaluation"
    )
    observations: list[str] = setting(
        [], "observations to ask about; by default those of the source", group="evaluation"
    )
    classes: list[str] = setting([], "classes of the multiclass score; by default CheXpert's five", group="evaluation")
    prompts: str = setting(
        "chexpert14",
        "prompt sets, by name or file (.yaml, or GLoRIA's constants.py), joined by commas",
        group="prompts",
    )
    ensemble: str = setting("embeddings", "of a side's prompts: embeddings, logits or max", group="prompts")
    standardise: bool = setting(
        False, "compare classes after standardising over the images, as GLoRIA", group="prompts"
    )
    prompt_draws: int = setting(5, "how often prompts are drawn anew, for the deviation over wordings", group="prompts")
    prompts_per_draw: int = setting(0, "prompts of a side in a draw; 0: half of them", group="prompts")
    shares: list[float] = setting([0.01, 0.1, 1.0], "of the labels, for linear-probe and fine-tune", group="evaluation")
    label_draws: int = setting(3, "how often each share of the labels is drawn", group="evaluation")
    resamples: int = setting(1000, "bootstrap resamples of patients, for intervals", group="evaluation")
    calibrate: bool = setting(
        False, "fit probabilities and thresholds on the valid split, and save them with the model", group="evaluation"
    )
    supervised_epochs: float = setting(
        10.0, "passes over the labels, for the supervised baseline and fine-tune", group="evaluation"
    )
    seed: int = setting(0, "of resampling, draws and baselines", group="evaluation")
    examples: int = setting(
        0, "images and texts to show in the report: patients' data, so none unless asked", group="output"
    )
    output: str = setting("", "folder of the results; by default evaluation/ in the run folder", group="output")
    device: str = setting("auto", "auto, cpu, cuda, cuda:1, mps", group="output")


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """Settings of `medclip-search`."""

    model: str = setting("", "a run folder of medclip-train, or a model folder", positional=True)
    queries: list[str] = setting([], "texts, or files of images", positional=True)
    index: str = setting("", "file of the index; built if it is not there", group="index")
    images: str = setting("", "image sources to build it of, joined by commas", group="index")
    texts: str = setting("", "or text sources, whose sentences it is to hold", group="index")
    data_root: str | None = setting(None, "folder in which sources without a path are looked for", group="index")
    source_options: dict[str, Any] = setting({}, "options by source; by default those of the run", group="index")
    prepared: str = setting("prepared", "folder for cached pixels and sentences", group="index")
    workers: int = setting(1, "processes that prepare data", group="index")
    k: int = setting(5, "how many to find", group="output")
    format: str = setting("table", "table or json", group="output")
    device: str = setting("auto", "auto, cpu, cuda, cuda:1, mps", group="output")

    def __post_init__(self) -> None:
        _at_least(self, 1, "k", "workers")


@dataclasses.dataclass(frozen=True)
class CurveConfig:
    """Settings of `medclip-curve`."""

    sizes: str = setting("20000,50000,100000,200000", "training images and reports, joined by commas", group="curve")
    objectives: str = setting("semantic-matching,gloria,convirt", "joined by commas", group="curve")
    arms: dict[str, Any] = setting(
        {}, "instead of --objectives: settings of medclip-train by the name of an arm", group="curve"
    )
    seeds: int = setting(3, "runs at each size, of other weights, patients and orders", group="curve")
    budget: str = setting("steps", "as many steps at each size, or as many epochs", group="curve")
    metrics: str = setting("auroc/mean,accuracy", "what to draw, the first decides who needs fewer", group="curve")
    recipe: str = setting("", "YAML of medclip-train with everything that the arms share", group="training")
    images: str = setting("", "image sources; by default those of the recipe", group="training")
    texts: str = setting("", "text sources; by default those of the recipe", group="training")
    data_root: str | None = setting(None, "folder in which sources without a path are looked for", group="training")
    on: str = setting("", "image sources to evaluate on; by default those of the training", group="training")
    evaluators: str = setting("zero-shot", "what to evaluate, joined by commas", group="training")
    resamples: int = setting(200, "bootstrap resamples of each evaluation", group="training")
    published: str = setting("", "protocol whose published numbers are drawn too, such as medclip-2022", group="curve")
    output: str = setting("runs/curve", "folder of the points, the table and the figure", group="run")
    workers: int = setting(1, "points trained at the same time, one a GPU where there are GPUs", group="run")
    point: int = setting(-1, "train this point only, for array jobs; --list numbers them", group="run")
    list: bool = setting(False, "show the points, their numbers and which are done", group="run")


@dataclasses.dataclass(frozen=True)
class ConvertConfig:
    """Settings of `medclip-convert`."""

    checkpoint: str = setting("", "a .bin, .pt, .pth, .ckpt, .safetensors or .zip file, or a folder", positional=True)
    output: str = setting("converted", "folder of the model", group="output")
    tokenizer: str = setting("", "folder or hub id of the tokenizer; by default the authors' own", group="input")
    text_heads: int = setting(0, "attention heads of the text tower; 0: one for 64 features", group="input")


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Settings of `medclip-export`."""

    model: str = setting("", "a run folder of medclip-train, or a model folder", positional=True)
    output: str = setting("exported", "folder of the ONNX files", group="output")
    prompts: str = setting("chexpert14", "prompt set to encode with it, a name or a YAML file", group="output")
    int8: bool = setting(False, "weights in eight bits, for CPUs", group="output")


@dataclasses.dataclass(frozen=True)
class ClassifyConfig:
    """Settings of `medclip-classify`."""

    model: str = setting("", "a run folder, a model folder, or an exported folder", positional=True)
    files: list[str] = setting([], "images, folders, or - for paths on stdin", positional=True)
    prompts: str = setting(
        "", "prompt set, a name or a YAML file; by default chexpert14, or the export's", group="questions"
    )
    classes: list[str] = setting([], "exactly one of these is there: their probabilities", group="questions")
    format: str = setting("table", "table, csv or json", group="output")
    output: str = setting("-", "file of the answers, - for the screen", group="output")
    heatmap: str = setting("", "folder for heatmaps of what is most likely, or of --show", group="output")
    show: list[str] = setting([], "observations to draw heatmaps of", group="output")
    batch_size: int = setting(32, "images encoded at once", group="run")
    device: str = setting("auto", "auto, cpu, cuda, cuda:1, mps", group="run")


@dataclasses.dataclass(frozen=True)
class PrepareConfig:
    """Settings of `medclip-prepare`."""

    images: str = setting("", "image sources, NAME or NAME=PATH, joined by commas", group="data")
    texts: str = setting("", "text sources, NAME or NAME=PATH, joined by commas", group="data")
    data_root: str | None = setting(None, "folder in which sources without a path are looked for", group="data")
    source_options: dict[str, Any] = setting({}, "options by source", group="data")
    prepared: str = setting("prepared", "folder for cached pixels and labelled sentences", group="data")
    cache_size: int = setting(256, "side of the cached images, in pixels", group="data")
    split_seed: int = setting(0, "decides which patients are in which split", group="data")
    engine: str = setting("local", "what does the work: local, or ray, on all machines of a cluster", group="run")
    workers: int = setting(1, "processes", group="data")
    dicom: str = setting("voi", "DICOM to grey: voi, or mimic-cxr-jpg as that was made", group="data")
    strict: bool = setting(False, "an unreadable image is an error", group="data")


@dataclasses.dataclass(frozen=True)
class LabelConfig:
    """Settings of `medclip-label`."""

    input: str = setting(
        "-", ".csv, .parquet, .jsonl, folder or .zip of .txt, a source (openi=PATH), or - for stdin", positional=True
    )
    output: str = setting("-", "the labels: a .csv or .parquet file, or - for stdout", group="output")
    sentences: str = setting("", "also write the sentence table here, .csv or .parquet", group="output")
    findings: str = setting("", "rules: write a record of every finding here, .jsonl or .ndjson", group="output")
    findings_format: str = setting("jsonl", "jsonl (records), fhir (FHIR R4 bundles) or radgraph", group="output")
    id_column: str = setting("", "column that names a report; by default study_id, id, or the row", group="input")
    text_column: str = setting("", "column or columns with the text, joined by commas", group="input")
    labeler: str = setting("rules", "rules, or chexbert", group="labels")
    checkpoint: str = setting("", "chexbert: its checkpoint file or folder", group="labels")
    vocabulary: str = setting(
        "chexpert14", "rules: what to look for, a name or a folder of phrase files", group="labels"
    )
    profile: str | None = setting(None, "rules: conventions of an annotation project, such as openi", group="labels")
    explain: bool = setting(False, "show why: a table, or a page or JSON if --output ends so", group="output")
    score: str = setting("", "compare with these labels (a .csv with the same ids) and print P, R, F1", group="output")
    compare: str = setting("", "agreement (kappa) with the labels in this .csv", group="output")
    engine: str = setting("local", "what does the work: local, or ray, on all machines of a cluster", group="run")
    workers: int = setting(1, "processes; 0 for one a core", group="output")


def _at_least(config: Any, least: float, *names: str) -> None:
    for name in names:
        if not getattr(config, name) >= least:
            flag = "--" + name.replace("_", "-")
            raise ValueError(f"{flag} {getattr(config, name)}: must be at least {least:g}.")
