"""The record of a finding: what a report says of one observation in one place.

A `Statement` is what a sentence says, with character offsets into the sentence, so that it can be kept for the next
report with the same sentence. A `Finding` is a statement in a report. Statements are made by the thousand a second,
which is why they are named tuples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from labelers.normalize import Normalized

Span = tuple[int, int]

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
        location: Places, in the order they are said.
        severity: "mild", "mild to moderate", "moderate", "moderate to severe", "severe" or "".
        size_mm: one number for each dimension; of a range the upper end.
        size_low_mm: The lower end of a range, else None.
        course: "new", "increased", "unchanged", "decreased", "resolved" or "".
        comparison: What the sentence compares with, in its words, or "".
        certainty: "likely", "unlikely" or "", from words beside the mention.
        spans: Where the attributes are said.
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


#: Of a mention of which nothing more is said.
NOTHING = Description()


class Statement(NamedTuple):
    """What one sentence says of one observation. All spans are characters [start, end) of the sentence.

    Attributes:
        state: "positive", "negative" or "uncertain".
        certainty: one of `CERTAINTIES`.
        pattern: The lexicon line that found the mention.
        cue: The lexicon line of the deciding cue, or "" where the mention speaks for itself.
        cue_span: Where that cue stands, or None.
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
        section: Name of the section, or "report" where the text has no headings.
        start: Where the sentence begins in `text`.
        said: The statement.
        text: The text that was read, with the way back to the report's characters.
    """

    section: str
    start: int
    said: Statement
    text: Normalized

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
        return self.place((0, len(self.said.sentence)))

    @property
    def span(self) -> Span:
        return self.place(self.said.span)

    @property
    def cue_span(self) -> Span | None:
        return None if self.said.cue_span is None else self.place(self.said.cue_span)

    @property
    def mention(self) -> str:
        """The words that name the observation."""
        return self.said.sentence[slice(*self.said.span)]

    @property
    def cue(self) -> str:
        """The words of the deciding cue, or ""."""
        return "" if self.said.cue_span is None else self.said.sentence[slice(*self.said.cue_span)]

    def place(self, span: Span) -> Span:
        """Returns the characters of the report that are characters `span` of the sentence."""
        return self.text.original(self.start + span[0], self.start + span[1])


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
