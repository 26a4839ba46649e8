"""Slips of the pen: a small share of a report's words are misspelt or shortened."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

_SHARE = 0.01
_LONG = 6  # letters of words that have two letters exchanged where no slip of their own is known


def misspell(text: str, slips: Mapping[str, Sequence[str]], draw: Callable[[], float]) -> str:
    """Returns `text` with about one word in a hundred misspelt or shortened; headings and numbers stay.

    Args:
        text: A report.
        slips: Of words in small letters, how they are mistyped.
        draw: Returns numbers in [0, 1).
    """
    words = text.split(" ")
    at = _gap(draw)
    while at < len(words):
        words[at] = _slipped(words[at], slips, draw())
        at += 1 + _gap(draw)
    return " ".join(words)


def _gap(draw: Callable[[], float]) -> int:
    """Returns how many words are right before the next slip."""
    return int(math.log(1.0 - draw()) / math.log(1.0 - _SHARE))


def _slipped(word: str, slips: Mapping[str, Sequence[str]], drawn: float) -> str:
    core = word.rstrip(".,;")
    known = slips.get(core)
    if known:
        return known[int(drawn * len(known))] + word[len(core) :]
    if len(core) < _LONG or not (core.isalpha() and core.islower()):
        return word
    i = 1 + int(drawn * (len(core) - 3))
    return core[:i] + core[i + 1] + core[i] + core[i + 2 :] + word[len(core) :]
