"""medclip-evaluate: what a trained model can do, on images it was not trained on."""

from __future__ import annotations

import dataclasses
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from medclip.cli.console import command, progress_bar, quieten
from medclip.config import given, read_config
from medclip.evaluation.protocol import load_protocol, sources_of
from medclip.evaluation.report import Results
from medclip.settings import EvaluateConfig
from medclip.sources import find_sources

if TYPE_CHECKING:
    from medclip.data.prepare import Prepared
    from medclip.data.source import Source
    from medclip.evaluation.evaluators import EvaluationData, Evaluator
    from medclip.models import MedCLIPModel, MedCLIPProcessor
    from medclip.utils.progress import Progress

logger = logging.getLogger(__name__)

_EXAMPLES = """\
examples:
  medclip-evaluate runs/phantom --on phantom --baselines untrained,supervised
  medclip-evaluate runs/mine --on nih=/data/CXR8 --observations '[Pneumothorax, Edema]'
  medclip-evaluate runs/mine/model --on csv=my/images.csv --prompts my-prompts.yaml --output results
  medclip-evaluate runs/mine --on mimic-cxr --texts mimic-reports --evaluators zero-shot,retrieval,calibration
  medclip-evaluate runs/mine --on rsna --evaluators linear-probe,fine-tune,grounding --shares '[0.01, 0.1, 1.0]'
  medclip-evaluate runs/mine --on chexpert-5x200 --protocol medclip-2022 --prompts chexpert14,medclip/constants.py

Results: report.html to read; metrics.json (with everything needed to repeat the evaluation), tables as CSV and plots
as PNG to work with. Intervals are 95 % bootstrap intervals over patients. Whatever is fitted or chosen is fitted and
chosen on other splits and other patients than those reported on."""

BASELINES = ("untrained", "supervised")


def run(argv: list[str]) -> int:
    """Evaluates a model as configured."""
    config = read_config(
        EvaluateConfig, argv, prog="medclip-evaluate", description="Evaluate a model without training it on the task.",
        examples=_EXAMPLES,
    )  # fmt: skip
    folder, trained = find_model(config.model)
    if not config.source_options:
        config = dataclasses.replace(config, source_options=trained.get("source_options", {}))
    protocol = load_protocol(config.protocol) if config.protocol else None
    config, departures = protocol.apply(config, given(argv)) if protocol else (config, [])
    baselines = _names(config.baselines)
    if unknown := set(baselines) - set(BASELINES):
        raise ValueError(f"--baselines: found {', '.join(sorted(unknown))}; choose from {', '.join(BASELINES)}.")
    root = config.data_root or trained.get("data_root")
    find = partial(find_sources, data_root=root, options=config.source_options)
    sources, text_sources = find(config.on), find(config.texts) if config.texts else []

    from medclip.data.prepare import declared_of, prepare_images, prepare_sentences
    from medclip.utils.plugins import load_plugin

    kinds = {name: load_plugin("evaluation.evaluators", name) for name in _names(config.evaluators)}
    model, processor = load_model(folder, config.device)
    split_seed = config.split_seed if config.split_seed is not None else int(trained.get("split_seed", 0))
    declared = declared_of([*sources, *text_sources])
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
                declared=declared,
            )
            for source in sources
        ]
        texts = [
            prepare_sentences(
                source,
                folder=Path(config.prepared),
                split_seed=split_seed,
                workers=config.workers,
                progress=progress,
                declared=declared,
            )
            for source in text_sources
        ]
        data = _data(sources, prepared, texts, config, processor)
        if config.calibrate:
            _calibrate(data, config, model, processor, folder)
        _check_names(data, config)
        built = {name: _build(kind, data, config, trained, progress) for name, kind in kinds.items()}
        ceiling = load_plugin("evaluation.evaluators", "supervised")
        supervised = _build(ceiling, data, config, trained, progress) if "supervised" in baselines else None
        results = {("model", name): evaluator(model, processor) for name, evaluator in built.items()}
        if "untrained" in baselines:
            fresh = _untrained(model, config.seed)
            results |= {("untrained", name): evaluator(fresh, processor) for name, evaluator in built.items()}
        if supervised is not None:
            results["supervised", "zero-shot"] = supervised(model, processor)
    output = Path(config.output) if config.output else _default_output(config.model)
    made = Results(
        results, _about(data, folder), dataclasses.asdict(config), [side.manifest for side in (*prepared, *texts)],
        protocol, departures, sources_of(config.on),
    )  # fmt: skip
    made.write(output)
    made.show(output)
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
    """Returns the model in evaluation mode on `device`, and its processor.

    Raises:
        ValueError: there is no such device.
    """
    import torch

    from medclip.models import MedCLIPModel, MedCLIPProcessor

    quieten()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        place = torch.device(device.lower())
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:100]
        raise ValueError(
            f"--device {device}: not to be had here ({reason}). Write auto, cpu, cuda, cuda:1 or mps."
        ) from error
    model = MedCLIPModel.from_pretrained(str(folder)).to(place).eval()
    model.vision.to(memory_format=torch.channels_last)
    return model, MedCLIPProcessor.from_pretrained(folder)


