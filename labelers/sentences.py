"""A text to its sentences with character offsets.

A full stop ends a sentence wherever white space follows, whatever the case of the next letter, unless it belongs
to an abbreviation, a number or a list marker. So do semicolons, bullets, list markers and the line ends that
`labelers.lines` left. Capitals do not decide what is labelled.
"""

from __future__ import annotations

import re
from functools import lru_cache

from labelers.lexicon_files import read_groups, read_lines

#: Longer runs without a full stop are cut at white space, so that no text can make labelling slow.
MAX_CHARACTERS = 600

# One mark that may end a sentence, then what has to stand around it. The set comes first: it makes the search fast.
_END = r"""[.!?;\n_|)\u2022\u3002\uff01\uff1f\uff1b0-9](?:
  (?<=[.!]) {no_abbreviation} [.!?]{{0,9}}+["')\]]{{0,9}}+(?=\s|\Z) # "effusion. "
| (?<=[^\W\d_]{{3}}\.)(?=[^\W\d_]{{3}})                         # "effusion.The"
| (?<=[^\s(]\?) [.!?]{{0,9}}+["')\]]{{0,9}}+(?=\s|\Z) {no_answer}  # "Pneumonia? ", not "? pneumonia", not "Edema? No"
| (?<=[\u3002\uff01\uff1b]) | (?<=\uff1f) {no_answer}
| (?<=;) (?!\s*{joining}) (?![^.;\n]*{ellipsis})                # "no left effusion; small right one" stays together
| (?<=[\n\u2022])
| (?<=\s\|) (?=\s)
| (?<=_) _{{4,}}                                                # a ruled line; de-identification blanks are shorter
| (?<=\s[a-h]\)) (?=\s*[^\W\d_])                                # "b) No effusion"
| (?<=[\s:][0-9]) [0-9]?(?:\)(?=\s*[^\W\d_])|\.(?=\s+[^\W\d_])) # "2. No effusion"
)"""
_MARKER = re.compile(r"(?:\(?(?:\d{1,2}[.)](?!\d)|[a-hA-H]\))|[-*>\u2013#|]+(?!\d))\s*")
_WORD = re.compile(r"[^\W\d_]")


def sentence_spans(
    text: str, start: int = 0, end: int | None = None, *, language: str = "english"
) -> list[tuple[int, int]]:
    """Returns the character spans [start, end) of the sentences of `text`, list markers and blanks trimmed.

    Args:
        text: A report; its line ends are taken for ends of statements, see `labelers.lines.unwrap`.
        start: Where to begin.
        end: Where to end; by default with the text.
        language: Whose abbreviations to respect.
    """
    end = len(text) if end is None else end
    spans: list[tuple[int, int]] = []
    for match in _ends(language).finditer(text, start, end):
        first, last = match.span()
        mark = text[first]
        if mark in ".!?;\u3002\uff01\uff1f\uff1b":
            first = last
        elif mark == ")":
            first -= 1  # the letter of "b)"
        if first > start:
            _append(spans, text, start, first)
        start = last
    _append(spans, text, start, end)
    return spans


def _append(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    """Adds [start, end) without its list marker and the blanks around it, cut where it is too long."""
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    if start == end:
        return
    if not text[start].isalpha() or text[start + 1 : start + 2] == ")":
        marker = _MARKER.match(text, start, end)
        if marker is not None and marker.end() < end:
            start = marker.end()
    if end - start > MAX_CHARACTERS:
        _append_pieces(spans, text, start, end)
    elif text[start].isalpha() or _WORD.search(text, start, end):
        spans.append((start, end))


def _append_pieces(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    while start < end:
        cut = end
        if end - start > MAX_CHARACTERS:
            cut = text.rfind(" ", start + 1, start + MAX_CHARACTERS)
            cut = cut if cut > start else start + MAX_CHARACTERS
        piece = text[start:cut]
        first, last = start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
        if first < last and _WORD.search(text, first, last):
            spans.append((first, last))
        start = cut


@lru_cache(maxsize=8)
def _ends(language: str) -> re.Pattern[str]:
    groups = read_groups(language, "clauses")
    abbreviations = [line.rstrip(".") for line in read_lines(language, "abbreviations")]
    return re.compile(
        _END.format(
            no_abbreviation="".join(rf"(?<!(?i:\b{re.escape(word)})\.)" for word in abbreviations),
            no_answer=rf"(?!\s*{_any(groups, 'answers')})",
            joining=_any(groups, "joints"),
            ellipsis=_any(groups, "ellipsis"),
        ),
        re.VERBOSE,
    )


def _any(groups: dict[str, list[str]], name: str) -> str:
    """Returns a pattern for any word of a group; one that never matches where there is none."""
    words = [re.escape(word) for word in groups.get(name, ()) if word[0].isalpha()]
    return rf"(?i:\b(?:{'|'.join(words)})\b)" if words else r"(?!)"
