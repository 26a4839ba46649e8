"""A text to its sentences with character offsets.

A full stop ends a sentence wherever white space follows, whatever the case of the next letter, unless it belongs
to an abbreviation, a number or a list marker. So neither capitals nor line breaks decide what is labelled.
"""

from __future__ import annotations

import re
from functools import lru_cache

from labelers.vocabulary import read_lines

#: Longer runs without a full stop are cut at white space, so that no text can make labelling slow.
MAX_CHARACTERS = 600

#: Where a sentence may end; what stands around decides whether it does.
_CANDIDATE = re.compile(r"[.!?)。！？；\n_]")
_RUN = re.compile(r"[.!?]+[\"')\]]*")
_BLANK_LINE = re.compile(r"\n[ \t]*\n\s*|\n(?=[ \t]*(?:[-*•]|\d{1,2}[.)])[ \t])")
_RULE = re.compile(r"_{5,}")  # a ruled line; de-identification blanks are shorter
_MARKER = re.compile(r"\s*(?:\(?\d{1,2}[.)](?!\d)|[-*•>]+(?=\s))\s*")
_LISTED = re.compile(r"\s+[A-Za-z]")
_WORD = re.compile(r"[^\W_]")


def sentence_spans(text: str, *, language: str = "english") -> list[tuple[int, int]]:
    """Returns the character spans [start, end) of the sentences of `text`, list markers and blanks trimmed."""
    abbreviations = _abbreviations(language)
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _CANDIDATE.finditer(text):
        position = match.start()
        if position < start:
            continue
        cut = _cut_at(text, start, position, abbreviations)
        if cut is not None:
            end, following = cut
            _append(spans, text, start, end)
            start = following
    _append(spans, text, start, len(text))
    return spans


def _cut_at(text: str, start: int, position: int, abbreviations: frozenset[str]) -> tuple[int, int] | None:
    """Returns where the sentence ends and the next begins, if the mark at `position` ends one."""
    mark = text[position]
    if mark in "。！？；":
        return position + 1, position + 1
    if mark in "\n_":
        rule = (_BLANK_LINE if mark == "\n" else _RULE).match(text, position)
        return None if rule is None else (position, max(rule.end(), position + 1))
    if mark in ".)":
        marker = _marker_before(text, start, position)
        if marker is not None:
            return (marker, marker) if marker > start else None
        if mark == ")":
            return None
    run = _RUN.match(text, position)
    assert run is not None
    end = run.end()
    following = text[end : end + 1]
    if following and not following.isspace():
        # A forgotten space: "effusion.The heart", but neither "1.7" nor "e.g."
        joined = run.group() == "." and text[position - 3 : position].isalpha() and text[end : end + 3].isalpha()
        return (end, end) if joined and position - start >= 3 and end + 3 <= len(text) else None
    if mark == "?" and (position == 0 or text[position - 1].isspace()):
        return None  # "right base ? pneumonia": the mark asks about what follows
    if run.group() == "." and following and _last_word(text, start, position) in abbreviations:
        return None
    return end, end


def _marker_before(text: str, start: int, position: int) -> int | None:
    """Returns where a list marker ("2.", "2)") that ends at `position` begins, if there is one."""
    first = position
    while first > start and position - first < 3 and text[first - 1].isdigit():
        first -= 1
    if not 1 <= position - first <= 2 or (first > start and not text[first - 1].isspace()):
        return None
    at_start = first - start < 40 and not text[start:first].strip()
    return first if at_start or _LISTED.match(text, position + 1) else None


def _last_word(text: str, start: int, end: int) -> str:
    first = end
    while first > start and end - first < 12 and not text[first - 1].isspace():
        first -= 1
    return text[first:end].lower()


def _append(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    marker = _MARKER.match(text, start, end)
    if marker is not None and marker.end() < end:
        start = marker.end()
    while end - start > MAX_CHARACTERS:
        cut = text.rfind(" ", start + 1, start + MAX_CHARACTERS)
        cut = cut if cut > start else start + MAX_CHARACTERS
        _append_trimmed(spans, text, start, cut)
        start = cut
    _append_trimmed(spans, text, start, end)


def _append_trimmed(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    if _WORD.search(text, start, end) is None:
        return
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    spans.append((start + left, start + len(piece.rstrip())))


@lru_cache(maxsize=8)
def _abbreviations(language: str) -> frozenset[str]:
    return frozenset(line.rstrip(".").lower() for line in read_lines(language, "abbreviations"))
