"""The healthy chest of a study: lungs, heart, mediastinum, ribs, vessels, and what signs of disease need of them.

Coordinates are x (image left to right, so the patient's right is at negative x) and y (top to bottom), both about
-1 to 1. Brightness is attenuation: air is dark, bone and metal bright. Everything is arithmetic on whole arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from medclip.sources.phantom.population import Sign, Study

Array = np.ndarray
#: Columns, rows: left, top, width, height in pixels.
Box = tuple[float, float, float, float]

LUNG_X, LUNG_WIDTH, LUNG_TOP, LUNG_BASE = 0.43, 0.33, -0.78, 0.52


@dataclass(frozen=True)
class Pose:
    """How a patient stands: `(x, y) = turn (column, row) + shift`, columns and rows from -1 to 1.

    Attributes:
        cos: Cosine of the angle, divided by the scale.
        sin: Its sine, likewise.
        right: Shift of x.
        down: Shift of y.
    """

    cos: float
    sin: float
    right: float
    down: float

    def coordinates(self, size: int) -> tuple[Array, Array]:
        """Returns the patient's coordinates at each pixel."""
        grid = _grid(size)
        x = self.cos * grid[None, :] - self.sin * grid[:, None] + self.right
        y = self.sin * grid[None, :] + self.cos * grid[:, None] + self.down
        return x.astype(np.float32), y.astype(np.float32)

    def on_film(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Returns columns and rows, from -1 to 1, of the patient's coordinates."""
        x, y, square = x - self.right, y - self.down, self.cos**2 + self.sin**2
        return (self.cos * x + self.sin * y) / square, (self.cos * y - self.sin * x) / square


@dataclass
class Canvas:
    """The image in the making and the anatomy that signs refer to."""

    size: int
    pose: Pose
    x: Array
    y: Array
    image: Array
    lungs: dict[str, Array]
    base: dict[str, float]
    heart_width: float
    mediastinum_width: float
    grain: Array
    rng: np.random.Generator
    boxes: list[tuple[str, Box]] = field(default_factory=list)

    def mark(self, observation: str, x: float, y: float, half_width: float, half_height: float) -> None:
        """Remembers where `observation` was drawn, as a box in pixels clipped to the image."""
        corners = np.array([(x + i * half_width, y + j * half_height) for i in (-1, 1) for j in (-1, 1)])
        columns, rows = ((at + 1) * self.size / 2 for at in self.pose.on_film(corners[:, 0], corners[:, 1]))
        left, top = max(0.0, float(columns.min())), max(0.0, float(rows.min()))
        right, bottom = min(float(self.size), float(columns.max())), min(float(self.size), float(rows.max()))
        if right > left and bottom > top:
            self.boxes.append((observation, (left, top, right - left, bottom - top)))


def draw_anatomy(study: Study, size: int) -> Canvas:
    """Returns the chest of `study` before disease, (size, size)."""
    rng = np.random.default_rng([study.seed, 2, study.number])
    u = rng.random(24).astype(np.float32)
    pose = _pose(u)
    x, y = pose.coordinates(size)
    enlarged, mediastinum = study.sign("Cardiomegaly"), study.sign("Enlarged Cardiomediastinum")
    projection = 1.06 if study.view == "AP" else 1.0  # the heart is farther from the film
    heart_width = (0.27 + 0.05 * u[4]) * projection * (1.12 + 0.4 * enlarged.severity if enlarged.present else 1.0)
    mediastinum_width = (0.10 + 0.03 * u[5]) * (1.25 + 0.7 * mediastinum.severity if mediastinum.present else 1.0)
    lungs, base = {}, {}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        base[side] = LUNG_BASE - 0.12 * u[6] - (0.05 if side == "right" else 0.0) - _raised(study, side)
        across = (x - sign * LUNG_X) / LUNG_WIDTH
        along = (y - (LUNG_TOP + 0.75)) / 0.75
        inside = ramp(1.0 - across * across - along * along * np.abs(along), 0.16)
        dome = base[side] + (0.02 if study.has("Emphysema") else 0.16) * across * across
        lungs[side] = inside * ramp(dome - y, 0.05)
    wide, high = (x / 0.97) ** 2, (np.minimum(y, 0.3) / 1.25) ** 2
    body = ramp(1.0 - wide * wide - high * high * high, 0.25)
    air = lungs["left"] + lungs["right"]
    grain = _grain(size, rng)
    image = body * (0.62 + 0.05 * y) - (0.47 if study.has("Emphysema") else 0.42) * air
    _add_vessels(image, x, y, air, grain, 0.05 + 0.04 * float(u[7]))
    image += 0.10 * ramp(0.08 - np.abs(x - _curve(study, y)), 0.08) * body  # spine
    image += 0.20 * ramp(mediastinum_width + 0.05 * y - np.abs(x), 0.10) * body * ramp(0.55 - y, 0.2)
    heart = ramp(1.0 - ((x - 0.10 - 0.1 * y) / heart_width) ** 2 - ((y - 0.24) / 0.32) ** 2, 0.35)
    image += (0.10 + 0.24 * np.minimum(air, 1.0)) * heart
    _add_ribs(image, x, y, body, u, study.sign("Fracture"))
    canvas = Canvas(size, pose, x, y, image, lungs, base, heart_width, mediastinum_width, grain, rng)
    _mark_anatomy(canvas, study)
    return canvas


def _raised(study: Study, side: str) -> float:
    """Returns how far disease moves the diaphragm of one side up."""
    total, collapse = 0.0, study.sign("Atelectasis")
    if collapse.present and collapse.side in (side, "bilateral"):
        total += 0.14 * collapse.severity
    if study.has("Hemidiaphragm Elevation") and study.sign("Hemidiaphragm Elevation").side == side:
        total += 0.18 + 0.12 * study.sign("Hemidiaphragm Elevation").severity
    return total - (0.10 if study.has("Emphysema") else 0.0)


def _curve(study: Study, y: Array) -> Array | float:
    """Returns how far the spine is to the side at each height."""
    if not study.has("Scoliosis"):
        return 0.0
    bend = study.sign("Scoliosis")
    to = 1.0 if bend.side == "left" else -1.0
    return to * (0.10 + 0.10 * bend.severity) * np.cos(2.0 * (y + 0.1))


def _mark_anatomy(canvas: Canvas, study: Study) -> None:
    """Marks what is drawn as a change of the anatomy itself."""
    if study.sign("Cardiomegaly").present:
        canvas.mark("Cardiomegaly", 0.124, 0.24, canvas.heart_width, 0.32)
    if study.sign("Enlarged Cardiomediastinum").present:
        canvas.mark("Enlarged Cardiomediastinum", 0.0, -0.12, canvas.mediastinum_width, 0.66)
    if study.sign("Fracture").present:
        sign, where, level = _break(study.sign("Fracture"))
        canvas.mark("Fracture", sign * where, level, 0.08, 0.16)


def _pose(u: Array) -> Pose:
    """Returns how the patient stands: rotated, shifted, scaled."""
    angle = 0.10 * (u[0] - 0.5)
    scale = 1.0 + 0.14 * (u[1] - 0.5)
    return Pose(np.cos(angle) / scale, np.sin(angle) / scale, 0.10 * (u[2] - 0.5), 0.12 * (u[3] - 0.5))


def _break(fracture: Sign) -> tuple[float, float, float]:
    """Returns the side of a broken rib (1 for the left), how far outward it breaks, and its height."""
    sign = 1.0 if fracture.side != "right" else -1.0
    return sign, 0.35 + 0.3 * fracture.place[0], -0.5 + 0.8 * fracture.place[1]


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


def ramp(distance: Array, width: float) -> Array:
    """0 outside, 1 inside, linear over `width`: an edge as blurred as a film's."""
    return np.clip(distance * (1.0 / width) + 0.5, 0.0, 1.0)


def _add_vessels(image: Array, x: Array, y: Array, air: Array, grain: Array, strength: float) -> None:
    near_hilum = 1.0 / (1.0 + 6.0 * ((np.abs(x) - 0.16) ** 2 + (y - 0.05) ** 2))
    image += strength * air * near_hilum * (1.0 + np.maximum(grain, -0.5))


def _add_ribs(image: Array, x: Array, y: Array, body: Array, u: Array, fracture: Sign) -> None:
    count, slope = 6.5 + 1.5 * u[8], 0.55 + 0.2 * u[9]
    outward = np.abs(x)
    height = y + slope * (outward - 0.45) ** 2 - 0.25 * outward
    if fracture.present:
        # The outer part of one rib steps up or down behind the break, and the break itself is a dark gap.
        sign, where, level = _break(fracture)
        near = np.abs(y - level) < 0.16
        outer = near & (sign * x > where)
        height = np.where(outer, height + 0.05 + 0.06 * fracture.severity, height)
    wave = np.cos(height * (np.pi * count))
    ribs = np.maximum(wave - 0.35, 0.0) * (0.13 + 0.05 * u[10])
    cage = ramp(0.84 - outward, 0.1) * ramp(0.62 - y, 0.2) * ramp(outward - 0.06, 0.05)
    if fracture.present:
        gap = near & (np.abs(sign * x - where) < 0.022)
        ribs = np.where(gap, 0.0, ribs)
    image += ribs * cage * body
    if fracture.present and fracture.severity > 1.0:  # an old break, with a callus
        callus = np.exp(-(((x - sign * where) / 0.09) ** 2) - ((y - level) / 0.055) ** 2)
        image += 0.20 * fracture.severity * callus * body
    clavicle = np.abs(y + 0.66 - 0.22 * (outward - 0.4) + 0.25 * (outward - 0.4) ** 2)
    image += 0.14 * ramp(0.035 - clavicle, 0.02) * ramp(outward - 0.1, 0.05) * ramp(0.8 - outward, 0.1)
