"""Draws the frontal radiograph of a study: anatomy first, then each observation as radiologists describe it.

Coordinates are x (image left to right, so the patient's right is at negative x) and y (top to bottom), both about
-1 to 1. Brightness is attenuation: air is dark, bone and metal bright. Everything is arithmetic on whole arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from medclip.phantom.population import Finding, Study, draw_study

Array = np.ndarray
#: Columns, rows: left, top, width, height in pixels.
Box = tuple[float, float, float, float]

_LUNG_X, _LUNG_WIDTH, _LUNG_TOP, _LUNG_BASE = 0.43, 0.33, -0.78, 0.52


@dataclass
class _Canvas:
    """The image in the making and the anatomy that findings refer to."""

    size: int
    x: Array
    y: Array
    image: Array
    lungs: dict[str, Array]
    base: dict[str, float]
    heart_width: float
    mediastinum_width: float
    grain: Array
    rng: np.random.Generator
    boxes: list[tuple[str, Box]]

    def mark(self, observation: str, x: float, y: float, half_width: float, half_height: float) -> None:
        """Remembers where `observation` was drawn, as a box in pixels clipped to the image."""
        half = self.size / 2
        left, top = max(0.0, (x - half_width + 1) * half), max(0.0, (y - half_height + 1) * half)
        right, bottom = min(self.size, (x + half_width + 1) * half), min(self.size, (y + half_height + 1) * half)
        if right > left and bottom > top:
            self.boxes.append((observation, (left, top, right - left, bottom - top)))


def draw_radiograph(seed: int, number: int, *, size: int = 128) -> Array:
    """Returns the radiograph of study `number`, uint8 (size, size)."""
    return _draw(draw_study(seed, number), size).image


def draw_boxes(seed: int, number: int, *, size: int = 128) -> list[tuple[str, Box]]:
    """Returns (observation, box) for every localised finding drawn in study `number`."""
    return _draw(draw_study(seed, number), size).boxes


def _draw(study: Study, size: int) -> _Canvas:
    canvas = _anatomy(study, size)
    for finding in study.findings:
        drawing = _DRAWINGS.get(finding.observation)
        if finding.present and drawing is not None:
            both = finding.side == "bilateral" and finding.observation not in ("Support Devices", "Edema")
            for side in ("left", "right") if both else (finding.side,):
                drawing(canvas, finding, side)
    canvas.image = _expose(canvas)
    return canvas


def _anatomy(study: Study, size: int) -> _Canvas:
    rng = np.random.default_rng([study.seed, 2, study.number])
    u = rng.random(24).astype(np.float32)
    x, y = _pose(size, u)
    enlarged, mediastinum = study.finding("Cardiomegaly"), study.finding("Enlarged Cardiomediastinum")
    projection = 1.06 if study.view == "AP" else 1.0  # the heart is farther from the film
    heart_width = (0.27 + 0.05 * u[4]) * projection * (1.12 + 0.4 * enlarged.severity if enlarged.present else 1.0)
    mediastinum_width = (0.10 + 0.03 * u[5]) * (1.25 + 0.7 * mediastinum.severity if mediastinum.present else 1.0)
    collapse = study.finding("Atelectasis")
    lungs, base = {}, {}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        raised = collapse.present and collapse.side in (side, "bilateral")
        base[side] = (
            _LUNG_BASE
            - 0.12 * u[6]
            - (0.05 if side == "right" else 0.0)
            - (0.14 * collapse.severity if raised else 0.0)
        )
        across = (x - sign * _LUNG_X) / _LUNG_WIDTH
        along = (y - (_LUNG_TOP + 0.75)) / 0.75
        inside = _ramp(1.0 - across * across - along * along * np.abs(along), 0.16)
        dome = base[side] + 0.16 * across * across
        lungs[side] = inside * _ramp(dome - y, 0.05)
    wide, high = (x / 0.97) ** 2, (np.minimum(y, 0.3) / 1.25) ** 2
    body = _ramp(1.0 - wide * wide - high * high * high, 0.25)
    air = lungs["left"] + lungs["right"]
    grain = _grain(size, rng)
    image = body * (0.62 + 0.05 * y) - 0.42 * air
    _add_vessels(image, x, y, air, grain, 0.05 + 0.04 * float(u[7]))
    image += 0.10 * _ramp(0.08 - np.abs(x), 0.08) * body  # spine
    image += 0.20 * _ramp(mediastinum_width + 0.05 * y - np.abs(x), 0.10) * body * _ramp(0.55 - y, 0.2)
    heart = _ramp(1.0 - ((x - 0.10 - 0.1 * y) / heart_width) ** 2 - ((y - 0.24) / 0.32) ** 2, 0.35)
    image += (0.10 + 0.24 * np.minimum(air, 1.0)) * heart
    _add_ribs(image, x, y, body, u, study.finding("Fracture"))
    return _Canvas(size, x, y, image, lungs, base, heart_width, mediastinum_width, grain, rng, [])


def _pose(size: int, u: Array) -> tuple[Array, Array]:
    """Returns the patient's coordinates at each pixel: rotated, shifted, scaled as patients stand."""
    grid = _grid(size)
    angle = 0.10 * (u[0] - 0.5)
    scale = 1.0 + 0.14 * (u[1] - 0.5)
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    x = cos * grid[None, :] - sin * grid[:, None] + 0.10 * (u[2] - 0.5)
    y = sin * grid[None, :] + cos * grid[:, None] + 0.12 * (u[3] - 0.5)
    return x.astype(np.float32), y.astype(np.float32)


