"""How many CPU threads arithmetic takes, on a machine that loaders and other people use, too.

The threads of one operation wait for the last of them. Where one must share its core, all of them run at its speed; so
one core is left to others. The number depends on the machine alone, not on what else runs: the same command gives the
same sums.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

#: What the container allows: microseconds of a period, or max.
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def default_threads() -> tuple[int, int]:
    """Returns the number of threads, at least 1, and of the physical cores that this process may use.

    It is one less than the cores; or what OMP_NUM_THREADS says.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    cores = _cores()
    if asked.isdigit() and int(asked):
        return int(asked), cores
    return max(1, cores - 1), cores


def _cores() -> int:
    """Returns the number of physical cores that the process and its container may use."""
    import psutil

    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    physical = (psutil.cpu_count(logical=False) or own) / (psutil.cpu_count() or own)
    return max(1, math.floor(min(own * physical, _quota()) + 0.01))


def _quota() -> float:
    if QUOTA.is_file():
        quota, _, period = QUOTA.read_text().strip().partition(" ")
        if quota.isdigit():
            return float(quota) / float(period or 100_000)
    return math.inf
