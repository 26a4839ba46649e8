"""What version 2 draws of findings outside the 14. Emphysema, scoliosis and a raised diaphragm change the anatomy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medclip.sources.phantom.anatomy import Canvas, ramp
from medclip.sources.phantom.population import Sign


def _granuloma(c: Canvas, f: Sign, side: str) -> None:
    x, y = _toward(side) * (0.28 + 0.28 * f.place[0]), -0.5 + 0.75 * f.place[1]
    radius = 0.025 + 0.02 * f.severity
    c.image += 0.55 * ramp(radius - np.hypot(c.x - x, c.y - y), 0.02)
    c.mark(f.observation, x, y, radius, radius)


def _lung_cavity(c: Canvas, f: Sign, side: str) -> None:
    x, y = _toward(side) * (0.30 + 0.22 * f.place[0]), -0.45 + 0.35 * f.place[1]
    radius = 0.10 + 0.06 * f.severity
    distance = np.hypot(c.x - x, c.y - y)
    c.image += 0.34 * ramp(0.035 - np.abs(distance - radius), 0.03) - 0.08 * ramp(radius - distance, 0.03)
    c.mark(f.observation, x, y, radius + 0.03, radius + 0.03)


def _hernia(c: Canvas, f: Sign, side: str) -> None:
    x, y, radius = 0.06 + 0.1 * f.place[0], 0.38 + 0.06 * f.place[1], 0.14 + 0.07 * f.severity
    distance = np.hypot(c.x - x, c.y - y)
    c.image += 0.22 * ramp(radius - distance, 0.04) - 0.30 * ramp(0.6 * radius - distance, 0.05) * (c.y < y)
    c.mark(f.observation, x, y, radius, radius)


def _tortuous_aorta(c: Canvas, f: Sign, side: str) -> None:
    x, y = 0.13 + 0.05 * f.severity, -0.36 + 0.1 * f.place[1]
    radius = 0.10 + 0.06 * f.severity
    c.image += 0.26 * ramp(radius - np.hypot(c.x - x, 0.8 * (c.y - y)), 0.05)
    c.mark(f.observation, x, y, radius, 1.25 * radius)


def _subcutaneous_emphysema(c: Canvas, f: Sign, side: str) -> None:
    outward, top = _toward(side) * c.x, -0.75 + 0.2 * f.place[0]
    streaks = np.cos(40.0 * (c.y + 0.5 * outward)) > 0.2
    wall = ramp(outward - 0.74, 0.05) * ramp(0.98 - outward, 0.05) * ramp(c.y - top, 0.1) * ramp(top + 0.9 - c.y, 0.1)
    c.image -= (0.18 + 0.14 * f.severity) * wall * streaks
    c.mark(f.observation, _toward(side) * 0.86, top + 0.45, 0.12, 0.45)


def _toward(side: str) -> float:
    return 1.0 if side == "left" else -1.0


#: What draws a finding on one side.
RARE_DRAWINGS: dict[str, Callable[[Canvas, Sign, str], None]] = {
    "Granuloma": _granuloma,
    "Lung Cavity": _lung_cavity,
    "Hernia": _hernia,
    "Tortuous Aorta": _tortuous_aorta,
    "Subcutaneous Emphysema": _subcutaneous_emphysema,
}
