"""The record of a finding: what a report says of one observation in one place.

A `Statement` is what a sentence says, with character offsets into the sentence, so that it can be kept for the next
report with the same sentence. A `Finding` is a statement in a report. Statements are made by the thousand a second,
which is why they are named tuples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from labelers.attachment import Attribute
from labelers.attributes import Attributes, side_of
from labelers.mentions import FoundCue, Mention
from labelers.patterns import fold
from labelers.sizes import Size, find_sizes

Span = tuple[int, int]
#: A mention, its state ("positive", "negative", "uncertain" or "ignored"), and the cue that decided.
ReadMention = tuple[Mention, str, FoundCue | None]

STATES = ("positive", "negative", "uncertain")
#: Grades of certainty that a finding is there, in descending order.
CERTAINTIES = ("present", "likely", "possible", "unlikely", "absent")


class AttributeSpan(NamedTuple):
    """Where an attribute is said: characters [start, end) of the sentence."""

    kind: str
    value: str
    start: int
    end: int


class Description(NamedTuple):
    """What a sentence says of a mention beside its state.

    Attributes:
        side: "left", "right", "bilateral" or "".
        location: in the order they are said.
        severity: "mild", "mild to moderate", "moderate", "moderate to severe", "severe" or "".
        size_mm: one number for each dimension; of a range the upper end.
        size_low_mm: the lower end of a range, else None.
        course: "new", "increased", "unchanged", "decreased", "resolved" or "".
        comparison: what the sentence compares with, in its words, or "".
        certainty: "likely", "unlikely" or "", from words beside the mention.
        spans: where the attributes are said.
    """

    side: str = ""
    location: tuple[str, ...] = ()
    severity: str = ""
    size_mm: tuple[float, ...] = ()
    size_low_mm: float | None = None
    course: str = ""
    comparison: str = ""
    certainty: str = ""
    spans: tuple[AttributeSpan, ...] = ()

    def in_words(self) -> dict[str, str]:
        """Returns course, location, severity, side and size where they are said, for people to read."""
        words = {
            "course": self.course,
            "location": ", ".join(self.location),
            "severity": self.severity,
            "side": self.side,
            "size": " x ".join(f"{number:g}" for number in self.size_mm) + " mm" if self.size_mm else "",
        }
        return {kind: value for kind, value in words.items() if value}


_NOTHING = Description()


class Statement(NamedTuple):
    """What one sentence says of one observation. All spans are characters [start, end) of the sentence.

    Attributes:
        state: "positive", "negative" or "uncertain".
        certainty: one of `CERTAINTIES`.
        pattern: the lexicon line that found the mention.
        cue: the lexicon line of the deciding cue, or "" where the mention speaks for itself.
        cue_span: where that cue stands, or None.
    """

    sentence: str
    observation: str
    state: str
    certainty: str
    description: Description
    span: Span
    pattern: str
    cue: str
    cue_span: Span | None

    @property
    def rule(self) -> str:
        """The lines of the lexicon that decided."""
        return f"{self.pattern} / {self.cue}" if self.cue else self.pattern


@dataclass(frozen=True, slots=True)
class Finding:
    """A statement in a report. Its spans are characters [start, end) of the report.

    Attributes:
        section: name of the section, or "report" where the text has no headings.
        start: where the sentence begins.
        said: the statement.
    """

    section: str
    start: int
    said: Statement

    @property
    def observation(self) -> str:
        return self.said.observation

    @property
    def state(self) -> str:
        return self.said.state

    @property
    def certainty(self) -> str:
        return self.said.certainty

    @property
    def side(self) -> str:
        return self.said.description.side

    @property
    def location(self) -> tuple[str, ...]:
        return self.said.description.location

    @property
    def severity(self) -> str:
        return self.said.description.severity

    @property
    def size_mm(self) -> tuple[float, ...]:
        return self.said.description.size_mm

    @property
    def size_low_mm(self) -> float | None:
        return self.said.description.size_low_mm

    @property
    def course(self) -> str:
        return self.said.description.course

    @property
    def comparison(self) -> str:
        return self.said.description.comparison

    @property
    def rule(self) -> str:
        return self.said.rule

    @property
    def attributes(self) -> Mapping[str, str]:
        """Severity, side, location, size and course where they are said, in words."""
        return self.said.description.in_words()

    @property
    def sentence(self) -> Span:
        return self.start, self.start + len(self.said.sentence)

    @property
    def span(self) -> Span:
        return self._in_report(self.said.span)

    @property
    def cue_span(self) -> Span | None:
        return None if self.said.cue_span is None else self._in_report(self.said.cue_span)

    @property
    def mention(self) -> str:
        """The words that name the observation."""
        return self.said.sentence[slice(*self.said.span)]

    @property
    def cue(self) -> str:
        """The words of the deciding cue, or ""."""
        return "" if self.said.cue_span is None else self.said.sentence[slice(*self.said.cue_span)]

    def _in_report(self, span: Span) -> Span:
        return self.start + span[0], self.start + span[1]


def record_of(finding: Finding) -> dict[str, Any]:
    """Returns a finding as plain values, as written to JSON."""
    return {"section": finding.section, "sentence_span": finding.sentence, "span": finding.span} | said_record(
        finding.said
    )


def said_record(said: Statement) -> dict[str, Any]:
    """Returns the part of a record that does not depend on where the sentence stands."""
    description = said.description
    return {
        "observation": said.observation,
        "state": said.state,
        "certainty": said.certainty,
        "side": description.side,
        "location": description.location,
        "severity": description.severity,
        "size_mm": description.size_mm,
        "size_low_mm": description.size_low_mm,
        "course": description.course,
        "comparison": description.comparison,
        "sentence": said.sentence,
        "mention": said.sentence[slice(*said.span)],
        "cue": said.sentence[slice(*said.cue_span)] if said.cue_span else "",
        "rule": said.rule,
    }


def statements(
    sentence: str, tokens: Sequence[str], read: Sequence[ReadMention], names: Sequence[str], attributes: Attributes
) -> tuple[Statement, ...]:
    """Returns what `sentence` says, one statement for each mention and observation.

    Args:
        sentence: the text.
        tokens: of it.
        read: its mentions with their states.
        names: of the observations that mentions point to.
        attributes: of the vocabulary's language.
    """
    counted = [entry for entry in read if entry[1] in STATES]
    if not counted:
        return ()
    spans = _spans(sentence, tokens)
    # What is neither present nor denied ("the left lung") takes no attribute from the finding beside it.
    named = [entry for entry in read if entry[1] in STATES or entry[0].kind != "subject"]
    sizes = [_size_attribute(size, spans) for size in find_sizes(sentence)]
    told = attributes(tokens, [mention for mention, _, _ in named], sizes)
    found: list[Statement] = []
    for entry, of_mention in zip(named, told, strict=True):
        if entry[1] in STATES:
            description = _describe(sentence, spans, of_mention) if of_mention else _NOTHING
            found += _of_mention(sentence, tokens, spans, entry, description, names, attributes)
    return tuple(found)


def _of_mention(
    sentence: str,
    tokens: Sequence[str],
    spans: Sequence[Span],
    entry: ReadMention,
    description: Description,
    names: Sequence[str],
    attributes: Attributes,
) -> list[Statement]:
    mention, state, cue = entry
    by_cue = attributes.certainty(tuple(tokens[max(0, cue.start - 1) : cue.end])) if cue else ""
    certainty = _certainty(state, description.certainty, by_cue)
    span, cue_span = _characters(mention, spans), _characters(cue, spans) if cue else None
    line, cue_line = mention.pattern, cue.cue.pattern if cue else ""
    return [
        Statement(sentence, names[i], state, certainty, description, span, line, cue_line, cue_span)
        for i in mention.observations
    ]


def _describe(sentence: str, spans: Sequence[Span], told: tuple[Attribute, ...]) -> Description:
    values = {a.kind: a.value for a in told}
    size = next((a.size for a in told if a.size is not None), None) if "size" in values else None
    comparison = next((a for a in told if a.kind == "comparison"), None) if "comparison" in values else None
    return Description(
        side=side_of(told) if "side" in values else "",
        location=tuple([a.value for a in told if a.kind == "location"]) if "location" in values else (),
        severity=values.get("severity", ""),
        size_mm=size.mm if size else (),
        size_low_mm=size.low_mm if size else None,
        course=values.get("course", ""),
        comparison=sentence[slice(*_characters(comparison, spans))] if comparison else "",
        certainty=values.get("certainty", ""),
        spans=tuple([AttributeSpan(a.kind, a.value, *_characters(a, spans)) for a in told]),
    )


def _spans(sentence: str, tokens: Sequence[str]) -> list[Span]:
    """Returns the characters of each token; between two tokens stand only characters that begin none."""
    folded, spans, end = fold(sentence), [], 0
    for token in tokens:
        start = folded.find(token, end)
        end = start + len(token)
        spans.append((start, end))
    return spans


def _characters(tokens: Mention | FoundCue | Attribute, spans: Sequence[Span]) -> Span:
    return spans[tokens.start][0], spans[tokens.end - 1][1]


def _certainty(state: str, said: str, by_cue: str) -> str:
    """Returns the grade of a state, given what is said beside the mention and by the deciding cue."""
    if state == "positive":
        return "likely" if said == "likely" else "present"
    if state == "negative":
        return "unlikely" if "unlikely" in (said, by_cue) else "absent"
    return by_cue or said or "possible"


def _size_attribute(size: Size, spans: Sequence[Span]) -> Attribute:
    """Returns a size as an attribute, in tokens."""
    start = next(i for i, (_, end) in enumerate(spans) if end > size.start)
    end = next((i for i, (first, _) in enumerate(spans) if first >= size.end), len(spans))
    return Attribute("size", "", start, end, size)
