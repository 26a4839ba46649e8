"""medclip-evaluate: what a trained model can do, on images it was not trained on."""

from __future__ import annotations

import dataclasses
import json
import logging
import platform
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from medclip.cli.console import command, find_sources, print_table, progress_bar, quieten
from medclip.config import read_config
from medclip.settings import EvaluateConfig

if TYPE_CHECKING:
    from medclip.evaluation import EvaluationData, Evaluator, Result
    from medclip.models import MedCLIPModel, MedCLIPProcessor
    from medclip.prepare import Prepared, Progress

logger = logging.getLogger(__name__)

_EXAMPLES = """\
examples:
  medclip-evaluate runs/phantom --on phantom --baselines untrained,supervised
  medclip-evaluate runs/mine --on nih=/data/CXR8 --observations '[Pneumothorax, Edema]'
  medclip-evaluate runs/mine/model --on csv=my/images.csv --prompts my-prompts.yaml --output results

Results: metrics.json (with everything needed to repeat the evaluation), tables as CSV, plots as PNG.
Intervals are 95 % bootstrap intervals over patients."""

BASELINES = ("untrained", "supervised")


def run(argv: list[str]) -> int:
    """Evaluates a model as configured."""
    config = read_config(
        EvaluateConfig, argv, prog="medclip-evaluate", description="Evaluate a model without training it on the task.",
        examples=_EXAMPLES,
    )  # fmt: skip
    folder, trained = find_model(config.model)
    baselines = _names(config.baselines)
    if unknown := set(baselines) - set(BASELINES):
        raise ValueError(f"--baselines: found {', '.join(sorted(unknown))}; choose from {', '.join(BASELINES)}.")
    options = config.source_options or trained.get("source_options", {})
    find = partial(find_sources, data_root=config.data_root or trained.get("data_root"), options=options)
    sources, text_sources = find(config.on), find(config.texts) if config.texts else []

    from medclip.plugins import load_plugin
    from medclip.prepare import prepare_images, prepare_sentences

    kinds = {name: load_plugin("evaluation", name) for name in _names(config.evaluators)}
    model, processor = load_model(folder, config.device)
    split_seed = config.split_seed if config.split_seed is not None else int(trained.get("split_seed", 0))
    with progress_bar() as progress:
        prepared = [
            prepare_images(
                source,
                folder=Path(config.prepared),
                size=processor.cache_size,
                dicom=processor.dicom,
                split_seed=split_seed,
                workers=config.workers,
                progress=progress,
            )
            for source in sources
        ]
        texts = [
            prepare_sentences(
                source, folder=Path(config.prepared), split_seed=split_seed, workers=config.workers, progress=progress
            )
            for source in text_sources
        ]
        data = _data(prepared, texts, config, processor)
        if config.calibrate:
            _calibrate(data, config, model, processor, folder)
        built = {name: _build(kind, data, config) for name, kind in kinds.items()}
        results = {("model", name): evaluator(model, processor) for name, evaluator in built.items()}
        if "untrained" in baselines:
            fresh = _untrained(model, config.seed)
            results |= {("untrained", name): evaluator(fresh, processor) for name, evaluator in built.items()}
        if "supervised" in baselines:
            supervised = _supervised(data, config, trained, progress)
            results["supervised", "zero-shot"] = supervised(model, processor)
    output = Path(config.output) if config.output else _default_output(config.model)
    known = _trained_on(folder, data)
    _write(output, results, config, known, [side.manifest for side in (*prepared, *texts)], data)
    _print(results, output, config.split)
    return 0


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def find_model(path: str) -> tuple[Path, dict[str, Any]]:
    """Returns the model folder, and the settings it was trained with, if it is known."""
    if not path:
        raise ValueError("Which model? Name a run folder of medclip-train: medclip-evaluate runs/phantom --on phantom")
    root = Path(path)
    folder = root / "model" if (root / "model").is_dir() else root
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{path} holds no model: neither config.json nor model/config.json is there. "
            "Name the --output of a finished medclip-train."
        )
    settings = folder.parent / "config.yaml"
    return folder, yaml.safe_load(settings.read_text()) if settings.is_file() else {}


def load_model(folder: Path, device: str) -> tuple[MedCLIPModel, MedCLIPProcessor]:
    """Returns the model in evaluation mode on `device`, and its processor."""
    import torch

    from medclip.models import MedCLIPModel, MedCLIPProcessor

    quieten()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    model = MedCLIPModel.from_pretrained(str(folder)).to(device).eval()
    model.vision.to(memory_format=torch.channels_last)
    return model, MedCLIPProcessor.from_pretrained(folder)


def _data(
    prepared: list[Prepared], texts: list[Prepared], config: EvaluateConfig, processor: MedCLIPProcessor
) -> EvaluationData:
    import pandas as pd

    from medclip.cache import PixelCache
    from medclip.evaluation import EvaluationData
    from medclip.prepare import together

    images = pd.concat([side.images for side in prepared if side.images is not None], ignore_index=True)
    cache = PixelCache(Path(config.prepared) / "cache", processor.cache_size, dicom=processor.dicom)
    if not texts:
        return EvaluationData(images, cache, split=config.split)
    sentences, occurrences = together(texts)
    return EvaluationData(images, cache, split=config.split, sentences=sentences, occurrences=occurrences)


