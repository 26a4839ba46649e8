"""A report to its named sections. What a heading looks like is code; which headings there are is data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from labelers.vocabulary import read_groups

#: What a text without any heading is called.
REPORT = "report"

_COLON = re.compile(r"[:：]")
_SENTENCE_END = re.compile(r"[.;。] {1,3}")
_CAPITALS = re.compile(r"^[ \t*#]*[A-Z][A-Z/&,() \t-]*[A-Z)][ \t*]*$", re.MULTILINE)
_SPACES = re.compile(r"[\s_]+")
_LONGEST = 60  # characters a heading can have


@dataclass(frozen=True, slots=True)
class Section:
    """A named part of a report: characters [start, end) of it, heading excluded."""

    name: str
    start: int
    end: int


def find_sections(report: str, *, language: str = "english") -> list[Section]:
    """Returns the sections of `report` in order; text before the first heading, or all of it, is named "report".

    A heading is a known name followed by a colon, at the start of a line or after a full stop, in any case; or a
    line that holds nothing but a known name in capitals. Sections without text are left out.
    """
    sections, name, start = [], REPORT, 0
    for heading, first, last in sorted(_find_headings(report, _headings(language)), key=lambda found: found[1]):
        if first >= start:
            sections.append(Section(name, start, first))
            name, start = heading, last
    sections.append(Section(name, start, len(report)))
    return [section for section in sections if report[section.start : section.end].strip()]


def _find_headings(report: str, names: dict[str, str]) -> Iterator[tuple[str, int, int]]:
    """Yields the section name of every heading, where the heading begins, and where its text begins."""
    for colon in _COLON.finditer(report):
        end = colon.start()
        line = max(report.rfind("\n", 0, end) + 1, end - _LONGEST)
        for first in (line, *(line + stop.end() for stop in _SENTENCE_END.finditer(report[line:end]))):
            heading = names.get(_key(report[first:end]))
            if heading is not None:
                yield heading, first, colon.end()
                break
    if "\n" in report:
        for alone in _CAPITALS.finditer(report):
            heading = names.get(_key(alone.group()))
            if heading is not None:
                yield heading, alone.start(), alone.end()


def select_text(report: str, wanted: tuple[str, ...] = ("findings", "impression"), *, language: str = "english") -> str:
    """Returns the text of the `wanted` sections, joined by blank lines; "" where the report has no usable text.

    Without any of them the unnamed text is used, which is how MIMIC-CXR's reports without headings are read;
    sections that tell why the image was taken, what it was compared with, or how it was made, never are.
    """
    sections = find_sections(report, language=language)
    chosen = [s for s in sections if s.name in wanted] or [s for s in sections if s.name == REPORT]
    return "\n\n".join(report[s.start : s.end].strip() for s in chosen)


def _key(heading: str) -> str:
    return _SPACES.sub(" ", heading.strip(" \t*#_")).lower()


@lru_cache(maxsize=8)
def _headings(language: str) -> dict[str, str]:
    return {_key(written): name for name, lines in read_groups(language, "headings").items() for written in lines}
