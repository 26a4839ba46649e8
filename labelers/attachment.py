"""Which mention each attribute of a sentence belongs to.

An attribute belongs to the mention it stands in, or to the one behind it in the same noun phrase ("small left
effusion"), or to the one before it ("effusion on the left, unchanged"), or it opens the sentence ("in the left lung
there is ..."). The words that decide stand in the language's `attachment.txt`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from labelers.lexicon_files import read_groups
from labelers.mentions import Mention
from labelers.sizes import Size

#: Kinds of which a mention may have several; of the others the nearest counts.
SEVERAL = ("location",)
#: Kinds that mentions joined by "and" or "or" share.
_SHARED = ("side", "location")
#: Kinds that follow their mention only as its predicate or apposition: "the effusion is small".
_STRICT = ("severity", "size", "certainty")
#: Kinds that an organ does not hand on: in "opacity in the right lung" the side is the opacity's.
_OF_ORGANS = ("severity", "size", "course")
_REACH = 15  # tokens an attribute may stand from its mention
_PAIRED_SIDES = {"left", "right"}


class Attribute(NamedTuple):
    """Tokens [start, end) of a sentence that say something of a mention.

    Attributes:
        kind: "severity", "side", "location", "size", "course", "comparison" or "certainty".
        value: one of the values of that kind in `attributes.txt`; "" for sizes.
        size: A size, for attributes that hold sizes.
    """

    kind: str
    value: str
    start: int
    end: int
    size: Size | None = None


@dataclass(frozen=True)
class AttachmentWords:
    """The groups of a language's `attachment.txt`, and the verbs of its `clauses.txt`."""

    stops: frozenset[str]
    links: frozenset[str]
    prepositions: frozenset[str]
    pairs: frozenset[str]
    fillers: frozenset[str]
    clause_ends: frozenset[str]
    comparison_words: frozenset[str]
    verbs: frozenset[str]
    existence: frozenset[str]


def load_attachment_words(language: str) -> AttachmentWords:
    """Returns the words that decide attachment in a language; groups that it lacks are empty."""
    groups, clauses = read_groups(language, "attachment"), read_groups(language, "clauses")
    names = ("stops", "links", "prepositions", "pairs", "fillers")
    return AttachmentWords(
        **{name: frozenset(groups.get(name, ())) for name in names},
        clause_ends=frozenset(groups.get("clause ends", ())),
        comparison_words=frozenset(groups.get("comparison words", ())),
        verbs=frozenset(clauses.get("verbs", ())),
        existence=frozenset(clauses.get("existence", ())),
    )