def _calibrate(
    data: EvaluationData, config: EvaluateConfig, model: MedCLIPModel, processor: MedCLIPProcessor, folder: Path
) -> None:
    """Fits probabilities and thresholds on the valid split and saves them beside the weights.

    Raises:
        ValueError: the valid split is what is to be reported on.
    """
    from medclip.classifier import ZeroShotClassifier
    from medclip.encode import encode_images
    from medclip.tables import label_matrix

    if config.split == "valid":
        raise ValueError("--calibrate fits on the valid split, so report on another one: --split test.")
    rows = data.rows("valid")
    classifier = ZeroShotClassifier(model, processor, config.prompts)
    embeds = encode_images(model, rows["_key"].tolist(), data.cache, processor)
    made = classifier.calibrate(embeds, label_matrix(rows, classifier.observations), prompts=config.prompts)
    made.save(folder)
    logger.info("Calibrated %d observations on %d validation images", len(made.slope), made.rows)


def _trained_on(folder: Path, data: EvaluationData) -> int | None:
    """Returns how many patients of the split the model was trained on, None where that is not known; warns of any."""
    from medclip.subsets import fingerprints

    path = folder.parent / "patients.txt"
    if not path.is_file():
        return None
    mine = fingerprints(data.rows()["patient_id"])
    known = len(mine & set(path.read_text().split()))
    if known:
        logger.warning(
            "%d of the %d patients were trained on, so these numbers flatter the model. Train it with --exclude.",
            known, len(mine),
        )  # fmt: skip
    return known


def _build(kind: type[Evaluator], data: EvaluationData, config: EvaluateConfig) -> Evaluator:
    """Returns an evaluator, built from those settings that its constructor has."""
    import inspect

    settings = {"prompts": config.prompts, "resamples": config.resamples, "seed": config.seed}
    settings |= {"observations": config.observations, "classes": config.classes, "epochs": config.supervised_epochs}
    taken = inspect.signature(kind).parameters
    return kind(data, **{name: value for name, value in settings.items() if name in taken})  # type: ignore[call-arg]


def _untrained(model: MedCLIPModel, seed: int) -> MedCLIPModel:
    import torch

    from medclip.models import MedCLIPModel

    torch.manual_seed(seed)
    return MedCLIPModel(model.config).to(model.device).eval()


def _supervised(data: EvaluationData, config: EvaluateConfig, trained: dict[str, Any], progress: Progress) -> Evaluator:
    from medclip.evaluation.supervised import Supervised
    from medclip.transforms import augmentation_from

    return Supervised(
        data, seed=config.seed, observations=config.observations, classes=config.classes,
        epochs=config.supervised_epochs, augmentation=augmentation_from(trained.get("augmentation", {})),
        resamples=config.resamples,
        progress=lambda done, total: progress("training the supervised baseline", done, total),
    )  # fmt: skip


def _default_output(model: str) -> Path:
    root = Path(model)
    return (root if (root / "model").is_dir() else root.parent) / "evaluation"


def _write(
    output: Path,
    results: dict[tuple[str, str], Result],
    config: EvaluateConfig,
    known: int | None,
    manifests: list[Any],
    data: EvaluationData,
) -> None:
    import numpy
    import pandas
    import torch
    import transformers

    import medclip
    from medclip.cache import write_atomically
    from medclip.selection import checksum

    output.mkdir(parents=True, exist_ok=True)
    metrics: dict[str, Any] = {
        "split": config.split,
        "images": len(data.rows()),
        "patients": data.rows()["patient_id"].nunique(),
        "patients_trained_on": known,
        "checksum": checksum(data.rows()["image_id"]),
    }
    for (who, name), result in results.items():
        metrics.setdefault(who, {})[name] = {
            key: None if value != value else round(value, 6) for key, value in result.metrics.items()
        }
        for table_name, table in result.tables.items():
            path = output / f"{who}-{table_name}.csv"
            write_atomically(path, lambda part, table=table: table.round(6).to_csv(part, index=False))  # type: ignore[misc]
        for figure_name, figure in result.figures.items():
            figure.savefig(output / f"{who}-{figure_name}.png", dpi=120)
    modules = {"medclip": medclip, "torch": torch, "transformers": transformers, "numpy": numpy, "pandas": pandas}
    metrics["how"] = {
        "settings": dataclasses.asdict(config),
        "sources": manifests,
        "versions": {"python": platform.python_version(), **{name: m.__version__ for name, m in modules.items()}},
    }
    text = json.dumps(metrics, indent=2)
    write_atomically(output / "metrics.json", lambda path: path.write_text(text))


def _print(results: dict[tuple[str, str], Result], output: Path, split: str) -> None:
    columns = list(dict.fromkeys(who for who, name in results))
    metrics: dict[str, dict[str, float]] = {who: {} for who in columns}
    for (who, _), result in results.items():
        metrics[who] |= result.metrics
    names = [n for n in metrics["model"] if not n.endswith(("/low", "/high", "/rows"))]
    order = [n for n in ("accuracy", "balanced_accuracy") if n in names] + [
        n for n in names if n.startswith(("auroc/", "precision@", "recall@"))
    ]
    rows = [[name, *(_cell(metrics[who], name) for who in columns)] for name in order]
    print_table(f"Zero-shot on the {split} split (95 % intervals)", ["metric", *columns], rows)
    print(f"Tables, plots and metrics.json: {output}")


def _cell(metrics: dict[str, float], name: str) -> str:
    value = metrics.get(name, float("nan"))
    if value != value:
        return "-"
    low, high = metrics.get(f"{name}/low", float("nan")), metrics.get(f"{name}/high", float("nan"))
    return f"{value:.3f} ({low:.3f}-{high:.3f})" if low == low else f"{value:.3f}"


main = command(run)
