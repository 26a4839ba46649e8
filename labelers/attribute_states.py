"""States of an observation on one side or of one size, as columns of their own: "Pleural Effusion (left)".

They let label vectors tell a left effusion from a right one, which the observation alone cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from labelers.aggregate import RANK
from labelers.errors import UserError
from labelers.findings import Statement
from labelers.observations import NO_FINDING

#: The values that each kind of attribute distinguishes.
VALUES = {"side": ("left", "right"), "size": ("small", "large")}
#: What a value of a finding names; a moderate one is neither small nor large.
_SAID = {
    "left": ("left",), "right": ("right",), "bilateral": ("left", "right"),
    "mild": ("small",), "mild to moderate": (), "moderate": (), "moderate to severe": ("large",), "severe": ("large",),
}  # fmt: skip


def attribute_name(observation: str, value: str) -> str:
    """Returns the column of an observation on one side or of one size."""
    return f"{observation} ({value})"


def observation_of(column: str) -> tuple[str, str] | None:
    """Returns the observation and the kind of attribute of a column; None for a column that is not one of these."""
    observation, _, value = column.removesuffix(")").rpartition(" (")
    kinds = [kind for kind, values in VALUES.items() if value in values]
    return (observation, kinds[0]) if observation and kinds and column.endswith(")") else None


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
    """Reads the states of attributes from statements.

    Args:
        observations: Observations to read them for.
        kinds: Some of "side" and "size".
    """

    def __init__(self, observations: Sequence[str], kinds: Sequence[str]) -> None:
        self.names = attribute_names(observations, kinds)
        self._column = {name: i for i, name in enumerate(self.names)}
        self._kinds = tuple(kinds)

    def ranks(self, said: Iterable[Statement], *, whole: bool) -> list[int]:
        """Returns the rank of each attribute in what one text says; see `labelers.aggregate`.

        Args:
            said: Its statements.
            whole: Whether it is a whole report. Then "left effusion" also says that there is none on the right, unless
                the report puts one there, and a finding of one size is not of another. A sentence says nothing of
                sides and sizes that it does not name.
        """
        ranks = [0] * len(self.names)
        for statement in said:
            for kind, value in self._attributes_of(statement):
                named = _SAID.get(value)
                if named is None:
                    continue
                self._raise(ranks, statement.observation, named, RANK[statement.state])
                if whole and statement.state == "positive":
                    self._raise(ranks, statement.observation, VALUES[kind], RANK["negative"])
        return ranks

    def _attributes_of(self, statement: Statement) -> list[tuple[str, str]]:
        description = statement.description
        found = {"side": description.side, "size": description.severity}
        return [(kind, found[kind]) for kind in self._kinds]

    def _raise(self, ranks: list[int], observation: str, values: Iterable[str], rank: int) -> None:
        for value in values:
            column = self._column.get(attribute_name(observation, value))
            if column is not None:
                ranks[column] = max(ranks[column], rank)