class Attachment:
    """Assigns the attributes of one sentence to its units: mentions, those that overlap taken together."""

    def __init__(
        self,
        words: AttachmentWords,
        tokens: Sequence[str],
        mentions: Sequence[Mention],
        found: list[Attribute],
        *,
        organs: Sequence[Mention] = (),
    ) -> None:
        self._words = words
        self._tokens = tokens
        self._units = _units(mentions)
        courses = [a for a in found if a.kind == "course"]
        if courses:  # "significant change" names an abnormality, and none in "no significant change"
            self._units = [u for u in self._units if not any(a.start <= u[0] and u[1] <= a.end for a in courses)]
        self._marked = {i for a in found for i in range(a.start, a.end)}
        self._breaks: set[int] | None = None
        self._common = tuple([a for a in found if a.kind == "comparison"])
        self._before: list[list[Attribute]] = [[] for _ in self._units]
        self._after: list[list[Attribute]] = [[] for _ in self._units]
        for attribute in found:
            if attribute.kind != "comparison" and not (organs and self._is_of_organ(attribute, organs)):
                self._assign(attribute)
        if len(self._units) > 1:
            self._share()

    def attributes_of(self, mention: Mention) -> tuple[Attribute, ...]:
        """Returns what belongs to `mention`."""
        index = self._unit_from(mention.start)
        if index is None or self._units[index][0] > mention.start:
            return ()
        before, after = self._before[index], self._after[index]
        if mention.kind == "subject":  # behind "the heart" is the next subject: "the heart and mediastinum are normal"
            after = [a for a in after if a.kind == "side"]
        kinds = [a.kind for a in before] + [a.kind for a in after]
        if len(set(kinds)) == len(kinds):
            return (*before, *after, *self._common)
        kept: list[Attribute] = []
        for kind in dict.fromkeys(kinds):
            kept += _chosen(kind, [a for a in before if a.kind == kind], [a for a in after if a.kind == kind])
        return (*sorted(kept, key=_start), *self._common)

    def _is_of_organ(self, attribute: Attribute, organs: Sequence[Mention]) -> bool:
        """Tells whether `attribute` describes an organ of which nothing is found: "unchanged cardiac silhouette"."""
        if attribute.kind not in _OF_ORGANS:
            return False
        following = self._unit_from(attribute.start)
        limit = len(self._tokens) if following is None else self._units[following][0]
        return any(
            attribute.end <= organ.start < limit and self._leads_to(attribute, organ.start)
            for organ in organs
            if organ.end <= limit
        )

    def _unit_from(self, position: int) -> int | None:
        """Returns the first unit that ends behind `position`."""
        for i, (_, end) in enumerate(self._units):
            if end > position:
                return i
        return None

    def _assign(self, attribute: Attribute) -> None:
        following = self._unit_from(attribute.start)
        if following is not None and (
            self._units[following][0] <= attribute.start or self._leads_to(attribute, self._units[following][0])
        ):
            self._before[following].append(attribute)
            return
        previous = len(self._units) - 1 if following is None else following - 1
        if previous >= 0 and self._follows(attribute, self._units[previous][1]):
            self._after[previous].append(attribute)
        elif following is not None and self._opens(attribute, self._units[following][0]):
            self._before[following].append(attribute)

    def _leads_to(self, attribute: Attribute, start: int) -> bool:
        """Tells whether only words of one noun phrase stand between `attribute` and the mention behind it."""
        words = self._words
        if start - attribute.end > _REACH:
            return False
        for i in range(attribute.end, start):
            token = self._tokens[i]
            if i in self._marked or token in words.links:
                continue
            blocked = token in words.prepositions or token in words.pairs or token in words.verbs
            if not self._joins(i) and (blocked or token in words.stops or token in words.clause_ends):
                return False
        return True

    def _joins(self, i: int) -> bool:
        """Tells whether the token at `i` joins two attributes: "upper and lower"."""
        return self._tokens[i] in self._words.pairs and i - 1 in self._marked and i + 1 in self._marked

    def _follows(self, attribute: Attribute, end: int) -> bool:
        """Tells whether `attribute` speaks of the mention that ends at `end`."""
        words = self._words
        if attribute.start - end > _REACH:
            return False
        if self._breaks is None:
            self._breaks = self._clause_breaks()
        for i in range(end, attribute.start):
            token = self._tokens[i]
            if token in words.stops or i in self._breaks:
                return False
            if token in words.clause_ends and not self._goes_on(i + 1, attribute):
                return False
            if token in ("and", "or") and not self._joins(i) and not self._is_filled(i + 1, attribute.start):
                return False
            if attribute.kind in _STRICT and i not in self._marked and token not in words.fillers:
                return False
        return True

    def _goes_on(self, start: int, attribute: Attribute) -> bool:
        """Tells whether the clause from `start` on has no subject of its own before a course or a size."""
        return attribute.kind in ("course", "size") and self._is_filled(start, attribute.start)

    def _is_filled(self, start: int, end: int) -> bool:
        """Tells whether tokens [start, end) name nothing: attributes, prepositions and other small words."""
        known = self._words.fillers | self._words.prepositions
        return all(i in self._marked or self._tokens[i] in known for i in range(start, end))

    def _opens(self, attribute: Attribute, start: int) -> bool:
        """Tells whether `attribute` opens a clause with the mention at `start`: "in the left lung there is"."""
        words, tokens = self._words, self._tokens
        if attribute.kind not in _SHARED or start - attribute.end > _REACH:
            return False
        lead = attribute.start - 1
        while lead >= 0 and (lead in self._marked or tokens[lead] in words.fillers - words.prepositions):
            lead -= 1
        gap = range(attribute.end, start)
        return (
            lead >= 0
            and tokens[lead] in words.prepositions
            and any(tokens[i] == "," or tokens[i] in words.verbs for i in gap)
            and not any(tokens[i] in words.stops or (tokens[i] in ("and", "or") and not self._joins(i)) for i in gap)
        )

    def _share(self) -> None:
        """Gives sides and locations to every mention of a pair: "atelectasis or pneumonia at the left base"."""
        last = len(self._units) - 1
        for i in range(last):
            if self._paired(i):
                start = self._units[i][0]  # what stands in the mention is its name: "mediastinum and lungs"
                _inherit([a for a in self._before[i] if a.start < start], self._before[i + 1])
        for i in range(last, 0, -1):
            if self._paired(i - 1) and not _kinds(self._before[i]) & set(_SHARED):
                _inherit(self._after[i], self._after[i - 1], unless=self._before[i - 1])

    def _paired(self, i: int) -> bool:
        between = self._tokens[self._units[i][1] : self._units[i + 1][0]]
        return bool(between) and all(token in self._words.pairs for token in between)

    def _clause_breaks(self) -> set[int]:
        """Returns the joints behind which a new clause with its own subject and verb begins."""
        words, breaks = self._words, set[int]()
        joint: int | None = None
        for i, token in enumerate(self._tokens):
            if token in (",", "and", "or"):
                joint = i
            elif token in words.verbs and joint is not None:
                own_subject = any(
                    j not in self._marked and self._tokens[j] not in words.fillers for j in range(joint + 1, i)
                )
                existence = any(word in words.existence for word in self._tokens[i + 1 : i + 4])
                if token == "there" or (own_subject and not existence):
                    breaks.add(joint)
                joint = None
        return breaks


def _units(mentions: Iterable[Mention]) -> list[tuple[int, int]]:
    """Returns the spans of mentions in order, those that overlap or touch joined: "calcified granuloma"."""
    units: list[tuple[int, int]] = []
    for start, end in sorted([(m.start, m.end) for m in mentions]):
        if units and start <= units[-1][1]:
            units[-1] = units[-1][0], max(end, units[-1][1])
        else:
            units.append((start, end))
    return units


def _chosen(kind: str, before: list[Attribute], after: list[Attribute]) -> list[Attribute]:
    """Returns which of several attributes of one kind count."""
    if kind in SEVERAL:
        return list({a.value: a for a in (*before, *after)}.values())
    near = before or after
    if kind == "side":
        values = {a.value for a in near}
        return near if values >= _PAIRED_SIDES else [_nearest(before, after)]
    return [_nearest(before, after)]


def _start(attribute: Attribute) -> int:
    return attribute.start


def _nearest(before: list[Attribute], after: list[Attribute]) -> Attribute:
    return before[-1] if before else after[0]


def _kinds(attributes: Iterable[Attribute]) -> set[str]:
    return {a.kind for a in attributes}


def _inherit(source: list[Attribute], target: list[Attribute], *, unless: Sequence[Attribute] = ()) -> None:
    """Adds the shared kinds of `source` that `target` has none of."""
    own = _kinds(target) | _kinds(unless)
    target += [a for a in source if a.kind in _SHARED and a.kind not in own]
