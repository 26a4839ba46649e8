"""The frontal radiograph of a study: anatomy first, then disease, then the film."""

from __future__ import annotations

import numpy as np

from medclip.sources.phantom.anatomy import Array, Box, Canvas, draw_anatomy
from medclip.sources.phantom.disease import DRAWINGS
from medclip.sources.phantom.population import Study, draw_study


def draw_radiograph(seed: int, number: int, *, size: int = 128) -> Array:
    """Returns the radiograph of study `number`, uint8 (size, size)."""
    return draw_film(draw_study(seed, number), size).image


def draw_boxes(seed: int, number: int, *, size: int = 128) -> list[tuple[str, Box]]:
    """Returns (observation, box) for every localised sign drawn in study `number`."""
    return draw_film(draw_study(seed, number), size).boxes


def draw_film(study: Study, size: int) -> Canvas:
    """Returns the film of a study with the boxes of what was drawn on it."""
    canvas = draw_anatomy(study, size)
    for sign in study.signs:
        drawing = DRAWINGS.get(sign.observation)
        if sign.present and drawing is not None:
            both = sign.side == "bilateral" and sign.observation not in ("Support Devices", "Edema")
            for side in ("left", "right") if both else (sign.side,):
                drawing(canvas, sign, side)
    canvas.image = _expose(canvas)
    return canvas


def _expose(c: Canvas) -> Array:
    """Returns the film as 8-bit grey: exposure, contrast, quantum noise."""
    gain, offset, noise = c.rng.random(3).astype(np.float32)
    image = c.image + 0.02 * c.grain
    image += (0.020 + 0.030 * noise) * c.rng.standard_normal(image.shape, dtype=np.float32)
    image = 0.12 + 0.08 * (offset - 0.5) + (0.85 + 0.30 * (gain - 0.5)) * image
    return (np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
