"""Where work that falls into independent jobs is done: here, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

from labelers.errors import UserError
from medclip.utils.extras import install

R = TypeVar("R")
ENGINES = ("local", "ray")


def run_jobs(
    function: Callable[..., R], jobs: Iterable[tuple[Any, ...]], *, workers: int = 1, engine: str = "local"
) -> Iterator[R]:
    """Yields `function(*job)` of each job, in order, whatever does the work.

    A few jobs for each worker wait their turn, so that no worker ever does, and no more are held in memory.

    Args:
        function: Function at the top of a module, so that other processes find it.
        jobs: Arguments, which are sent to other processes.
        workers: Processes of the local engine; 0 for one a core.
        engine: "local", or "ray": all machines of a Ray cluster, or this one where there is no cluster. They must see
            the same files under the same paths.

    Raises:
        UserError: The engine is unknown, or its package is not here.
        ChildProcessError: A process died.
    """
    if engine not in ENGINES:
        raise UserError(f"--engine {engine}: choose from {', '.join(ENGINES)}.")
    jobs = iter(jobs)
    if engine == "ray":
        yield from _on_ray(function, jobs)
        return
    workers = workers or os.cpu_count() or 1
    if workers == 1:
        yield from (function(*job) for job in jobs)
        return
    with ProcessPoolExecutor(workers) as pool:
        try:
            yield from _in_order(
                lambda job: pool.submit(function, *job), lambda future: future.result(), jobs, 4 * workers
            )
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "A worker process died, perhaps for want of memory. What was done is kept: give the same command "
                "again, with fewer --workers."
            ) from error


def _in_order(
    submit: Callable[[tuple[Any, ...]], Any], result: Callable[[Any], R], jobs: Iterator[tuple[Any, ...]], window: int
) -> Iterator[R]:
    running = deque(submit(job) for job in islice(jobs, window))
    while running:
        yield result(running.popleft())
        running.extend(submit(job) for job in islice(jobs, 1))


def _on_ray(function: Callable[..., R], jobs: Iterator[tuple[Any, ...]]) -> Iterator[R]:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UserError(f"--engine ray needs a package: {install('ray')}") from error
    if not ray.is_initialized():
        try:
            ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
        except ConnectionError:  # no cluster: one of this machine alone, which nobody else can reach
            ray.init(include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False, logging_level="ERROR")
    shared = ray.put(function)
    call = ray.remote(max_retries=3)(_call)
    window = 4 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    try:
        yield from _in_order(lambda job: call.remote(shared, *job), ray.get, jobs, window)
    except ray.exceptions.WorkerCrashedError as error:
        raise ChildProcessError(
            "A Ray worker died four times at the same work. What was done is kept: give the same command again."
        ) from error


def _call(function: Callable[..., R], *job: Any) -> R:
    return function(*job)


_RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK")


def is_first_process() -> bool:
    """Tells whether this is the first of the processes of a run, whoever started them: torchrun, SLURM or Lightning."""
    return int(next((os.environ[name] for name in _RANKS if name in os.environ), "0")) == 0


def started_by_launcher() -> bool:
    """Tells whether other processes may belong to the same run."""
    return any(name in os.environ for name in _RANKS)
