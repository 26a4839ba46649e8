"""Films, what the model says of them and where, as one page that stands for itself."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from labelers.observations import NO_FINDING
from medclip.evaluation.html import Page
from medclip.utils.io import write_atomically

_SIDE = 320
_SHOWN = 3


@dataclass
class AnswerPage:
    """Collects films batch by batch, small, so that no more than a batch of them is ever held at full size.

    Attributes:
        model: Name of the model, for the title.
        columns: The observations of the answers.
        thresholds: By observation, the probability from which on it counts as present; empty without a calibration.
        exclusive: Whether exactly one of the columns is present.
    """

    model: str
    columns: Sequence[str]
    thresholds: Mapping[str, float]
    exclusive: bool = False
    _films: list[tuple[str, bytes, str]] = field(default_factory=list)

    def add(
        self,
        images: Mapping[str, np.ndarray],
        found: np.ndarray,
        maps: Mapping[str, Mapping[str, np.ndarray]],
    ) -> None:
        """Adds a batch.

        Args:
            images: Grey films by path.
            found: (I, C) answers.
            maps: Heatmaps (height, width) by path and observation; may be empty.
        """
        for (path, image), row in zip(images.items(), found, strict=True):
            drawn = maps.get(path, {})
            pictures = [_small(np.repeat(image[..., None], 3, axis=2))]
            pictures += [_with_map(image, heat) for heat in drawn.values()]
            caption = f"{Path(path).name}: {self._said(row)}"
            if drawn:
                caption += f". Beside it: where the film is most like {', '.join(drawn)}"
            self._films.append((path, _png(pictures), caption))

    def write(self, target: Path, problems: Mapping[str, str]) -> None:
        """Writes the page, with the films that could not be read at its end."""
        kind = "Of the classes exactly one is present." if self.exclusive else (
            "Probabilities are calibrated; * is above its threshold." if self.thresholds
            else "Values are not calibrated: they rank films, and are no probabilities."
        )  # fmt: skip
        page = Page(f"Answers of {self.model}", f"Research software, not a medical device. {kind}")
        for _, png, caption in self._films:
            page.figure(png, caption)
        if problems:
            page.section("Not read")
            for path, reason in problems.items():
                page.text(f"{path}: {reason}")
        write_atomically(target, lambda part: part.write_text(page.render(), encoding="utf-8"))

    def _said(self, row: np.ndarray) -> str:
        """Returns the strongest answers; No Finding only where it is the strongest."""
        known = sorted(
            ((value, name) for value, name in zip(row.tolist(), self.columns, strict=True) if value == value),
            reverse=True,
        )
        shown = [pair for place, pair in enumerate(known) if pair[1] != NO_FINDING or place == 0][:_SHOWN]
        return ", ".join(f"{name} {value:.2f}{self._mark(name, value)}" for value, name in shown) or "no answer"

    def _mark(self, name: str, value: float) -> str:
        return "*" if name in self.thresholds and value >= self.thresholds[name] else ""


def _with_map(image: np.ndarray, heat: np.ndarray) -> Image.Image:
    """Returns a small film with a heatmap over it and the bar of its colours beside it."""
    from medclip.inference.drawing import with_bar
    from medclip.inference.heatmap import overlay

    return Image.fromarray(with_bar(np.asarray(_small(overlay(image, heat))), heat))


def _small(picture: np.ndarray) -> Image.Image:
    small = Image.fromarray(picture)
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return small


def _png(pictures: Sequence[Image.Image]) -> bytes:
    """Returns pictures side by side as the contents of a PNG file."""
    gap = 6
    sheet = Image.new(
        "RGB", (sum(p.width for p in pictures) + gap * (len(pictures) - 1), max(p.height for p in pictures)), "white"
    )
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + gap
    with io.BytesIO() as file:
        sheet.save(file, format="PNG")
        return file.getvalue()
