"""What every labeler is, and how one is found by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from labelers.errors import UserError

LABELERS = ("rules", "chexbert")


@runtime_checkable
class Labeler(Protocol):
    """Turns texts into states of observations.

    Examples:
        >>> from labelers import Labeler, load_labeler
        >>> isinstance(load_labeler("rules"), Labeler)
        True
    """

    @property
    def name(self) -> str:
        """What made the labels; written beside them."""

    @property
    def observations(self) -> tuple[str, ...]:
        """The columns of the result, in order."""

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Returns states (N, O), float32, for N texts: 1 positive, 0 negative, -1 uncertain, NaN unmentioned."""


def load_labeler(name: str = "rules", **options: Any) -> Labeler:
    """Returns the labeler called `name`, built with `options`.

    Raises:
        UserError: There is no labeler of that name.

    Examples:
        >>> from labelers import load_labeler
        >>> labeler = load_labeler("rules")
        >>> states = labeler(["The heart is enlarged. No pleural effusion."])
        >>> {name: float(state) for name, state in zip(labeler.observations, states[0]) if state == state}
        {'Cardiomegaly': 1.0, 'Pleural Effusion': 0.0}
    """
    if name == "rules":
        from labelers.rules import RuleLabeler

        return RuleLabeler(**options)
    if name == "chexbert":
        from labelers.chexbert import ChexbertLabeler

        return ChexbertLabeler(**options)
    raise UserError(f"There is no labeler {name!r}. Known: {', '.join(LABELERS)}.")