@lru_cache(maxsize=4)
def _grid(size: int) -> Array:
    return ((np.arange(size, dtype=np.float32) + 0.5) * (2.0 / size) - 1.0).astype(np.float32)


@lru_cache(maxsize=4)
def _texture(size: int) -> Array:
    """A tile of smooth noise, twice as wide as an image; studies take their own window of it."""
    rng = np.random.default_rng(20210)
    tile = np.zeros((2 * size, 2 * size), dtype=np.float32)
    for cells, weight in ((8, 0.5), (16, 0.6), (32, 0.5), (64, 0.35)):
        coarse = rng.standard_normal((cells, cells)).astype(np.float32)
        rows = np.linspace(0, cells - 1.001, 2 * size)
        low, part = rows.astype(int), (rows % 1).astype(np.float32)
        coarse = coarse[low] * (1 - part)[:, None] + coarse[low + 1] * part[:, None]
        tile += weight * (coarse[:, low] * (1 - part)[None, :] + coarse[:, low + 1] * part[None, :])
    return tile / tile.std()


def _grain(size: int, rng: np.random.Generator) -> Array:
    top, left = rng.integers(0, size, 2)
    return _texture(size)[top : top + size, left : left + size]


def _ramp(distance: Array, width: float) -> Array:
    """0 outside, 1 inside, linear over `width`: an edge as blurred as a film's."""
    return np.clip(distance * (1.0 / width) + 0.5, 0.0, 1.0)


def _add_vessels(image: Array, x: Array, y: Array, air: Array, grain: Array, strength: float) -> None:
    near_hilum = 1.0 / (1.0 + 6.0 * ((np.abs(x) - 0.16) ** 2 + (y - 0.05) ** 2))
    image += strength * air * near_hilum * (1.0 + np.maximum(grain, -0.5))


def _add_ribs(image: Array, x: Array, y: Array, body: Array, u: Array, fracture: Finding) -> None:
    count, slope = 6.5 + 1.5 * u[8], 0.55 + 0.2 * u[9]
    outward = np.abs(x)
    height = y + slope * (outward - 0.45) ** 2 - 0.25 * outward
    if fracture.present:
        # The outer part of one rib steps up or down behind the break, and the break itself is a dark gap.
        sign = 1.0 if fracture.side != "right" else -1.0
        where, level = 0.35 + 0.3 * fracture.place[0], -0.5 + 0.8 * fracture.place[1]
        near = np.abs(y - level) < 0.16
        outer = near & (sign * x > where)
        height = np.where(outer, height + 0.05 + 0.06 * fracture.severity, height)
    wave = np.cos(height * (np.pi * count))
    ribs = np.maximum(wave - 0.35, 0.0) * (0.13 + 0.05 * u[10])
    cage = _ramp(0.84 - outward, 0.1) * _ramp(0.62 - y, 0.2) * _ramp(outward - 0.06, 0.05)
    if fracture.present:
        gap = near & (np.abs(sign * x - where) < 0.022)
        ribs = np.where(gap, 0.0, ribs)
    image += ribs * cage * body
    clavicle = np.abs(y + 0.66 - 0.22 * (outward - 0.4) + 0.25 * (outward - 0.4) ** 2)
    image += 0.14 * _ramp(0.035 - clavicle, 0.02) * _ramp(outward - 0.1, 0.05) * _ramp(0.8 - outward, 0.1)


def _sign(side: str) -> float:
    return 1.0 if side == "left" else -1.0


def _blob(c: _Canvas, x: float, y: float, width: float, height: float) -> Array:
    return np.exp(-(((c.x - x) / width) ** 2) - ((c.y - y) / height) ** 2)


