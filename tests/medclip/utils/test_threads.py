from __future__ import annotations

import logging
import os

import psutil
import pytest

from medclip.cli.console import with_threads
from medclip.runs.settings import ClassifyConfig, EvaluateConfig, TrainConfig
from medclip.runs.train_resume import threads_of
from medclip.utils import threads
from medclip.utils.threads import free_threads, idle_share


class Time:
    def __init__(self, **seconds: float) -> None:
        self._seconds = seconds

    def _asdict(self) -> dict[str, float]:
        return {"user": 0.0, "nice": 0.0, "system": 0.0, "idle": 0.0, "iowait": 0.0, "guest": 0.0} | self._seconds


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Returns what makes a machine of logical cores with given idle shares."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "QUOTA", tmp_path / "cpu.max")  # what the machine of the tests allows is not asked

    def made(*idle: float, physical: int | None = None, kind: str = "user") -> None:
        counts = iter([[Time() for _ in idle], [Time(idle=share, **{kind: 1 - share}) for share in idle]])
        monkeypatch.setattr(psutil, "cpu_times", lambda percpu: next(counts))
        monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: len(idle) if logical else physical or len(idle))
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(len(idle))), raising=False)
        monkeypatch.setattr(os, "getpriority", lambda *_: 0, raising=False)

    return made


@pytest.mark.parametrize(
    ("idle", "physical", "expected"),
    [
        ((1.0, 1.0), None, (2, 2)),
        ((1.0, 0.0), None, (1, 2)),  # one other busy process
        ((0.0, 0.0), None, (1, 2)),  # never none
        ((0.8, 0.95), None, (2, 2)),  # a little work of others is no reason
        ((1.0, 1.0, 1.0, 1.0), 2, (2, 2)),  # two threads a core
        ((1.0, 1.0, 0.0, 0.0), 2, (1, 2)),
    ],
)
def test_threads_are_the_free_cores(machine, idle, physical, expected) -> None:
    machine(*idle, physical=physical)
    assert free_threads() == expected


def test_work_that_makes_way_counts_as_none(machine) -> None:
    machine(0.0, 0.0, kind="nice")
    assert free_threads() == (2, 2)
    assert idle_share(Time()._asdict(), Time(nice=1.0)._asdict(), nicer=False) == 0


def test_the_environment_and_the_container_limit_them(machine, monkeypatch) -> None:
    machine(1.0, 1.0, 1.0, 1.0)
    threads.QUOTA.write_text("250000 100000\n")
    assert free_threads() == (2, 2)
    machine(1.0, 1.0, 1.0, 1.0)
    threads.QUOTA.write_text("max 100000\n")
    monkeypatch.setenv("OMP_NUM_THREADS", "3,1")
    assert free_threads() == (3, 3)


def test_the_number_is_said_and_kept(machine, caplog, tmp_path) -> None:
    caplog.set_level(logging.INFO)
    machine(1.0, 0.0)
    assert with_threads(EvaluateConfig()).threads == 1
    assert "Arithmetic takes 1 thread: 1 of 2 cores free" in caplog.text
    assert with_threads(ClassifyConfig(threads=5)).threads == 5
    config = TrainConfig(output=str(tmp_path))
    assert threads_of(config) == 0
    TrainConfig(threads=3).save(tmp_path / "config.yaml")
    assert threads_of(config) == 3
    assert with_threads(config, before=3).threads == 3
    assert threads_of(TrainConfig(output=str(tmp_path), overwrite=True)) == 0


def test_a_number_below_none_is_refused() -> None:
    with pytest.raises(ValueError, match="--threads -1: must be at least 0"):
        ClassifyConfig(threads=-1)
