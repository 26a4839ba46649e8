"""Heatmaps of `medclip-classify`: of which observations, over which film, in which file."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from labelers.observations import NO_FINDING
from medclip.data.images import fit_square, image_shape, read_image
from medclip.inference.scoring import PromptScores
from medclip.runs.settings import ClassifyConfig
from medclip.utils.io import write_atomically

if TYPE_CHECKING:
    from medclip.runs.classify import Answers

#: What a file name does not take over from an observation.
_UNSAFE = re.compile(r"[^\w.-]")
#: Shorter side from which on a JPEG may be decoded smaller than it is, to be drawn on.
_DRAWN = 1024


def to_draw_on(images: dict[str, np.ndarray], files: dict[str, str], *, dicom: str) -> dict[str, np.ndarray]:
    """Returns films as people see them, by path: JPEGs that were decoded small for the model are read again."""
    return {
        path: image
        if image.shape[::-1] == image_shape(files[path])
        else read_image(files[path], at_least=_DRAWN, dicom=dicom)
        for path, image in images.items()
    }


def maps_of(
    config: ClassifyConfig,
    classifier: PromptScores,
    images: dict[str, np.ndarray],
    maps: np.ndarray,
    found: np.ndarray,
) -> dict[str, dict[str, np.ndarray]]:
    """Returns heatmaps (height, width) by path and observation: those asked for, or else of the most likely finding.

    Args:
        config: Which observations are asked for.
        classifier: Whose observations there are.
        images: Grey films by path.
        maps: Their maps (I, O, rows, columns).
        found: Their answers (I, C).
    """
    from medclip.inference.heatmap import to_original

    size, columns = classifier.cache_size, config.classes or classifier.observations
    drawn: dict[str, dict[str, np.ndarray]] = {}
    for (path, image), row, own in zip(images.items(), found, maps, strict=True):
        _, geometry = fit_square(image, size)
        drawn[path] = {
            name: to_original(own[classifier.observations.index(name)], geometry, size=size)
            for name in config.show or _most_likely(columns, row)
        }
    return drawn


def draw_maps(
    config: ClassifyConfig,
    images: dict[str, np.ndarray],
    drawn: dict[str, dict[str, np.ndarray]],
    found: np.ndarray,
    answers: Answers,
) -> Iterator[Path]:
    """Writes heatmaps over their images, with the bar of colours, the observation and its answer; yields the files."""
    from medclip.inference.drawing import with_bar, with_text
    from medclip.inference.heatmap import overlay

    folder = Path(config.heatmap)
    folder.mkdir(parents=True, exist_ok=True)
    kind = "probability" if config.classes or answers.thresholds else "score"
    for (path, maps), row in zip(drawn.items(), found, strict=True):
        for name, heat in maps.items():
            target = folder / f"{answers.names[path]}-{_UNSAFE.sub('_', name)}.png"
            said = f"{name}: {kind} {row[answers.columns.index(name)]:.2f}" if name in answers.columns else name
            picture = Image.fromarray(with_text(with_bar(overlay(images[path], heat), heat), [said]))
            write_atomically(target, lambda part, picture=picture: picture.save(part, format="PNG"))  # type: ignore[misc]
            yield target


def _most_likely(columns: list[str], row: np.ndarray) -> list[str]:
    """Returns the most likely observation, as a list; No Finding is nowhere in an image, so only where it is alone."""
    known = [(value, name) for value, name in zip(row.tolist(), columns, strict=True) if value == value]
    return [name for _, name in sorted(known, key=lambda one: (one[1] == NO_FINDING, -one[0]))][:1]


def drawing_names(paths: list[str]) -> dict[str, str]:
    """Returns what drawings of each path are called: its name, with a mark of its folder where others share it."""
    stems = Counter(Path(path).stem for path in paths)
    return {
        path: Path(path).stem if stems[Path(path).stem] == 1 else f"{Path(path).stem}-{_mark(path)}" for path in paths
    }


def _mark(path: str) -> str:
    return hashlib.blake2b(str(Path(path).resolve()).encode(), digest_size=4).hexdigest()
