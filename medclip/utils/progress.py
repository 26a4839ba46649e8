"""The one type of progress reports: long work calls it, and whoever shows progress gives it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

#: Called with (what is being done, done so far, total; 0 where the total is not known).
Progress = Callable[[str, int, int], None]
#: The same for one piece of work whose name the receiver knows: (done so far, total).
Count = Callable[[int, int], None]


def counting(progress: Progress | None, what: str) -> Count | None:
    """Returns `progress` for one named piece of work, None where nobody wants to know."""
    return None if progress is None else partial(progress, what)
