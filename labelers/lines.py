"""Which line ends end a statement, and which only break a line that was too long.

Reports come hard-wrapped, one statement a line, or as lists, with full stops or without, in capitals or not. A line end
is taken for a mere wrap when the words around it cannot stand apart ("no evidence of", "or effusion"), when the next
line goes on in lower case, or when all lines of the paragraph are as full as wrapping makes them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

from labelers.lexicon_files import read_groups, read_lines
from labelers.sections import is_heading

#: A line that a program wrapped is at least so long, in characters; shorter ones were ended by a writer.
SHORTEST_WRAP = 45

_BLANK = re.compile(r"\n[ \t]*\n")
_STARTS_ANEW = re.compile(
    r"[-*\u2022\u2013>|#_]|\(?(?:\d{1,2}|[a-hA-H])[.)](?!\d)|[^\W\d_][\w /&(),'-]{1,40}[:\uff1a](?!\d)"
)
_STOPPED = re.compile(r"[.!?;\u3002\uff01\uff1f\uff1b][\"')\]]*$")
_PROSE = re.compile(r"[^\d\s][.!?;\u3002](?:\s|$)")
_ANSWER = re.compile(r"[:\uff1a?=\u2013-]\s*([^\W\d_]+)$")
_WORD = re.compile(r"[^\W_]+")


def unwrap(text: str, *, language: str = "english") -> str:
    """Returns `text`, of the same length, with a space for every line end that ends no statement."""
    if "\n" not in text:
        return text
    pieces, position = [], 0
    for blank in _BLANK.finditer(text):
        pieces.append(_unwrap_paragraph(text[position : blank.start()], language))
        pieces.append(blank.group())
        position = blank.end()
    pieces.append(_unwrap_paragraph(text[position:], language))
    return "".join(pieces)


def _unwrap_paragraph(paragraph: str, language: str) -> str:
    if "\n" not in paragraph:
        return paragraph
    lines = paragraph.split("\n")
    bare = [line.strip() for line in lines]
    decided = [_decide(a, b, language) for a, b in pairwise(bare)]
    open_ends = [i for i, joined in enumerate(decided) if joined is None]
    if open_ends:
        prose = any(_PROSE.search(line) for line in bare)
        full = prose and _is_full(bare, open_ends)
        for i in open_ends:
            decided[i] = full or _goes_on(_first_words(bare), bare[i], bare[i + 1], prose)
    pieces = [lines[0]]
    for joined, line in zip(decided, lines[1:], strict=True):
        pieces += [" " if joined else "\n", line]
    return "".join(pieces)


def _decide(line: str, following: str, language: str) -> bool | None:
    """Returns whether the words around a line end say that it is a wrap; None where they do not tell."""
    if not line or not following or _STARTS_ANEW.match(following) or is_heading(following, language=language):
        return False
    if is_heading(line, language=language):
        return False
    ends, begins, answers, abbreviations = _joining_words(language)
    if _STOPPED.search(line):
        return line.rsplit(None, 1)[-1].lower() in abbreviations
    asked = _ANSWER.search(line)
    if asked is not None and asked.group(1).lower() in answers:
        return False
    words = _WORD.findall(line)
    if line[-1] in ",，、(/:" or (words and words[-1].lower() in ends):
        return True
    first = _WORD.match(following)
    return True if first is not None and first.group().lower() in begins else None


def _is_full(lines: list[str], open_ends: list[int]) -> bool:
    """Tells whether no line of a paragraph had room for the first word of the next."""
    width = max(map(len, lines))
    if width < SHORTEST_WRAP:
        return False
    if len(lines) == 2 and lines[1][:1].isupper() and lines[1][1:2].islower():
        return False
    return all(len(lines[i]) + 1 + len(lines[i + 1].split(None, 1)[0]) > width for i in open_ends)


def _goes_on(first: str, line: str, following: str, prose: bool) -> bool:
    """Tells whether `following` goes on in lower case where the paragraph began with a capital."""
    return following[0].islower() and first[:1].isupper() and (prose or len(line) >= SHORTEST_WRAP)


def _first_words(lines: list[str]) -> str:
    """Returns the beginning of a paragraph, without the heading that stands before it."""
    return re.split("[:\uff1a]", lines[0])[-1].strip() or lines[1]


@lru_cache(maxsize=8)
def _joining_words(language: str) -> tuple[frozenset[str], frozenset[str], frozenset[str], frozenset[str]]:
    """Returns the words no statement ends with, those none begins with, answers ("Effusion: no"), abbreviations."""
    groups = read_groups(language, "clauses")
    return (
        frozenset(groups.get("no ends", ())),
        frozenset(groups.get("no beginnings", ())),
        frozenset(groups.get("answers", ())),
        frozenset(read_lines(language, "abbreviations")),
    )
