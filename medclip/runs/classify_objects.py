"""Writes the answers about DICOM files as DICOM objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from labelers.errors import UserError
from medclip.data.dicomweb import Archive
from medclip.inference.dicom_objects import (
    Answer,
    Maker,
    maker_of,
    read_source,
    secondary_capture,
    segmentation,
    structured_report,
)
from medclip.inference.load import find_model
from medclip.inference.scoring import PromptScores
from medclip.runs.settings import ClassifyConfig
from medclip.utils.io import write_atomically
from medclip.utils.text import first_line

if TYPE_CHECKING:
    from medclip.runs.classify import Answers

#: Share of a film that the region most like a text takes.
_REGION = 0.1


@dataclass(frozen=True)
class ObjectWriter:
    """Writes DICOM objects about films, and stores them in an archive where one is named.

    Attributes:
        kinds: Some of `medclip.inference.dicom_objects.KINDS`.
        folder: Folder of the files.
        maker: What answers.
        archive: Where they are stored as well; None where they stay here.
    """

    kinds: Sequence[str]
    folder: Path
    maker: Maker
    archive: Archive | None = None

    def write(
        self,
        images: Mapping[str, np.ndarray],
        files: Mapping[str, str],
        found: np.ndarray,
        maps: Mapping[str, Mapping[str, np.ndarray]],
        answers: Answers,
    ) -> None:
        """Writes objects about a batch of films; those written, and why others are not, is added to the answers.

        Args:
            images: The films as grey, by path.
            files: Their files, by path.
            found: (I, C) answers.
            maps: Heatmaps (height, width) by path and observation, for "seg" and "sc".
            answers: Names for files and thresholds.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for (path, image), row in zip(images.items(), found, strict=True):
            said = [
                Answer(name, float(value), answers.thresholds.get(name))
                for name, value in zip(answers.columns, row, strict=True)
                if np.isfinite(value)
            ]
            try:
                source = read_source(files[path])
                for kind, made in _made(self.kinds, source, said, image, maps.get(path, {}), self.maker):
                    self._keep(self.folder / f"{answers.names[path]}-{kind}.dcm", made, answers)
            except (UserError, OSError, ValueError, TypeError, AttributeError) as error:  # what one header says
                answers.without_objects[path] = first_line(error)

    def _keep(self, target: Path, made: Any, answers: Answers) -> None:
        write_atomically(target, lambda part: made.save_as(part, enforce_file_format=True))
        answers.objects.append(target)
        if self.archive is None:
            return
        try:
            self.archive.store(made)
            answers.stored.append(target)
        except ConnectionError as error:
            answers.not_stored[str(target)] = str(error)


def object_writer(
    config: ClassifyConfig, kinds: Sequence[str], classifier: PromptScores, archive: Archive | None
) -> ObjectWriter:
    """Returns what writes the objects of a run of `medclip-classify`."""
    root = Path(config.model)
    folder = find_model(config.model)[0] if (root / "model").is_dir() or (root / "config.json").is_file() else root
    weights = next((file for pattern in ("*.safetensors", "*.onnx") for file in sorted(folder.glob(pattern))), None)
    maker = maker_of(config.model, weights, config.prompts or getattr(classifier, "prompt_set", "chexpert14"))
    return ObjectWriter(kinds, Path(config.objects), maker, archive)


def _made(
    kinds: Sequence[str],
    source: object,
    said: Sequence[Answer],
    image: np.ndarray,
    maps: Mapping[str, np.ndarray],
    maker: Maker,
) -> Iterator[tuple[str, object]]:
    shape = (int(source.Rows), int(source.Columns))  # type: ignore[attr-defined]
    if "sr" in kinds:
        yield "sr", structured_report(source, said, maker)
    if "seg" in kinds:
        regions = {name: region_of(_resized(heat, shape)) for name, heat in maps.items()}
        yield "seg", segmentation(source, regions, maker)
    if "sc" in kinds:
        from medclip.inference.heatmap import overlay

        scores = {answer.observation: answer for answer in said}
        for number, (name, heat) in enumerate(maps.items(), start=1):
            answer = scores.get(name)
            kind = "" if answer is None else "score" if answer.threshold is None else "probability"
            line = name if answer is None else f"{name}: {kind} {answer.score:.2f}"
            picture = secondary_capture(source, overlay(image, heat), [line])
            yield ("sc" if len(maps) == 1 else f"sc{number}"), picture


def region_of(heat: np.ndarray) -> np.ndarray:
    """Returns which pixels (height, width) are among the tenth of an image that is most like a text."""
    return heat >= np.quantile(heat, 1 - _REGION)


def _resized(heat: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    resized = Image.fromarray(heat.astype(np.float32)).resize(shape[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized)
