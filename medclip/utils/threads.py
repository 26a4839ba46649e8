"""How many CPU threads arithmetic takes on a machine that others use, too.

The threads of one operation wait for the last of them. Where one must share its core, all of them run at its speed, so
as many threads as there are free cores are faster than one for each core.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

#: Seconds for which the cores are watched.
_WATCHED = 0.3
#: A core counts as free from this share of idle time on.
_FREE = 0.7
#: What the container allows: microseconds of a period, or max.
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def free_threads() -> tuple[int, int]:
    """Returns how many physical cores are free now, at least 1, and how many this process may use.

    `OMP_NUM_THREADS` limits both. Work of others that is nicer than this process counts as none.
    """
    import psutil

    own, limit = _allowed(), _limit()
    physical = (psutil.cpu_count(logical=False) or len(own)) / (psutil.cpu_count() or len(own))
    cores = max(1, math.floor(min(len(own) * physical, limit) + 0.01))
    if cores == 1:
        return 1, 1
    before = psutil.cpu_times(percpu=True)
    time.sleep(_WATCHED)
    after = psutil.cpu_times(percpu=True)
    nice = os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else 0
    idle = [idle_share(one._asdict(), two._asdict(), nicer=nice <= 0) for one, two in zip(before, after, strict=True)]
    free = sum(idle[core] for core in own if core < len(idle)) * physical
    return max(1, min(math.floor(free + 1 - _FREE), cores)), cores


def idle_share(before: dict[str, float], after: dict[str, float], *, nicer: bool) -> float:
    """Returns the share of the time between two counts of one core that was idle.

    Args:
        before: Seconds by kind.
        after: The same, later.
        nicer: Whether the time of processes that run at low priority counts as idle.
    """
    spent = {kind: max(0.0, after[kind] - before[kind]) for kind in before if not kind.startswith("guest")}
    idle = sum(spent.get(kind, 0.0) for kind in ("idle", "iowait", *(["nice"] if nicer else [])))
    return idle / max(sum(spent.values()), 1e-9)


def _allowed() -> list[int]:
    """Returns the logical cores that this process may run on."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _limit() -> float:
    """Returns the number of cores that the container and OMP_NUM_THREADS allow."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    limits = [float(asked)] if asked.isdigit() and int(asked) else []
    if QUOTA.is_file():
        quota, _, period = QUOTA.read_text().strip().partition(" ")
        limits += [float(quota) / float(period or 100_000)] if quota.isdigit() else []
    return min(limits, default=math.inf)
