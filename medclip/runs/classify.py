"""Answers about image files: what `medclip-classify` calls."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from labelers.errors import UserError
from labelers.hub import fetched
from medclip.data.images import ImageError, read_image
from medclip.inference.abstention import Abstention
from medclip.inference.calibration import Calibration
from medclip.inference.dicom_objects import KINDS, check_packages
from medclip.inference.load import find_model, load_model
from medclip.inference.onnx_classifier import MANIFEST, OnnxClassifier
from medclip.inference.prompts import load_prompts
from medclip.inference.scoring import PromptScores
from medclip.runs.classify_films import archive_to_send_to, find_films
from medclip.runs.classify_maps import draw_maps, drawing_names, maps_of, to_draw_on
from medclip.runs.classify_objects import ObjectWriter, object_writer
from medclip.runs.classify_page import AnswerPage
from medclip.runs.settings import ClassifyConfig
from medclip.utils.progress import Progress
from medclip.utils.text import names_in

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answers:
    """Answers about files.

    Attributes:
        columns: C observations or classes.
        paths: I files that could be read.
        values: (I, C) probabilities.
        problems: The reason for each file that could not be read.
        thresholds: By observation, the probability from which on it is called present; empty without a calibration.
        heatmaps: Files that were written.
        names: What drawings of each file are called.
        decisions: (I, C) 1 present, 0 absent, NaN unsure, where they were asked for.
        objects: DICOM objects that were written.
        page: The page of the films, where it was asked for.
        without_objects: Why no DICOM object could be made of a film that was answered.
        stored: Objects that an archive took.
        not_stored: Why an archive did not take an object.
    """

    columns: list[str]
    paths: list[str]
    values: np.ndarray
    problems: dict[str, str]
    thresholds: dict[str, float]
    heatmaps: list[Path]
    names: dict[str, str]
    decisions: np.ndarray | None = None
    objects: list[Path] = field(default_factory=list)
    page: AnswerPage | None = None
    without_objects: dict[str, str] = field(default_factory=dict)
    stored: list[Path] = field(default_factory=list)
    not_stored: dict[str, str] = field(default_factory=dict)


def classify(config: ClassifyConfig, *, progress: Progress | None = None) -> Answers:
    """Returns answers about all files that `config` names; a file that cannot be read does not stop the others.

    A batch of images is held at a time. Each image is encoded once, also where heatmaps are drawn.

    Raises:
        UserError: No model or file is named, a folder holds no image, or there are no prompts for an observation.
        ConnectionError: An archive cannot be asked.
        FileNotFoundError: There is no model.
    """
    if not config.model or not (config.files or config.from_):
        raise UserError("Which model, which images? medclip-classify MODEL FILES... (a folder, or - for stdin)")
    if config.abstain and config.classes:
        raise UserError("--abstain is about each observation for itself, and --classes about exactly one of several.")
    objects, target = _objects(config), archive_to_send_to(config)
    if not (Path(config.model) / MANIFEST).is_file():
        find_model(config.model)  # before an archive is asked
    films = find_films(config)
    paths = films.names
    classifier = load(
        config.model, prompts=config.prompts, device=config.device, calibrated=not config.no_calibration,
        threads=config.threads,
    )  # fmt: skip
    if (config.heatmap or {"seg", "sc"} & set(objects)) and not hasattr(classifier, "locate"):
        raise UserError("--heatmap, --to seg and --to sc need gradients of the image tower, which an export has not.")
    if unknown := [n for n in (*config.classes, *config.show) if n not in classifier.observations]:
        raise UserError(f"There are no prompts for {', '.join(unknown)}; known: {', '.join(classifier.observations)}.")
    if classifier.positive_only and not config.classes:
        logger.warning(
            "Of %s there are positive prompts only, so their numbers are no chances and do not compare with those of "
            "others. Add negative prompts, or compare these with each other: --classes",
            ", ".join(classifier.positive_only),
        )  # fmt: skip
    columns = config.classes or classifier.observations
    thresholds = _thresholds(classifier, config)
    answers = Answers(
        columns, [], np.empty((0, len(columns))), {}, thresholds, [], drawing_names(paths),
        page=AnswerPage(config.model, columns, thresholds, exclusive=bool(config.classes)) if config.html else None,
    )  # fmt: skip
    rules = load_abstention(config, classifier) if config.abstain else None
    writer = object_writer(config, objects, classifier, target) if objects else None
    parts, decided = [answers.values], [answers.values]
    for start in range(0, len(paths), config.batch_size):
        with films.files(paths[start : start + config.batch_size], answers.problems) as files:
            images = read_images(files, classifier, answers.problems)
            if images:
                found, scores = _answer(config, classifier, images, files, answers, writer)
                parts.append(found)
                if rules is not None:
                    decided.append(rules.answers(scores, columns))
        if progress is not None:
            progress("classifying", min(start + config.batch_size, len(paths)), len(paths))
    if answers.page is not None:
        answers.page.write(Path(config.html), answers.problems)
    decisions = None if rules is None else np.concatenate(decided)
    return replace(answers, values=np.concatenate(parts), decisions=decisions)


def load_abstention(config: ClassifyConfig, classifier: PromptScores) -> Abstention:
    """Returns the rules saved beside the model, for the scores of `classifier`.

    Raises:
        UserError: There are none, or they belong to other prompts or another ensemble.
    """
    root = Path(config.model)
    is_export = (root / MANIFEST).is_file()
    folder = root if is_export else find_model(config.model)[0]
    named = config.prompts or (classifier.prompt_set if isinstance(classifier, OnnxClassifier) else "chexpert14")
    rules = Abstention.load(folder, prompts=named)
    if rules.ensemble != classifier.ensemble:
        raise UserError(
            f"--abstain: the rules belong to scores of ensemble {rules.ensemble}, not {classifier.ensemble}. Fit them "
            f"again: medclip-evaluate ... --ensemble {classifier.ensemble} --save-abstention"
        )
    return rules


def load(
    model: str, *, prompts: str = "", device: str = "auto", calibrated: bool = True, threads: int = 0
) -> PromptScores:
    """Returns the classifier of a run, a model folder, an export or a hub id, with its calibration if it has one.

    It is called with a file, an array, or several, and returns a table: a row an image, a column an observation.

    Args:
        model: The folder or the hub id.
        prompts: A prompt set; by default chexpert14, or the one of the export.
        device: See `medclip.inference.load.load_model`.
        calibrated: Whether a saved calibration counts.
        threads: CPU threads, see `medclip.inference.load.load_model`.

    Raises:
        FileNotFoundError: There is no model in the folder.
        OSError: There is neither such a folder, nor can the hub id be had.

    Examples:
        >>> import medclip
        >>> import numpy as np
        >>> classifier = medclip.load("runs/mine", device="cpu")
        >>> classifier([np.zeros((64, 48), dtype=np.uint8)]).columns[:2].tolist()  # or paths, of DICOM too
        ['No Finding', 'Enlarged Cardiomediastinum']
    """
    if not Path(model).parent.is_dir():  # else a misspelt run would be asked for elsewhere
        model = fetched("model", str(model))
    root = Path(model)
    if (root / MANIFEST).is_file():
        exported = OnnxClassifier(root, prompts or None, threads=threads)
        exported.calibration = exported.calibration if calibrated else None
        return exported
    folder, _ = find_model(model)  # before torch is imported, which takes seconds
    load_prompts(prompts or "chexpert14")
    from medclip.inference.classifier import ZeroShotClassifier

    loaded, processor = load_model(folder, device=device, threads=threads)
    named = prompts or "chexpert14"
    saved = Calibration.load(folder, prompts=named) if calibrated else None
    return ZeroShotClassifier(loaded, processor, named, calibration=saved)


def read_images(files: dict[str, str], classifier: PromptScores, problems: dict[str, str]) -> dict[str, np.ndarray]:
    """Returns the images that can be read, by path, decoded as in training; adds to `problems` why others cannot."""
    images = {}
    for path, file in files.items():
        try:
            images[path] = read_image(file, at_least=classifier.cache_size, dicom=classifier.dicom)
        except (ImageError, OSError) as error:
            problems[path] = getattr(error, "strerror", None) or str(error)
    return images


def _thresholds(classifier: PromptScores, config: ClassifyConfig) -> dict[str, float]:
    return classifier.calibration.threshold if classifier.calibration and not config.classes else {}


def _answer(
    config: ClassifyConfig,
    classifier: PromptScores,
    images: dict[str, np.ndarray],
    files: dict[str, str],
    answers: Answers,
    writer: ObjectWriter | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the answers (I, C) about a batch of images, and their scores (I, O); draws heatmaps if asked for."""
    maps, page = None, config.html and hasattr(classifier, "locate")
    if config.heatmap or page or (writer and {"seg", "sc"} & set(writer.kinds)):
        embeds, maps = classifier.locate(list(images.values()))  # type: ignore[attr-defined]
    else:
        embeds = classifier.embed(list(images.values()))
    found = classifier.distribution(embeds, answers.columns) if config.classes else classifier.probabilities(embeds)
    if not np.isfinite(embeds).all():
        raise UserError(
            f"{config.model} computes NaN for {next(iter(images))}: its answers are no numbers. Its weights are "
            "damaged, or its training failed; choose an earlier checkpoint."
        )
    answers.paths.extend(images)
    shown = images
    if config.heatmap or answers.page is not None:
        shown = to_draw_on(images, files, dicom=classifier.dicom)
    drawn = {} if maps is None else maps_of(config, classifier, shown, maps, found)
    if config.heatmap:
        answers.heatmaps.extend(draw_maps(config, shown, drawn, found, answers))
    if answers.page is not None:
        answers.page.add(shown, found, drawn)
    if writer is not None:
        writer.write(shown, files, found, drawn, answers)
    return found, classifier.scores(embeds)


def _objects(config: ClassifyConfig) -> list[str]:
    """Returns the kinds of DICOM objects to write.

    Raises:
        UserError: A kind is unknown, or goes with nothing that is asked.
        ImportError: The package that writes them is missing.
    """
    kinds = names_in(config.to)
    if not kinds:
        return []
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise UserError(f"--to: found {', '.join(unknown)}; choose from {', '.join(KINDS)}.")
    check_packages()
    return kinds
