"""A report to its named sections. What a heading looks like is code; which headings there are is data."""

from __future__ import annotations

import re
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from labelers.lexicon_files import read_groups

#: What a text without any heading is called.
REPORT = "report"
#: Sections that tell why an image was taken or how, not what it shows.
SILENT_SECTIONS = frozenset({"indication", "history", "comparison", "technique", "examination", "recommendation"})

_SENTENCE_END = re.compile(r"[.;。] {1,3}")
_MAIN_IN_CAPITALS = re.compile(r"(?<=\s)(?:FINDINGS|IMPRESSION)$")
_ALONE = re.compile(r"^[ \t*#]*[^\W\d_][^\W\d_/&,() \t-]*(?:[/&,() \t-]+[^\W\d_]+){0,6}[) \t*]*$")
_SPACES = re.compile(r"[\s_]+")
_BLANK_LINE = re.compile(r"(?<=\S)[ \t]*\n[ \t]*\n\s*(?=\S)")
_NEW_LINE = re.compile(r"(?<=\S)[ \t]*\n\s*(?=\S)")
_LONGEST = 60  # characters a heading can have
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Section(NamedTuple):
    """A named part of a report: characters [start, end) of it, heading excluded."""

    name: str
    start: int
    end: int


def find_sections(report: str, *, language: str = "english") -> list[Section]:
    """Returns the sections of `report` in order; text before the first heading, or all of it, is named "report".

    A heading is a known name followed by a colon, at the start of a line or after a full stop, in any case; or a
    line that holds nothing but a known name. One letter too many, too few or wrong does not hide it. Sections without
    text are left out. Where no findings have a heading, what follows the last silent section after a blank line is
    named "findings".
    """
    sections, name, start = [], REPORT, 0
    report = report.replace("\r", " ")
    for heading, first, last in _find_headings(report, language):
        if first >= start:
            if report[start:first].strip():
                sections.append(Section(name, start, first))
            name, start = heading, last
    if report[start:].strip():
        sections.append(Section(name, start, len(report)))
    return _with_unnamed_findings(report, sections)


def read_sections(report: str, *, language: str = "english") -> list[Section]:
    """Returns the sections that say what the image shows; a preliminary reading only where there is no final one."""
    sections = [s for s in find_sections(report, language=language) if s.name not in SILENT_SECTIONS]
    final = [section for section in sections if section.name != "wet read"]
    return final or sections


def select_text(report: str, wanted: tuple[str, ...] = ("findings", "impression"), *, language: str = "english") -> str:
    """Returns the text of the `wanted` sections, joined by blank lines; "" where the report has no usable text.

    Without any of them the unnamed text is used, which is how MIMIC-CXR's reports without headings are read;
    sections that tell why the image was taken, what it was compared with, or how it was made, never are.
    """
    sections = find_sections(report, language=language)
    chosen = [s for s in sections if s.name in wanted] or [s for s in sections if s.name == REPORT]
    return "\n\n".join(report[s.start : s.end].strip() for s in chosen)


def is_heading(line: str, *, language: str = "english") -> bool:
    """Tells whether `line` is nothing but a known heading, with a colon or without."""
    return len(line) <= _LONGEST and _key(line.rstrip(":： \t*")) in _headings(language)


def _with_unnamed_findings(report: str, sections: list[Section]) -> list[Section]:
    """Returns `sections` with the findings that stand below the last silent section, without a heading, cut off it."""
    names = [section.name for section in sections]
    if "findings" in names:
        return sections
    last = next((i for i in range(len(names) - 1, -1, -1) if names[i] in SILENT_SECTIONS - {"recommendation"}), None)
    if last is None or (REPORT in names[last:]):
        return sections
    section = sections[last]
    cut = _BLANK_LINE.search(report, section.start, section.end)
    if cut is not None and not report[section.start : cut.start()].strip():
        cut = _BLANK_LINE.search(report, cut.end(), section.end)
    if cut is None and all(name in SILENT_SECTIONS for name in names):
        cut = _NEW_LINE.search(report, section.start, section.end)
    if cut is None:
        return sections
    found = Section("findings", cut.end(), section.end)
    return [*sections[:last], section._replace(end=cut.start()), found, *sections[last + 1 :]]


def _find_headings(report: str, language: str) -> list[tuple[str, int, int]]:
    """Returns the section name of every heading in order, where the heading begins, and where its text begins."""
    report = report.replace("：", ":")
    found = []
    colon = report.find(":")
    while colon >= 0:
        line = max(report.rfind("\n", 0, colon) + 1, colon - _LONGEST)
        heading = _heading_before_colon(report[line:colon], language)
        if heading is not None:
            found.append((heading[0], line + heading[1], colon + 1))
        colon = report.find(":", colon + 1)
    alone = _headings_alone(report, language) if "\n" in report else []
    return sorted(found + alone, key=itemgetter(1)) if alone else found


def _headings_alone(report: str, language: str) -> list[tuple[str, int, int]]:
    """Returns the headings that have a line for themselves, without a colon."""
    names, start = _headings(language), 0
    found = []
    for line in report.split("\n"):
        if 1 < len(line) <= _LONGEST and line[-1] not in ".:;":
            heading = names.get(_key(line))
            if heading is not None and _ALONE.fullmatch(line) is not None:
                found.append((heading, start, start + len(line)))
        start += len(line) + 1
    return found


@lru_cache(maxsize=20_000)
def _heading_before_colon(line: str, language: str) -> tuple[str, int] | None:
    """Returns the section that `line`, which ends at a colon, announces, and where in it the heading begins."""
    names = _headings(language)
    for first in (0, *(stop.end() for stop in _SENTENCE_END.finditer(line))):
        key = _key(line[first:])
        heading = names.get(key) or _misspelt(key, language)
        if heading is not None:
            return heading, first
    inside = _MAIN_IN_CAPITALS.search(line)
    return (names.get(inside.group().lower(), REPORT), inside.start()) if inside else None


def _misspelt(key: str, language: str) -> str | None:
    """Returns the section whose long heading differs from `key` by one letter, missing, added, changed or swapped."""
    long = _long_headings(language)
    if not 7 <= len(key) <= 17 or not key.isalpha():
        return None
    cuts = [(key[:i], key[i:]) for i in range(len(key) + 1)]
    for left, right in cuts:
        candidates = [left + right[1:], left + right[1:2] + right[:1] + right[2:]]
        candidates += [left + letter + rest for letter in _LETTERS for rest in (right, right[1:])]
        for candidate in candidates:
            if candidate in long:
                return long[candidate]
    return None


def _key(heading: str) -> str:
    key = heading.strip(" \t\r*#_").lower()
    return key if key.replace(" ", "").isalpha() and "  " not in key else _SPACES.sub(" ", key)


@lru_cache(maxsize=8)
def _headings(language: str) -> dict[str, str]:
    return {_key(written): name for name, lines in read_groups(language, "headings").items() for written in lines}


@lru_cache(maxsize=8)
def _long_headings(language: str) -> dict[str, str]:
    """Returns headings of one word of seven letters or more: too long to be another word by one slip."""
    return {key: name for key, name in _headings(language).items() if len(key) >= 7 and key.isalpha()}
