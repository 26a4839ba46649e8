"""What is said of a mention beside its state: severity, side, location, course."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from labelers.mentions import Mention
from labelers.patterns import Match, PatternSet
from labelers.vocabulary import read_groups

#: Kinds that may also follow a mention: "effusion on the left", "opacity, unchanged".
_TRAILING = ("side", "location", "course")


class Attributes:
    """Finds the attributes of the mentions of a sentence.

    Words belong to the mention they stand before, back to the last joining word or mention; sides, locations and
    courses also to the one they follow, up to the next.

    Args:
        language: whose `attributes.txt` and joining words to read.
    """

    def __init__(self, language: str) -> None:
        groups = read_groups(language, "attributes")
        self._values = [tuple(name.split("/", 1)) for name, entries in groups.items() for _ in entries]
        self._patterns = PatternSet(entry for entries in groups.values() for entry in entries)
        self._joints = frozenset(read_groups(language, "clauses").get("joints", ())) | frozenset(".,;:，。；")

    def __call__(self, tokens: Sequence[str], mentions: Sequence[Mention]) -> list[Mapping[str, str]]:
        """Returns, for each mention, its attributes by kind; of two of one kind the nearest counts."""
        found = self._patterns.find(tokens)
        taken = {i for mention in mentions for i in range(mention.head, mention.end)}
        return [self._of(mention, tokens, found, taken) for mention in mentions]

    def _of(self, mention: Mention, tokens: Sequence[str], found: list[Match], taken: set[int]) -> Mapping[str, str]:
        first = self._edge(range(mention.start - 1, -1, -1), tokens, taken) + 1
        last = self._edge(range(mention.end, len(tokens)), tokens, taken)
        near: dict[str, tuple[int, str]] = {}
        for match in found:
            kind, value = self._values[match.entry]
            before, after = first <= match.start < mention.end, mention.end <= match.start and match.end <= last
            if before or (after and kind in _TRAILING):
                distance = abs(match.start - mention.start)
                if kind not in near or distance < near[kind][0]:
                    near[kind] = distance, value
        return {kind: value for kind, (_, value) in sorted(near.items())}

    def _edge(self, walk: range, tokens: Sequence[str], taken: set[int]) -> int:
        """Returns the first position of `walk` that no attribute may lie beyond."""
        for i in walk:
            if i in taken or tokens[i] in self._joints:
                return i
        return walk.stop


@lru_cache(maxsize=4)
def load_attributes(language: str) -> Attributes:
    """Returns the attributes of a language."""
    return Attributes(language)
