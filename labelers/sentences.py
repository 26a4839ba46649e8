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

_END = re.compile(
    r"[.!?]+[\"')\]]*(?=\s|$)"  # a full stop before white space
    r"|(?<=[A-Za-z]{3})\.(?=[A-Za-z]{3})"  # a forgotten space: "effusion.The heart"
    r"|[。！？；]"
    r"|_{5,}"  # a ruled line; de-identification blanks are shorter
    r"|\n[ \t]*\n\s*"  # a blank line
    r"|\n(?=[ \t]*(?:[-*•]|\d{1,2}[.)])[ \t])"  # a line that begins a list item
    r"|(?<=\s)(?=\d{1,2}[.)]\s+[A-Za-z])"  # "1. Small effusion 2. No pneumothorax"
)
_MARKER = re.compile(r"\s*(?:\(?\d{1,2}[.)](?!\d)|[-*•>]+(?=\s))\s*")
_LAST_WORD = re.compile(r"([^\W_]+(?:\.[^\W_]+)*)\.$")


def sentence_spans(text: str, *, language: str = "english") -> list[tuple[int, int]]:
    """Returns the character spans [start, end) of the sentences of `text`, list markers and blanks trimmed."""
    abbreviations = _abbreviations(language)
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _END.finditer(text):
        if match.group() == "." and _is_abbreviation(text, start, match.end(), abbreviations):
            continue
        if match.group() == "?" and (match.start() == 0 or text[match.start() - 1].isspace()):
            continue  # "right base ? pneumonia": the mark asks about what follows
        _append(spans, text, start, match.end())
        start = match.end()
    _append(spans, text, start, len(text))
    return spans


def _is_abbreviation(text: str, start: int, end: int, abbreviations: frozenset[str]) -> bool:
    match = _LAST_WORD.search(text, max(start, end - 24), end)
    if match is None:
        return False
    word = match.group(1).lower()
    if word.isdigit():  # a list marker at the start of a sentence: "1. Small effusion"
        return len(word) <= 2 and not text[start : match.start()].strip()
    return word in abbreviations and end < len(text)


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
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    if any(char.isalnum() for char in text[start:end]):
        spans.append((start, end))


@lru_cache(maxsize=8)
def _abbreviations(language: str) -> frozenset[str]:
    return frozenset(line.rstrip(".").lower() for line in read_lines(language, "abbreviations"))
