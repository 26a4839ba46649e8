"""Words for messages."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


def suggest(word: str, known: Sequence[str]) -> str:
    """Returns " Did you mean ...?" for the nearest of `known`, or ""."""
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def names_in(text: str) -> list[str]:
    """Returns the names in a comma-separated list, without blanks."""
    return [name.strip() for name in text.split(",") if name.strip()]


def first_line(error: BaseException) -> str:
    """Returns the first line of what an error says, or its kind where it says nothing, as some do."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
