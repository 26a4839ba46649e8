"""Pictures for people: a bar of colours beside a heatmap, lines of text below, several films on one sheet."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

_WHITE = (255, 255, 255)
#: Smallest height of letters, in pixels; else a share of the picture.
_LETTERS = 12
_GAP = 6


def with_text(picture: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """Returns a picture (height, width, 3) with lines of text in a band below it, wide enough for them."""
    line = max(_LETTERS, picture.shape[1] // 48)
    need = max((math.ceil(ImageFont.load_default(line).getlength(text)) for text in lines), default=0) + line
    if need > picture.shape[1]:
        picture = np.pad(picture, ((0, 0), (0, need - picture.shape[1]), (0, 0)))
    height, width = picture.shape[:2]
    band = np.zeros((round(line * 1.4 * len(lines)) + line // 2, width, 3), dtype=np.uint8)
    image = Image.fromarray(np.concatenate([picture, band]))
    draw = ImageDraw.Draw(image)
    for i, text in enumerate(lines):
        draw.text((line // 2, height + line // 4 + i * line * 1.4), text, fill=_WHITE, font_size=line)
    return np.asarray(image)


def with_bar(picture: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """Returns a picture (height, width, 3) with the colours of its heatmap beside it, from lowest to highest cosine."""
    from medclip.inference.heatmap import overlay

    height, width = picture.shape[:2]
    low, high = float(np.nanmin(heatmap)), float(np.nanmax(heatmap))
    line, across = max(_LETTERS, width // 48), max(_LETTERS, width // 32)
    ramp = np.repeat(np.linspace(1, 0, height)[:, None], across, axis=1)
    margin = np.zeros((height, across + 4 * line, 3), dtype=np.uint8)
    margin[:, _GAP : _GAP + across] = overlay(np.zeros((height, across)), ramp, strength=1)[:, :across]
    image = Image.fromarray(margin)
    draw = ImageDraw.Draw(image)
    for top, value in ((0, high), (height - 1.3 * line, low)):
        draw.text((across + 2 * _GAP, top), f"{value:.2f}", fill=_WHITE, font_size=line)
    return np.concatenate([picture, np.asarray(image)], axis=1)


def contact_sheet(films: Sequence[np.ndarray | None], *, side: int = 220, across: int = 5) -> bytes:
    """Returns grey films as one PNG file, numbered from 1; a film that is None is an empty place."""
    cell = side + _GAP
    rows, columns = math.ceil(len(films) / across), min(across, len(films))
    sheet = Image.new("L", (columns * cell, rows * cell), 32)
    draw = ImageDraw.Draw(sheet)
    for place, film in enumerate(films):
        left, top = place % across * cell, place // across * cell
        if film is not None:
            small = ImageOps.contain(Image.fromarray(film), (side, side), Image.Resampling.LANCZOS)
            sheet.paste(small, (left + (side - small.width) // 2, top + (side - small.height) // 2))
        draw.text((left + 4, top + 2), str(place + 1), fill=255, font_size=16, stroke_width=2, stroke_fill=0)
    with io.BytesIO() as file:
        sheet.save(file, format="PNG")
        return file.getvalue()
