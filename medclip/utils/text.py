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
