"""A report to its named sections. What a heading looks like is code; which headings there are is data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from labelers.vocabulary import read_groups

#: What a text without any heading is called.
REPORT = "report"


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
    if ":" not in report and "：" not in report and "\n" not in report:
        return [Section(REPORT, 0, len(report))] if report.strip() else []
    pattern, names = _headings(language)
    sections, name, start = [], REPORT, 0
    for match in pattern.finditer(report):
        heading = match.group("colon") or match.group("alone")
        if match.group("alone") and not heading.isupper():
            continue
        sections.append(Section(name, start, match.start()))
        name, start = names[_key(heading)], match.end()
    sections.append(Section(name, start, len(report)))
    return [section for section in sections if report[section.start : section.end].strip()]


def select_text(report: str, wanted: tuple[str, ...] = ("findings", "impression"), *, language: str = "english") -> str:
    """Returns the text of the `wanted` sections, joined by blank lines; "" where the report has no usable text.

    Without any of them the unnamed text is used, which is how MIMIC-CXR's reports without headings are read;
    sections that tell why the image was taken, what it was compared with, or how it was made, never are.
    """
    sections = find_sections(report, language=language)
    chosen = [s for s in sections if s.name in wanted] or [s for s in sections if s.name == REPORT]
    return "\n\n".join(report[s.start : s.end].strip() for s in chosen)


def _key(heading: str) -> str:
    return re.sub(r"[\s_]+", " ", heading).strip().lower()


@lru_cache(maxsize=8)
def _headings(language: str) -> tuple[re.Pattern[str], dict[str, str]]:
    names = {_key(written): name for name, lines in read_groups(language, "headings").items() for written in lines}
    # Longest first, so that "findings and impression" is not read as "findings".
    any_name = "|".join(re.escape(n).replace(r"\ ", r"[ \t_]+") for n in sorted(names, key=len, reverse=True))
    pattern = re.compile(
        rf"(?:^[ \t*#]*|(?<=[.。;]) {{1,3}})(?P<colon>{any_name})[ \t]*\**[:：]|^[ \t*#]*(?P<alone>{any_name})[ \t*]*$",
        re.IGNORECASE | re.MULTILINE,
    )
    return pattern, names