def _in_lung(finding: Finding, side: str, *, low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
    """Returns a point in the lung of `side`, between the shares `low` and `high` of its height."""
    x = _sign(side) * (0.28 + 0.30 * finding.place[0])
    share = low + (high - low) * finding.place[1]
    return x, -0.60 + 0.95 * share


def _lung_opacity(c: _Canvas, f: Finding, side: str) -> None:
    x, y = _in_lung(f, side)
    width = 0.13 + 0.12 * f.severity
    patch = _blob(c, x, y, width, width * 1.2) * np.maximum(0.5 + 0.6 * c.grain, 0.0)
    c.image += (0.10 + 0.16 * f.severity) * patch * c.lungs[side]
    c.mark(f.observation, x, y, width, width * 1.2)


def _pneumonia(c: _Canvas, f: Finding, side: str) -> None:
    x, y = _in_lung(f, side, low=0.45)
    for dx, dy in ((0.0, 0.0), (0.11, -0.10), (-0.08, 0.12)):
        c.image += (0.10 + 0.14 * f.severity) * _blob(c, x + dx, y + dy, 0.09, 0.08) * c.lungs[side]
    c.mark(f.observation, x + 0.015, y + 0.01, 0.18, 0.19)


def _consolidation(c: _Canvas, f: Finding, side: str) -> None:
    upper = f.place[1] < 0.35
    x, y = _sign(side) * 0.42, -0.38 if upper else 0.24
    height = 0.16 + 0.10 * f.severity
    fissure = y + (height if upper else -height) + 0.15 * (np.abs(c.x) - 0.4)
    lobe = _ramp((fissure - c.y) if upper else (c.y - fissure), 0.04) * c.lungs[side]
    bronchograms = 1.0 - 0.35 * (np.abs(c.grain) < 0.15)
    c.image += (0.16 + 0.16 * f.severity) * lobe * bronchograms * _blob(c, x, y, 0.45, 0.45)
    c.mark(f.observation, x, y, 0.30, height)


def _lung_lesion(c: _Canvas, f: Finding, side: str) -> None:
    x, y = _in_lung(f, side, high=0.9)
    radius = 0.035 + 0.06 * f.severity
    distance = np.sqrt((c.x - x) ** 2 + (c.y - y) ** 2)
    c.image += (0.16 + 0.10 * f.severity) * _ramp(radius - distance, 0.03)
    c.mark(f.observation, x, y, radius, radius)


def _edema(c: _Canvas, f: Finding, side: str) -> None:
    # Both sides, like a bat's wings; a little more on one of them.
    lean = 0.03 * _sign(side)
    outward = np.abs(c.x + lean)
    wings = np.exp(-(((outward - 0.26) / 0.22) ** 2) - ((c.y - 0.02) / 0.34) ** 2)
    haze = (0.05 + 0.15 * f.severity) * wings * np.clip(1.0 + 0.4 * c.grain, 0.3, 1.6)
    kerley = (
        0.05 * f.severity * (np.cos(c.y * 70.0) > 0.85) * (np.abs(outward - 0.66) < 0.09) * (np.abs(c.y - 0.28) < 0.15)
    )
    c.image += (haze + kerley) * (c.lungs["left"] + c.lungs["right"])


def _atelectasis(c: _Canvas, f: Finding, side: str) -> None:
    y = c.base[side] - 0.10 - 0.10 * f.place[1]
    tilt = 0.4 * (f.place[0] - 0.5)
    for offset in (0.0, 0.09):
        band = np.abs(c.y - y + offset - tilt * (np.abs(c.x) - 0.42))
        c.image += (
            (0.08 + 0.14 * f.severity)
            * _ramp(0.016 - band, 0.02)
            * c.lungs[side]
            * _blob(c, _sign(side) * 0.45, y, 0.25, 0.5)
        )
    c.mark(f.observation, _sign(side) * 0.42, y - 0.04, 0.25, 0.12)


def _pneumothorax(c: _Canvas, f: Finding, side: str) -> None:
    depth = 0.03 + 0.15 * f.severity
    # The collapsed lung is the same shape, drawn towards the hilum; between the two there are no markings.
    across = (c.x - _sign(side) * (_LUNG_X - 0.7 * depth)) / (_LUNG_WIDTH - 0.5 * depth)
    along = (c.y - (_LUNG_TOP + 0.75 + depth)) / 0.75
    shrunk = 1.0 - across * across - along * along * np.abs(along)
    reach = _ramp(0.05 + 0.4 * f.severity - c.y, 0.4) * c.lungs[side]
    free = np.clip(-shrunk * 5.0, 0.0, 1.0) * reach
    c.image -= free * (0.6 * np.clip(c.image - 0.18, 0.0, 0.15))
    c.image += (0.03 + 0.05 * f.severity) * _ramp(0.05 - np.abs(shrunk), 0.06) * reach
    c.mark(f.observation, _sign(side) * 0.45, -0.35, 0.33, 0.42)


def _pleural_effusion(c: _Canvas, f: Finding, side: str) -> None:
    outward = _sign(side) * c.x
    level = c.base[side] + 0.10 - (0.04 + 0.42 * f.severity)
    meniscus = level - 0.9 * np.maximum(outward - 0.40, 0.0) ** 2 * (1.5 + f.severity)
    chest = _ramp(1.0 - ((outward - _LUNG_X) / (_LUNG_WIDTH + 0.02)) ** 2, 0.2)
    fluid = _ramp(c.y - meniscus, 0.06) * chest * _ramp(0.75 - c.y, 0.1)
    c.image += fluid * np.maximum(0.60 - c.image, 0.0)
    top = level - 0.1
    c.mark(f.observation, _sign(side) * 0.45, (top + 0.6) / 2, 0.33, (0.6 - top) / 2)


def _pleural_other(c: _Canvas, f: Finding, side: str) -> None:
    across = (c.x - _sign(side) * _LUNG_X) / _LUNG_WIDTH
    along = (c.y - (_LUNG_TOP + 0.75)) / 0.75
    rim = np.abs(1.0 - across * across - along * along * np.abs(along) - 0.04)
    where = _ramp(-0.35 - c.y, 0.2) if f.place[1] < 0.5 else _ramp(_sign(side) * c.x - 0.55, 0.1)
    c.image += (0.14 + 0.14 * f.severity) * _ramp(0.10 + 0.10 * f.severity - rim, 0.08) * where * _ramp(0.4 - c.y, 0.2)
    c.mark(f.observation, _sign(side) * 0.5, -0.55 if f.place[1] < 0.5 else 0.0, 0.25, 0.2)


def _support_devices(c: _Canvas, f: Finding, side: str) -> None:
    kind, sign = int(f.place[0] * 4), _sign(side)
    strength = 0.12 + 0.18 * f.severity
    if kind == 0:  # endotracheal tube
        line = np.abs(c.x - 0.02 * np.sin(3 * c.y)) + 2.0 * np.maximum(c.y + 0.12, 0.0)
        c.image += strength * (_ramp(0.030 - line, 0.02) - 0.5 * _ramp(0.012 - line, 0.02))
    elif kind == 1:  # central line from the arm or neck to the superior vena cava
        path = -0.10 + (sign * c.x + 0.1) * 0.0 + 0.75 * np.maximum(-(c.y + 0.35), 0.0) * sign
        c.image += strength * _ramp(0.016 - np.abs(c.x - path), 0.014) * _ramp(0.10 - c.y, 0.05)
    elif kind == 2:  # pacemaker: a box under the clavicle and a lead to the heart
        box = np.maximum(np.abs(c.x - sign * 0.52) / 0.10, np.abs(c.y + 0.46) / 0.08)
        lead = np.abs(c.x - sign * 0.45 * np.clip(0.25 - c.y, 0.0, 0.7) / 0.7 - 0.05)
        c.image += 0.35 * _ramp(1.0 - box, 0.15) + strength * _ramp(0.014 - lead, 0.014) * _ramp(
            0.3 - c.y, 0.04
        ) * _ramp(c.y + 0.46, 0.04)
    else:  # feeding tube to the stomach
        path = 0.03 + 0.35 * np.maximum(c.y - 0.45, 0.0)
        c.image += strength * _ramp(0.016 - np.abs(c.x - path), 0.014)


_DRAWINGS: dict[str, Callable[[_Canvas, Finding, str], None]] = {
    "Lung Opacity": _lung_opacity,
    "Lung Lesion": _lung_lesion,
    "Edema": _edema,
    "Consolidation": _consolidation,
    "Pneumonia": _pneumonia,
    "Atelectasis": _atelectasis,
    "Pneumothorax": _pneumothorax,
    "Pleural Effusion": _pleural_effusion,
    "Pleural Other": _pleural_other,
    "Support Devices": _support_devices,
}


def _expose(c: _Canvas) -> Array:
    """Returns the film as 8-bit grey: exposure, contrast, quantum noise."""
    gain, offset, noise = c.rng.random(3).astype(np.float32)
    image = c.image + 0.02 * c.grain
    image += (0.020 + 0.030 * noise) * c.rng.standard_normal(image.shape, dtype=np.float32)
    image = 0.12 + 0.08 * (offset - 0.5) + (0.85 + 0.30 * (gain - 0.5)) * image
    return (np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
