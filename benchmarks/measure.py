"""Time and peak memory of a function in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cost:
    """Seconds of the fastest repetition, and MiB that the process grew by at most."""

    seconds: float
    mebibytes: float


def _measure(results: Any, repeats: int, prepare: Callable[..., Any], work: Callable[..., Any], args: tuple) -> None:
    given = prepare(*args)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work(*given)
        seconds.append(time.perf_counter() - start)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    results.put(Cost(min(seconds), grown / 1024))


def cost(prepare: Callable[..., Any], work: Callable[..., Any], *args: Any, repeats: int = 3) -> Cost:
    """Returns what `work(*prepare(*args))` costs; making the inputs is not counted."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_measure, args=(results, repeats, prepare, work, args))
    process.start()
    found = results.get()
    process.join()
    return found