def _data(
    sources: list[Source],
    prepared: list[Prepared],
    texts: list[Prepared],
    config: EvaluateConfig,
    processor: MedCLIPProcessor,
) -> EvaluationData:
    import pandas as pd

    from medclip.data.boxes import prepare_boxes
    from medclip.data.cache import PixelCache
    from medclip.data.prepare import together
    from medclip.evaluation.evaluators import EvaluationData

    images = pd.concat([side.images for side in prepared if side.images is not None], ignore_index=True)
    cache = PixelCache(Path(config.prepared) / "cache", processor.cache_size, dicom=processor.dicom)
    sentences, occurrences = together(texts) if texts else (None, None)
    boxes = None
    if "grounding" in _names(config.evaluators):
        reported = images[images["split"] == config.split]
        found = [prepare_boxes(source, reported) for source in sources]
        kept = [table for table in found if table is not None]
        boxes = pd.concat(kept, ignore_index=True) if kept else None
    return EvaluationData(images, cache, split=config.split, sentences=sentences, occurrences=occurrences, boxes=boxes)


def _check_names(data: EvaluationData, config: EvaluateConfig) -> None:
    """Stops where an observation or a class was asked for that the images do not know.

    Raises:
        ValueError: with the nearest that they know.
    """
    from medclip.data.tables import observations_of
    from medclip.utils.text import suggest

    known = observations_of(data.images)
    for name in (*config.observations, *config.classes):
        if name not in known:
            raise ValueError(f"These images know no {name!r}.{suggest(name, known)} They know {', '.join(known)}.")


def _calibrate(
    data: EvaluationData, config: EvaluateConfig, model: MedCLIPModel, processor: MedCLIPProcessor, folder: Path
) -> None:
    """Fits probabilities and thresholds on the valid split and saves them beside the weights.

    Raises:
        ValueError: the valid split is what is to be reported on, or there is none.
    """
    from medclip.data.tables import label_matrix
    from medclip.inference.classifier import ZeroShotClassifier
    from medclip.inference.embed import encode_images

    rows = data.other("valid")
    if rows.empty:
        raise ValueError("--calibrate fits on the valid split, and these images have none.")
    classifier = ZeroShotClassifier(model, processor, config.prompts)
    embeds = encode_images(model, rows["_key"].tolist(), data.cache, processor)
    made = classifier.calibrate(embeds, label_matrix(rows, classifier.observations), prompts=config.prompts)
    made.save(folder)
    logger.info("Calibrated %d observations on %d validation images", len(made.slope), made.rows)


def _about(data: EvaluationData, folder: Path) -> dict[str, Any]:
    from medclip.data.test_sets import checksum

    rows = data.rows()
    return {
        "split": data.split,
        "images": len(rows),
        "patients": rows["patient_id"].nunique(),
        "patients_trained_on": _trained_on(folder, data),
        "checksum": checksum(rows["image_id"]),
    }


def _trained_on(folder: Path, data: EvaluationData) -> int | None:
    """Returns how many patients of the split the model was trained on, None where that is not known; warns of any."""
    from medclip.data.subsets import fingerprints

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


def _build(
    kind: type[Evaluator], data: EvaluationData, config: EvaluateConfig, trained: dict[str, Any], progress: Progress
) -> Evaluator:
    """Returns an evaluator, built from those settings that its constructor has."""
    import inspect

    from medclip.data.transforms import augmentation_from

    settings = dataclasses.asdict(config) | {
        "draws": config.prompt_draws,
        "per_draw": config.prompts_per_draw,
        "epochs": config.supervised_epochs,
        "augmentation": augmentation_from(trained.get("augmentation", {})),
        "progress": partial(progress, f"training: {kind.__name__}"),
    }
    taken = inspect.signature(kind).parameters
    return kind(data, **{name: value for name, value in settings.items() if name in taken})  # type: ignore[call-arg]


def _untrained(model: MedCLIPModel, seed: int) -> MedCLIPModel:
    import torch

    from medclip.models import MedCLIPModel

    torch.manual_seed(seed)
    return MedCLIPModel(model.config).to(model.device).eval()


def _default_output(model: str) -> Path:
    root = Path(model)
    return (root.parent if root.name == "model" else root) / "evaluation"


main = command(run)
