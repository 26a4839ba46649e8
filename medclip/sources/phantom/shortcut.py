"""A mark on a film that goes with an observation: in training one way, in the test another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from labelers.errors import UserError
from medclip.sources.phantom.population import PREVALENCE, Study

KINDS = ("marker", "border", "exposure")


@dataclass(frozen=True)
class Shortcut:
    """How often a mark goes with an observation.

    Attributes:
        observation: The observation.
        kind: One of `KINDS`.
        train: Share of images with it that bear the mark, and of those without it that do not, in train and valid.
        test: The same in test; 0.5 says nothing of it, less than that the contrary.
    """

    observation: str
    kind: str = "marker"
    train: float = 0.95
    test: float = 0.05

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Shortcut:
        """Returns a shortcut from options.

        Raises:
            UserError: An option is unknown, missing or out of its range.
        """
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(options) - set(known)):
            raise UserError(f"phantom: shortcut has no {', '.join(unknown)}; it takes {', '.join(known)}.")
        if options.get("observation") not in PREVALENCE:
            raise UserError(
                f"phantom: shortcut goes with observation {options.get('observation')!r}; choose from "
                f"{', '.join(PREVALENCE)}."
            )
        made = cls(**options)
        if made.kind not in KINDS or not 0 <= made.train <= 1 or not 0 <= made.test <= 1:
            raise UserError(
                f"phantom: shortcut has kind {made.kind!r}, train {made.train}, test {made.test}; expected one of "
                f"{', '.join(KINDS)} and two shares."
            )
        return made

    def marks(self, study: Study) -> bool:
        """Tells whether the image of a study bears the mark."""
        share = self.test if study.split == "test" else self.train
        drawn = np.random.default_rng([study.seed, 6, study.number]).random()
        return bool(drawn < (share if study.sign(self.observation).present else 1 - share))


def marked(film: np.ndarray, kind: str) -> np.ndarray:
    """Returns a film, uint8 (S, S), with a mark."""
    made, size = film.copy(), len(film)
    if kind == "exposure":
        return np.round(made * 0.8).astype(np.uint8)
    if kind == "border":
        width = max(1, size // 20)
        made[:width], made[-width:], made[:, :width], made[:, -width:] = 0, 0, 0, 0
        return made
    thick, left, top, side = max(1, size // 32), size // 16, size // 16, size // 8
    made[top : top + side, left : left + thick] = 255  # an L in the corner
    made[top + side - thick : top + side, left : left + side] = 255
    return made
