"""medclip-classify: what is in these images?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medclip.cli.console import command, print_table, progress_bar
from medclip.config import read_config
from medclip.data.image_files import find_images
from medclip.settings import ClassifyConfig

if TYPE_CHECKING:
    from medclip.inference.scoring import PromptScores

_EXAMPLES = """\
examples:
  medclip-classify runs/phantom chest.dcm
  medclip-classify runs/mine/model folder/ --prompts my-prompts.yaml --format csv --output answers.csv
  medclip-classify runs/mine chest.png --heatmap maps --show '[Cardiomegaly, Pneumothorax]'
  find /data -name '*.dcm' | medclip-classify exported - --format json

Probabilities are calibrated where medclip-evaluate --calibrate has been run on the model; otherwise they are a ranking.
Files that cannot be read are listed with the reason, and do not stop the others.
Research software. Not a medical device."""


def run(argv: list[str]) -> int:
    """Classifies files as configured."""
    config = read_config(
        ClassifyConfig, argv, prog="medclip-classify", description="Classify images by prompts.", examples=_EXAMPLES
    )
    if config.format not in ("table", "csv", "json"):
        raise ValueError(f"--format {config.format}: write table, csv or json.")
    paths = list(_paths(config.files))
    if config.model and config.files and not paths:
        raise ValueError(f"There are no images in {', '.join(config.files)}: no pictures, and no DICOM files.")
    if not config.model or not paths:
        raise ValueError("Which model, which images? medclip-classify MODEL FILES... (a folder, or - for stdin)")
    classifier = _classifier(config)
    if unknown := [n for n in (*config.classes, *config.show) if n not in classifier.observations]:
        raise ValueError(f"There are no prompts for {', '.join(unknown)}; known: {', '.join(classifier.observations)}.")
    columns = config.classes or classifier.observations
    good, answers, problems = _answer(config, classifier, paths, columns)
    _write(config, columns, good, answers, problems, _thresholds(classifier, config))
    return 1 if problems else 0


def _paths(files: list[str]) -> Iterator[str]:
    for name in files:
        if name == "-":
            yield from (line.strip() for line in sys.stdin if line.strip())
        elif Path(name).is_dir():
            yield from map(str, find_images(Path(name)))
        else:
            yield name


def _classifier(config: ClassifyConfig) -> PromptScores:
    from medclip.inference.onnx_classifier import MANIFEST, OnnxClassifier

    root = Path(config.model)
    if (root / MANIFEST).is_file():
        if config.heatmap:
            raise ValueError("--heatmap needs the patches of the image tower, which an export does not have.")
        return OnnxClassifier(root, config.prompts or None)
    from medclip.cli.evaluate import find_model, load_model
    from medclip.inference.classifier import ZeroShotClassifier
    from medclip.inference.scoring import Calibration

    folder, _ = find_model(config.model)
    model, processor = load_model(folder, config.device)
    prompts = config.prompts or "chexpert14"
    return ZeroShotClassifier(model, processor, prompts, calibration=Calibration.load(folder, prompts=prompts))


def _answer(
    config: ClassifyConfig, classifier: PromptScores, paths: list[str], columns: list[str]
) -> tuple[list[str], np.ndarray, dict[str, str]]:
    """Returns the paths that can be read, their answers (I, O), and the reason for each path that cannot.

    A batch of images is held at a time, and its heatmaps are drawn at once.
    """
    good: list[str] = []
    problems: dict[str, str] = {}
    rows = [np.empty((0, len(columns)))]
    with progress_bar() as progress:
        for start in range(0, len(paths), config.batch_size):
            images = _read(paths[start : start + config.batch_size], classifier.dicom, problems)
            if images:
                embeds = classifier.embed(list(images.values()))
                found = classifier.distribution(embeds, columns) if config.classes else classifier.probabilities(embeds)
                if not np.isfinite(found).all():
                    raise ValueError(
                        f"{config.model} computes NaN for {next(iter(images))}: its answers are no numbers. Its "
                        "weights are damaged, or its training failed; choose an earlier checkpoint."
                    )
                rows.append(found)
                good += images
                if config.heatmap:
                    _draw(config, classifier, images, columns, found)
            progress("classifying", min(start + config.batch_size, len(paths)), len(paths))
    return good, np.concatenate(rows), problems


def _read(paths: list[str], dicom: str, problems: dict[str, str]) -> dict[str, np.ndarray]:
    """Returns the images that can be read, by path; adds to `problems` why the others cannot."""
    from medclip.data.images import ImageError, read_image

    images = {}
    for path in paths:
        try:
            images[path] = read_image(path, dicom=dicom)
        except (ImageError, OSError) as error:
            problems[path] = getattr(error, "strerror", None) or str(error)
    return images


def _thresholds(classifier: PromptScores, config: ClassifyConfig) -> dict[str, float]:
    return classifier.calibration.threshold if classifier.calibration and not config.classes else {}


def _write(
    config: ClassifyConfig,
    columns: list[str],
    paths: list[str],
    answers: np.ndarray,
    problems: dict[str, str],
    thresholds: dict[str, float],
) -> None:
    import pandas as pd

    if config.format == "table" and config.output == "-" and not paths:
        print("None of the files can be read.")
    elif config.format == "table" and config.output == "-":
        rows = [
            [name, *(_cell(answers[i, j], thresholds.get(name)) for i in range(len(paths)))]
            for j, name in enumerate(columns)
        ]
        title = "Probabilities" if thresholds or config.classes else "Probabilities, not calibrated: a ranking only"
        print_table(
            title + (" (* above its threshold)" if thresholds else ""), ["", *(Path(p).name for p in paths)], rows
        )
    else:
        table = pd.DataFrame(answers.round(6), columns=columns)
        table.insert(0, "path", paths)
        table = pd.concat([table, pd.DataFrame({"path": list(problems), "error": list(problems.values())})])
        if config.format == "json":
            rows_ = [{k: v for k, v in row.items() if v == v} for row in table.to_dict("records")]
            text = json.dumps(rows_, indent=2) + "\n"
        else:
            text = table.to_csv(index=False)
        sys.stdout.write(text) if config.output == "-" else Path(config.output).write_text(text)
    for path, reason in problems.items():
        print(f"{path}: {reason}", file=sys.stderr)


def _cell(value: float, threshold: float | None) -> str:
    if value != value:
        return "-"
    return f"{value:.3f}{'*' if threshold is not None and value >= threshold else ''}"


def _draw(
    config: ClassifyConfig,
    classifier: Any,
    images: dict[str, np.ndarray],
    columns: list[str],
    answers: np.ndarray,
) -> None:
    """Writes the heatmaps asked for, or of the most likely observation of each image."""
    import torch
    from PIL import Image

    from medclip.data.images import fit_square
    from medclip.inference.heatmap import heatmaps, overlay, to_original

    folder = Path(config.heatmap)
    folder.mkdir(parents=True, exist_ok=True)
    for (path, image), row in zip(images.items(), answers, strict=True):
        shown = config.show or [columns[int(np.nanargmax(row))]]
        directions = classifier.positive[[classifier.observations.index(name) for name in shown]]
        with torch.inference_mode():
            encoded = classifier.model.encode_images(
                classifier.processor.images([image]).to(classifier.model.device), local=True
            )
        size = classifier.processor.cache_size
        _, geometry = fit_square(image, size)
        for name, found in zip(shown, heatmaps(encoded, directions)[0], strict=True):
            drawn = overlay(image, to_original(found, geometry, size=size))
            target = folder / f"{Path(path).stem}-{name.replace(' ', '_')}.png"
            Image.fromarray(drawn).save(target)
            print(f"{target}", file=sys.stderr)


main = command(run)
