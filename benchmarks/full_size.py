"""Time and memory at full size: 400,000 films and a million different sentences, made up, on the machine at hand.

    PYTHONPATH=. python benchmarks/full_size.py FOLDER                                    about 10 GB of disk, an hour
    PYTHONPATH=. python benchmarks/full_size.py FOLDER --films 2000 --sentences 5000      a small one
    PYTHONPATH=. python benchmarks/full_size.py FOLDER --only start,batches

Each measurement is a process of its own; printed are its seconds, those of the CPU (which a busy machine changes
little), the most memory that it held (imports included), and what else it says. What is in FOLDER is used again, and
an interrupted making goes on.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import full_size_parts as parts
from benchmarks.full_size_data import FullSize, make


@dataclass(frozen=True)
class Found:
    """What a measurement found: seconds of the clock and of the CPU, the most memory in MiB, and more in words."""

    seconds: float
    cpu: float
    mebibytes: float
    more: str


#: What is measured, in order: a name, what it is, and how.
MEASUREMENTS: dict[str, tuple[str, Callable[..., str], tuple[Any, ...]]] = {
    "tables": ("reading both tables", parts.read_tables, ()),
    "split": ("splitting", parts.split, ()),
    "sentences": ("preparing the sentences", parts.prepare_sentences, ()),
    "look": ("looking that all is prepared", parts.look, ()),
    "tokens": ("vocabulary, tokens, both datasets, first time", parts.build, ()),
    "build": ("vocabulary, tokens, both datasets, again", parts.build, ()),
    "first": ("the first batch", parts.first_batch, ()),
    "batches": ("batches, no workers", parts.batches, (0,)),
    "batches-2": ("batches, 2 workers", parts.batches, (2,)),
    "batches-8": ("batches, 8 workers", parts.batches, (8,)),
    "resume": ("resuming in the middle, to its first batch", parts.resume, ()),
    "evaluation": ("evaluation tables", parts.evaluation_tables, ()),
    "intervals": ("bootstrap intervals", parts.intervals, ()),
    "index": ("an index, built and asked", parts.index, ()),
    "fingerprints": ("fingerprints of all films", parts.fingerprints, ()),
    "start": ("medclip-train, from the command to its first step", parts.start, ()),
}


def _in_process(results: Any, work: Callable[..., str], full: FullSize, arguments: tuple[Any, ...]) -> None:
    clock = parts.Clock()
    more = work(full, clock, *arguments)
    results.put(Found(clock.took, clock.cpu, parts.status("self", "VmHWM"), more))


def measure(name: str, full: FullSize) -> Found:
    """Returns what a measurement finds, in a process of its own."""
    if name == "tokens":
        shutil.rmtree(full.prepared / "tokens", ignore_errors=True)
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    process = context.Process(target=_in_process, args=(results, *MEASUREMENTS[name][1:2], full, MEASUREMENTS[name][2]))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{name}: ended with {process.exitcode}")
    return results.get()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--films", type=int, default=400_000)
    parser.add_argument("--sentences", type=int, default=1_000_000)
    parser.add_argument("--side", type=int, default=64, help="side of the cached squares, in pixels")
    parser.add_argument("--batches", type=int, default=1000, help="batches to load")
    parser.add_argument("--only", default=",".join(MEASUREMENTS), help="measurements, separated by commas")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - set(MEASUREMENTS):
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(MEASUREMENTS)}")
    full = FullSize(options.folder, options.films, options.sentences, options.side, options.batches)
    begun = time.perf_counter()
    make(full)
    print(
        f"{full.films:,} films at {full.side} pixels and {full.sentences:,} sentences, made in "
        f"{time.perf_counter() - begun:.0f} s; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    for name in names:
        found = measure(name, full)
        print(
            f"{MEASUREMENTS[name][0]:52} {found.seconds:8.2f} s {found.cpu:8.2f} s of CPU "
            f"{found.mebibytes:7.0f} MiB  {found.more}",
            flush=True,
        )


if __name__ == "__main__":
    main()
