"""Boxes for phrases in image files: what `medclip-detect` calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelers.errors import UserError
from labelers.observations import NO_FINDING
from medclip.data.images import image_shape, square_geometry
from medclip.inference.detection import Boxes, propose, suppress
from medclip.inference.load import find_model, load_model
from medclip.inference.prompts import Prompts, load_prompts
from medclip.runs.classify import read_images
from medclip.runs.classify_films import paths_of
from medclip.runs.classify_maps import drawing_names
from medclip.runs.settings import DetectConfig
from medclip.utils.io import write_atomically
from medclip.utils.progress import Progress
from medclip.utils.text import suggest

if TYPE_CHECKING:
    from medclip.inference.classifier import ZeroShotClassifier
    from medclip.inference.words import Words

#: Side of the square on which regions of a map are drawn.
_SIDE = 224


@dataclass(frozen=True)
class Found:
    """What was found in files.

    Attributes:
        rows: A dict a box: path, observation (or phrase), x, y, width, height in pixels of the file, score. With
            `words`, a dict a word: path, word, x, y of the highest place, and similarity.
        paths: Files that could be read.
        problems: The reason for each file that could not be read.
        pictures: Files that were written.
    """

    rows: list[dict[str, object]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    pictures: list[Path] = field(default_factory=list)


def detect(config: DetectConfig, *, progress: Progress | None = None) -> Found:
    """Returns boxes for all files that `config` names; a file that cannot be read does not stop the others.

    The score of a box is the mean of the map in it, as a share of the map's highest value, times the uncalibrated
    chance of an observation. A phrase has no contrary, so its score says where it would be, not whether it is there.

    Raises:
        UserError: No model or file is named, or there are no prompts for an observation.
        FileNotFoundError: There is no model.
    """
    paths = paths_of(config.files)
    if not config.model or not paths:
        raise UserError("Which model, which images? medclip-detect MODEL FILES... (a folder, or - for stdin)")
    folder, _ = find_model(config.model)  # before torch is imported, which takes seconds
    questions = _questions(config)
    from medclip.inference.classifier import ZeroShotClassifier

    model, processor = load_model(folder, device=config.device, threads=config.threads)
    classifier = ZeroShotClassifier(model, processor, questions)
    words = None
    if config.words:
        from medclip.inference.words import words_of

        words = words_of(model, processor, config.words, kind=config.maps)
    found, names = Found(), drawing_names(paths)
    for start in range(0, len(paths), config.batch_size):
        images = read_images(
            {path: path for path in paths[start : start + config.batch_size]}, classifier, found.problems
        )
        if images:
            found.paths.extend(images)
            look = _boxes if words is None else _words
            found.rows.extend(look(config, classifier, images, words, names, found.pictures))
        if progress is not None:
            progress("detecting", min(start + config.batch_size, len(paths)), len(paths))
    return found


def _questions(config: DetectConfig) -> dict[str, Prompts]:
    """Returns prompts by what a box is called: observations, then phrases.

    Raises:
        UserError: An observation has no prompts.
    """
    asked: dict[str, Prompts] = {}
    if config.prompts or not config.phrases:
        known = load_prompts(config.prompts or "chexpert14")
        for name in config.observations:
            if name not in known:
                near = suggest(name, list(known))
                raise UserError(f"There are no prompts for {name}.{near} Known: {', '.join(known)}.")
        names = config.observations or [name for name in known if name != NO_FINDING]
        asked = {name: known[name] for name in names}
    return asked | {phrase: Prompts((phrase,)) for phrase in config.phrases}


def _boxes(
    config: DetectConfig,
    classifier: ZeroShotClassifier,
    images: dict[str, np.ndarray],
    _: Words | None,
    names: dict[str, str],
    pictures: list[Path],
) -> Iterator[dict[str, object]]:
    """Yields the boxes in a batch of images, by falling score; draws them if asked for."""
    embeds, maps = classifier.locate(list(images.values()), kind=config.maps)
    chances = np.where(classifier.negative.counts > 0, classifier.probabilities(embeds), 1.0)
    for (path, image), own, chance in zip(images.items(), maps, chances, strict=True):
        found = []
        for name, heat, share in zip(classifier.observations, own, chance, strict=True):
            boxes = suppress(_in_pixels(heat, image), same=config.same).times(float(share))
            best = boxes.take(boxes.scores >= config.least_score).take(slice(config.most))
            found += [(name, box, score) for box, score in zip(best.corners, best.scores, strict=True)]
        found.sort(key=lambda one: -one[2])
        if config.pictures:
            pictures.append(_draw_boxes(Path(config.pictures) / f"{names[path]}-boxes.png", image, found))
        across, down = _file_pixels(path, image)
        for name, (left, top, right, bottom), score in found:
            yield {
                "path": path, "observation": name, "x": round(left * across, 2), "y": round(top * down, 2),
                "width": round((right - left) * across, 2), "height": round((bottom - top) * down, 2),
                "score": round(float(score), 4),
            }  # fmt: skip


def _words(
    config: DetectConfig,
    classifier: ZeroShotClassifier,
    images: dict[str, np.ndarray],
    words: Words | None,
    names: dict[str, str],
    pictures: list[Path],
) -> Iterator[dict[str, object]]:
    """Yields the highest place of each word in a batch of images; draws the maps if asked for."""
    from medclip.inference.heatmap import overlay, text_maps, to_original

    assert words is not None
    pixels, size = [classifier.processor.images(list(images.values()))], classifier.cache_size
    nothing = np.zeros_like(words.directions)
    embeds, maps = next(text_maps(classifier.model, pixels, words.directions, nothing, kind=config.maps))
    shares = embeds @ words.directions.T if config.maps == "evidence" else maps.max(axis=(2, 3))
    for (path, image), own, share in zip(images.items(), maps, shares, strict=True):
        height, width = image.shape
        heats = [to_original(heat, square_geometry(width, height, size), size=size) for heat in own]
        if config.pictures:
            drawn = [image, *(overlay(image, heat) for heat in heats)]
            pictures.append(_sheet(Path(config.pictures) / f"{names[path]}-words.png", drawn, ["", *words.texts]))
        across, down = _file_pixels(path, image)
        for word, heat, value in zip(words.texts, heats, share, strict=True):
            row, column = np.unravel_index(int(heat.argmax()), heat.shape)
            yield {
                "path": path, "word": word, "x": round((column + 0.5) * across, 2), "y": round((row + 0.5) * down, 2),
                "similarity": round(float(value), 4),
            }  # fmt: skip


def _in_pixels(heatmap: np.ndarray, image: np.ndarray) -> Boxes:
    """Returns the boxes of a map in the pixels of the image; what is in the padding of its square counts nothing."""
    from medclip.inference.heatmap import to_square

    height, width = image.shape
    geometry = square_geometry(width, height, _SIDE)
    square, seen = np.maximum(to_square(heatmap, _SIDE), 0), np.zeros((_SIDE, _SIDE), dtype=bool)
    down, across = max(1, round(height * geometry.scale)), max(1, round(width * geometry.scale))
    seen[geometry.top : geometry.top + down, geometry.left : geometry.left + across] = True
    return propose(square * seen).on_original(geometry, size=_SIDE)


def _file_pixels(path: str, image: np.ndarray) -> tuple[float, float]:
    """Returns how many pixels of the file a pixel of the image is across and down; JPEGs may be decoded smaller."""
    width, height = image_shape(path)
    return width / image.shape[1], height / image.shape[0]


def _draw_boxes(target: Path, image: np.ndarray, found: list[tuple[str, np.ndarray, float]]) -> Path:
    """Writes a film with its boxes and what they are called."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 7 * image.shape[0] / image.shape[1]))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(0, image.shape[1], image.shape[0], 0))
    axes.set_axis_off()
    colours = {name: f"C{i % 10}" for i, name in enumerate(dict.fromkeys(name for name, _, _ in found))}
    for name, (left, top, right, bottom), score in reversed(found):
        axes.add_patch(_rectangle(left, top, right, bottom, colours[name]))
        axes.text(left, top, f"{name} {score:.2f}", fontsize=9, color="white", va="top",
                  bbox={"facecolor": colours[name], "pad": 1, "edgecolor": "none"})  # fmt: skip
    return _saved(figure, target)


def _rectangle(left: float, top: float, right: float, bottom: float, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1.5)


def _sheet(target: Path, pictures: list[np.ndarray], titles: list[str]) -> Path:
    """Writes pictures side by side under their titles."""
    from medclip.evaluation.figures import pictures as drawn

    return _saved(drawn(pictures, titles), target)


def _saved(figure: Any, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, lambda part: figure.savefig(part, format="png", dpi=120))
    return target
