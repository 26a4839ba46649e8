"""The frontal radiograph of a study: anatomy first, then disease, then the film."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from medclip.sources.phantom.anatomy import Array, Box, Canvas, draw_anatomy
from medclip.sources.phantom.disease import DRAWINGS
from medclip.sources.phantom.population import HOSPITALS, Study, draw_study
from medclip.sources.phantom.rare import RARE_DRAWINGS
from medclip.sources.phantom.shortcut import KINDS, marked

#: How severe what version 2 draws looks, from barely there to severe, where version 1 draws 0 to 1: the easiest are
#: fainter, the hardest plainer, so that a supervised network finds each of them, and none always.
_LOOKS = {
    "Enlarged Cardiomediastinum": (-0.15, 0.50),
    "Cardiomegaly": (-0.20, 0.35),
    "Consolidation": (-0.60, 0.10),
    "Pleural Effusion": (-0.16, 0.12),
    "Support Devices": (-0.35, 0.30),
    "Edema": (-0.10, 0.80),
    "Lung Lesion": (0.70, 1.60),
    "Pneumothorax": (0.50, 1.50),
    "Pleural Other": (0.70, 1.80),
    "Fracture": (1.50, 2.50),
}
_MARK = 9  # of the random numbers that say which films bear the hospital's letter
_DRAWINGS = {**DRAWINGS, **RARE_DRAWINGS}

#: What the image tables call films: version where that is not 1, seed, size, a mark, number.
_NAME = re.compile(rf"phantom(2?)-(\d{{1,9}})-(\d{{2,4}})-(?:({'|'.join(KINDS)})-)?(\d{{1,9}})")


def draw_radiograph(seed: int, number: int, *, size: int = 128, version: int = 1) -> Array:
    """Returns the radiograph of study `number`, uint8 (size, size)."""
    return draw_film(draw_study(seed, number, version), size).image


def draw_boxes(seed: int, number: int, *, size: int = 128, version: int = 1) -> list[tuple[str, Box]]:
    """Returns (observation, box) for every localised sign drawn in study `number`."""
    return draw_film(draw_study(seed, number, version), size).boxes


def draw_film(study: Study, size: int) -> Canvas:
    """Returns the film of a study with the boxes of what was drawn on it."""
    if study.version > 1:
        study = _as_it_looks(study)
    canvas = draw_anatomy(study, size)
    for sign in study.signs:
        drawing = _DRAWINGS.get(sign.observation)
        if sign.present and drawing is not None:
            both = sign.side == "bilateral" and sign.observation not in ("Support Devices", "Edema")
            for side in ("left", "right") if both else (sign.side,):
                drawing(canvas, sign, side)
    canvas.image = _expose(canvas)
    if study.hospital:
        canvas.image = _of_hospital(canvas.image, study)
    return canvas


def _as_it_looks(study: Study) -> Study:
    signs = []
    for sign in study.signs:
        low, high = _LOOKS.get(sign.observation, (0.0, 1.0))
        signs.append(replace(sign, severity=low + (high - low) * sign.severity))
    return replace(study, signs=tuple(signs))


def _of_hospital(film: Array, study: Study) -> Array:
    """Returns a film as the study's hospital makes it: exposure, border, a letter in the corner."""
    hospital = HOSPITALS[study.hospital]
    film = np.round(film * np.float32(hospital.exposure)).astype(np.uint8)
    share = hospital.marker if study.sign("Pleural Effusion").present else 1 - hospital.marker
    if np.random.default_rng([study.seed, _MARK, study.number]).random() < share:
        film = marked(film, "marker")
    return marked(film, "border") if hospital.border else film


def _expose(c: Canvas) -> Array:
    """Returns the film as 8-bit grey: exposure, contrast, quantum noise."""
    gain, offset, noise = c.rng.random(3).astype(np.float32)
    image = c.image + 0.02 * c.grain
    image += (0.020 + 0.030 * noise) * c.rng.standard_normal(image.shape, dtype=np.float32)
    image = 0.12 + 0.08 * (offset - 0.5) + (0.85 + 0.30 * (gain - 0.5)) * image
    return (np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)


def film_called(name: str) -> Array | None:
    """Returns the radiograph that the image tables of the phantom call `name`; None where it is no such name."""
    made = _NAME.fullmatch(name)
    if made is None:
        return None
    film = draw_radiograph(int(made[2]), int(made[5]), size=int(made[3]), version=int(made[1] or 1))
    return marked(film, made[4]) if made[4] else film
