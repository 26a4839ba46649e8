"""Sizes in a sentence: "2.3 cm", "8 x 6 mm", "3 to 4 mm", all in millimetres. Distances and earlier sizes are none."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER = r"\d{1,3}(?:\.\d{1,2})?"
_UNIT = r"(?:mm|cm|millimet(?:er|re)s?|centimet(?:er|re)s?|毫米|厘米|公分)(?![a-zA-Z])"
_BY = r"(?:x|X|×|\*|by)"
_TO = r"(?:-|–|—|to|~|至|到)"
_SIZE = re.compile(
    rf"(?<![\d.])(?P<first>{_NUMBER})[\s-]*(?P<unit1>{_UNIT})?"
    rf"(?:\s*(?P<joint>{_BY}|{_TO})\s*(?P<second>{_NUMBER})[\s-]*(?P<unit2>{_UNIT})?"
    rf"(?:\s*{_BY}\s*(?P<third>{_NUMBER})[\s-]*(?P<unit3>{_UNIT})?)?)?(?![\w.]*\d)",
    re.IGNORECASE,
)
_UNITS = re.compile(r"\d[\s-]*(?:mm|cm|milli|centi|毫米|厘米|公分)", re.IGNORECASE)
#: Words behind a length that make it a distance, and words before it that make it an earlier size.
_DISTANCE = re.compile(
    r"\s*(?:above|below|from|proximal|distal|superior|inferior|beyond|deep|cephalad|caudal|past|away|short of)\b",
    re.IGNORECASE,
)
_EARLIER = re.compile(r"(?:\bpreviously|\bprior|\bformerly|\bwas|原|此前)\s*(?:measur\w+\s*)?$", re.IGNORECASE)
_GROWN_FROM = re.compile(r"\bfrom\s*$", re.IGNORECASE)  # "from 5 mm to 9 mm": the second is the size


@dataclass(frozen=True, slots=True)
class Size:
    """A length or its dimensions.

    Attributes:
        mm: one number for each dimension; of a range the upper end.
        low_mm: The lower end of a range, else None.
        start: First character of the sentence that belongs to it.
        end: Behind its last character.
    """

    mm: tuple[float, ...]
    low_mm: float | None
    start: int
    end: int


def find_sizes(sentence: str) -> list[Size]:
    """Returns the sizes said in `sentence`, in order."""
    if _UNITS.search(sentence) is None:
        return []
    found = [_size(match, sentence) for match in _SIZE.finditer(sentence)]
    return [
        size
        for size in found
        if size is not None
        and _DISTANCE.match(sentence, size.end) is None
        and _EARLIER.search(sentence[max(0, size.start - 24) : size.start]) is None
    ]


def _size(match: re.Match[str], sentence: str) -> Size | None:
    units = [match[f"unit{i}"] for i in (1, 2, 3)]
    unit = next((unit for unit in reversed(units) if unit), None)
    if unit is None:
        return None
    numbers = [match[name] for name in ("first", "second", "third") if match[name]]
    scales = [_scale(own or unit) for own in units[: len(numbers)]]
    mm = [round(float(number) * scale, 2) for number, scale in zip(numbers, scales, strict=True)]
    joint = match["joint"]
    if joint is not None and re.fullmatch(_BY, joint, re.IGNORECASE) is None:
        if _GROWN_FROM.search(sentence[: match.start()]):
            return Size((mm[-1],), None, *match.span())
        return Size((max(mm),), min(mm), *match.span())
    return Size(tuple(mm), None, *match.span())


def _scale(unit: str) -> float:
    return 10.0 if unit.lower().startswith(("cm", "centi")) or unit in ("厘米", "公分") else 1.0
