"""States of an observation on one side or of one size, as columns of their own: "Pleural Effusion (left)".

They let label vectors tell a left effusion from a right one, which the observation alone cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from labelers.errors import UserError
from labelers.findings import Statement
from labelers.observations import NO_FINDING

#: The values that each kind of attribute distinguishes.
VALUES = {"side": ("left", "right"), "size": ("small", "large")}
_SIDES = {"left": ("left",), "right": ("right",), "bilateral": ("left", "right")}
_SIZES = {"mild": ("small",), "mild to moderate": (), "moderate": (), "moderate to severe": ("large",),
          "severe": ("large",)}  # fmt: skip
_STATES = {"negative": 0.0, "uncertain": -1.0, "positive": 1.0}
_RANK = {0.0: 1, -1.0: 2, 1.0: 3}


def attribute_name(observation: str, value: str) -> str:
    """Returns the column of an observation on one side or of one size."""
    return f"{observation} ({value})"


def attribute_names(observations: Sequence[str], kinds: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns that `kinds` of attributes add to `observations`.

    Raises:
        UserError: A kind is unknown.
    """
    if unknown := sorted(set(kinds) - set(VALUES)):
        raise UserError(f"Attributes: found {', '.join(unknown)}; choose from {', '.join(VALUES)}.")
    names = [name for name in observations if name != NO_FINDING]
    return tuple(attribute_name(name, value) for name in names for kind in kinds for value in VALUES[kind])


class AttributeStates:
    """Reads states of attributes from statements.

    Args:
        observations: Observations to read them for.
        kinds: Some of "side" and "size".
    """

    def __init__(self, observations: Sequence[str], kinds: Sequence[str]) -> None:
        self.names = attribute_names(observations, kinds)
        self._column = {name: i for i, name in enumerate(self.names)}
        self._kinds = tuple(kinds)

    def __call__(self, said: Iterable[Statement], *, whole: bool) -> np.ndarray:
        """Returns states (A,) of what one text says; NaN where it says nothing.

        Args:
            said: Its statements.
            whole: Whether it is a whole report. Then a finding that is said to be on one side only is denied for the
                other, and one of another size for the sizes that are not said; a sentence denies what it denies.
        """
        states = np.full(len(self.names), np.nan, dtype=np.float32)
        for statement in said:
            for kind, values in self._values(statement):
                self._set(states, statement.observation, values, _STATES[statement.state])
                others = [value for value in VALUES[kind] if value not in values]
                if whole and statement.state == "positive":
                    self._set(states, statement.observation, others, 0.0)
        return states

    def _values(self, statement: Statement) -> list[tuple[str, tuple[str, ...]]]:
        description = statement.description
        found = {"side": _SIDES.get(description.side), "size": _SIZES.get(description.severity)}
        return [(kind, values) for kind in self._kinds if (values := found[kind]) is not None]

    def _set(self, states: np.ndarray, observation: str, values: Iterable[str], state: float) -> None:
        for value in values:
            column = self._column.get(attribute_name(observation, value))
            if column is not None and _RANK[state] > _RANK.get(float(states[column]), 0):
                states[column] = state
