"""Each observation as radiologists describe it, drawn onto a healthy chest.

Cardiomegaly, a wide mediastinum, raised bases and fractures change the anatomy itself; see `anatomy`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medclip.sources.phantom.anatomy import LUNG_TOP, LUNG_WIDTH, LUNG_X, Array, Canvas, ramp
from medclip.sources.phantom.population import Sign


def _toward(side: str) -> float:
    return 1.0 if side == "left" else -1.0


def _blob(c: Canvas, x: float, y: float, width: float, height: float) -> Array:
    return np.exp(-(((c.x - x) / width) ** 2) - ((c.y - y) / height) ** 2)


def _in_lung(sign: Sign, side: str, *, low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
    """Returns a point in the lung of `side`, between the shares `low` and `high` of its height."""
    x = _toward(side) * (0.28 + 0.30 * sign.place[0])
    share = low + (high - low) * sign.place[1]
    return x, -0.60 + 0.95 * share


def _lung_opacity(c: Canvas, f: Sign, side: str) -> None:
    x, y = _in_lung(f, side)
    width = 0.13 + 0.12 * f.severity
    patch = _blob(c, x, y, width, width * 1.2) * np.maximum(0.5 + 0.6 * c.grain, 0.0)
    c.image += (0.10 + 0.16 * f.severity) * patch * c.lungs[side]
    c.mark(f.observation, x, y, width, width * 1.2)


def _pneumonia(c: Canvas, f: Sign, side: str) -> None:
    x, y = _in_lung(f, side, low=0.45)
    for dx, dy in ((0.0, 0.0), (0.11, -0.10), (-0.08, 0.12)):
        c.image += (0.10 + 0.14 * f.severity) * _blob(c, x + dx, y + dy, 0.09, 0.08) * c.lungs[side]
    c.mark(f.observation, x + 0.015, y + 0.01, 0.18, 0.19)


def _consolidation(c: Canvas, f: Sign, side: str) -> None:
    upper = f.place[1] < 0.35
    x, y = _toward(side) * 0.42, -0.38 if upper else 0.24
    height = 0.16 + 0.10 * f.severity
    fissure = y + (height if upper else -height) + 0.15 * (np.abs(c.x) - 0.4)
    lobe = ramp((fissure - c.y) if upper else (c.y - fissure), 0.04) * c.lungs[side]
    bronchograms = 1.0 - 0.35 * (np.abs(c.grain) < 0.15)
    c.image += (0.16 + 0.16 * f.severity) * lobe * bronchograms * _blob(c, x, y, 0.45, 0.45)
    c.mark(f.observation, x, y, 0.30, height)


def _lung_lesion(c: Canvas, f: Sign, side: str) -> None:
    x, y = _in_lung(f, side, high=0.9)
    radius = 0.035 + 0.06 * f.severity
    distance = np.sqrt((c.x - x) ** 2 + (c.y - y) ** 2)
    c.image += (0.16 + 0.10 * f.severity) * ramp(radius - distance, 0.03)
    c.mark(f.observation, x, y, radius, radius)


def _edema(c: Canvas, f: Sign, side: str) -> None:
    # Both sides, like a bat's wings; a little more on one of them.
    lean = 0.03 * _toward(side)
    outward = np.abs(c.x + lean)
    wings = np.exp(-(((outward - 0.26) / 0.22) ** 2) - ((c.y - 0.02) / 0.34) ** 2)
    haze = (0.05 + 0.15 * f.severity) * wings * np.clip(1.0 + 0.4 * c.grain, 0.3, 1.6)
    kerley = (
        0.05 * f.severity * (np.cos(c.y * 70.0) > 0.85) * (np.abs(outward - 0.66) < 0.09) * (np.abs(c.y - 0.28) < 0.15)
    )
    c.image += (haze + kerley) * (c.lungs["left"] + c.lungs["right"])
    for sign in (1.0, -1.0):
        c.mark(f.observation, sign * 0.29 - lean, 0.02, 0.22, 0.34)


def _atelectasis(c: Canvas, f: Sign, side: str) -> None:
    y = c.base[side] - 0.10 - 0.10 * f.place[1]
    tilt = 0.4 * (f.place[0] - 0.5)
    for offset in (0.0, 0.09):
        band = np.abs(c.y - y + offset - tilt * (np.abs(c.x) - 0.42))
        c.image += (
            (0.08 + 0.14 * f.severity)
            * ramp(0.016 - band, 0.02)
            * c.lungs[side]
            * _blob(c, _toward(side) * 0.45, y, 0.25, 0.5)
        )
    c.mark(f.observation, _toward(side) * 0.42, y - 0.04, 0.25, 0.12)


def _pneumothorax(c: Canvas, f: Sign, side: str) -> None:
    depth = 0.03 + 0.15 * f.severity
    # The collapsed lung is the same shape, drawn towards the hilum; between the two there are no markings.
    across = (c.x - _toward(side) * (LUNG_X - 0.7 * depth)) / (LUNG_WIDTH - 0.5 * depth)
    along = (c.y - (LUNG_TOP + 0.75 + depth)) / 0.75
    shrunk = 1.0 - across * across - along * along * np.abs(along)
    reach = ramp(0.05 + 0.4 * f.severity - c.y, 0.4) * c.lungs[side]
    free = np.clip(-shrunk * 5.0, 0.0, 1.0) * reach
    c.image -= free * (0.6 * np.clip(c.image - 0.18, 0.0, 0.15))
    c.image += (0.03 + 0.05 * f.severity) * ramp(0.05 - np.abs(shrunk), 0.06) * reach
    c.mark(f.observation, _toward(side) * 0.45, -0.35, 0.33, 0.42)


def _pleural_effusion(c: Canvas, f: Sign, side: str) -> None:
    outward = _toward(side) * c.x
    level = c.base[side] + 0.10 - (0.04 + 0.42 * f.severity)
    meniscus = level - 0.9 * np.maximum(outward - 0.40, 0.0) ** 2 * (1.5 + f.severity)
    fluid = ramp(c.y - meniscus, 0.06) * np.minimum(4.0 * c.lungs[side], 1.0)
    layer = min(1.0, 1.0 + 6.0 * min(f.severity, 0.0))  # how much of the full attenuation; less below severity 0
    c.image += layer * fluid * np.maximum(0.60 - c.image, 0.0)
    top = level - 0.1
    c.mark(f.observation, _toward(side) * 0.45, (top + 0.6) / 2, 0.33, (0.6 - top) / 2)


def _pleural_other(c: Canvas, f: Sign, side: str) -> None:
    across = (c.x - _toward(side) * LUNG_X) / LUNG_WIDTH
    along = (c.y - (LUNG_TOP + 0.75)) / 0.75
    rim = np.abs(1.0 - across * across - along * along * np.abs(along) - 0.04)
    where = ramp(-0.35 - c.y, 0.2) if f.place[1] < 0.5 else ramp(_toward(side) * c.x - 0.55, 0.1)
    c.image += (0.14 + 0.14 * f.severity) * ramp(0.10 + 0.10 * f.severity - rim, 0.08) * where * ramp(0.4 - c.y, 0.2)
    c.mark(f.observation, _toward(side) * 0.5, -0.55 if f.place[1] < 0.5 else 0.0, 0.25, 0.2)


def _support_devices(c: Canvas, f: Sign, side: str) -> None:
    kind, sign = int(f.place[0] * 4), _toward(side)
    strength = 0.12 + 0.18 * f.severity
    if kind == 0:  # endotracheal tube
        line = np.abs(c.x - 0.02 * np.sin(3 * c.y)) + 2.0 * np.maximum(c.y + 0.12, 0.0)
        c.image += strength * (ramp(0.030 - line, 0.02) - 0.5 * ramp(0.012 - line, 0.02))
    elif kind == 1:  # central line from the arm or neck to the superior vena cava
        path = -0.10 + (sign * c.x + 0.1) * 0.0 + 0.75 * np.maximum(-(c.y + 0.35), 0.0) * sign
        c.image += strength * ramp(0.016 - np.abs(c.x - path), 0.014) * ramp(0.10 - c.y, 0.05)
    elif kind == 2:  # pacemaker: a box under the clavicle and a lead to the heart
        box = np.maximum(np.abs(c.x - sign * 0.52) / 0.10, np.abs(c.y + 0.46) / 0.08)
        lead = np.abs(c.x - sign * 0.45 * np.clip(0.25 - c.y, 0.0, 0.7) / 0.7 - 0.05)
        c.image += 0.35 * ramp(1.0 - box, 0.15) + strength * ramp(0.014 - lead, 0.014) * ramp(0.3 - c.y, 0.04) * ramp(
            c.y + 0.46, 0.04
        )
    else:  # feeding tube to the stomach
        path = 0.03 + 0.35 * np.maximum(c.y - 0.45, 0.0)
        c.image += strength * ramp(0.016 - np.abs(c.x - path), 0.014)


#: What draws an observation on one side.
DRAWINGS: dict[str, Callable[[Canvas, Sign, str], None]] = {
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
