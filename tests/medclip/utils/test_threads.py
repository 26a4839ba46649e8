from __future__ import annotations

import logging
import os

import psutil
import pytest

from medclip.cli.console import with_threads
from medclip.runs.settings import ClassifyConfig, EvaluateConfig, TrainConfig
from medclip.runs.train_resume import threads_of
from medclip.utils import threads
from medclip.utils.threads import default_threads


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Returns what makes a machine of logical and physical cores."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "QUOTA", tmp_path / "cpu.max")  # what the machine of the tests allows is not asked

    def made(logical: int, physical: int, own: int = 0) -> None:
        monkeypatch.setattr(psutil, "cpu_count", lambda logical_=True, logical=True: made.counts[logical and logical_])
        made.counts = {True: logical, False: physical}
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(own or logical)), raising=False)

    return made


@pytest.mark.parametrize(
    ("logical", "physical", "own", "expected"),
    [(1, 1, 0, (1, 1)), (2, 2, 0, (1, 2)), (8, 8, 0, (7, 8)), (8, 4, 0, (3, 4)), (64, 32, 8, (3, 4))],
)
def test_one_core_is_left_to_others(machine, logical, physical, own, expected) -> None:
    machine(logical, physical, own)
    assert default_threads() == expected
    assert default_threads() == expected  # whatever else runs


def test_the_environment_and_the_container_say_otherwise(machine, monkeypatch) -> None:
    machine(8, 8)
    threads.QUOTA.write_text("350000 100000\n")
    assert default_threads() == (2, 3)
    threads.QUOTA.write_text("max 100000\n")
    assert default_threads() == (7, 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "3,1")
    assert default_threads() == (3, 8)


def test_the_number_is_said_and_kept(machine, caplog, tmp_path) -> None:
    caplog.set_level(logging.INFO, logger="medclip")
    machine(4, 4)
    assert with_threads(EvaluateConfig()).threads == 3
    assert "Arithmetic takes 3 threads of 4 cores (--threads)" in caplog.text
    assert with_threads(ClassifyConfig(threads=5)).threads == 5
    config = TrainConfig(output=str(tmp_path))
    assert threads_of(config) == 0
    TrainConfig(threads=2).save(tmp_path / "config.yaml")
    assert threads_of(config) == 2
    assert with_threads(config, before=2).threads == 2
    assert threads_of(TrainConfig(output=str(tmp_path), overwrite=True)) == 0


def test_a_number_below_none_is_refused() -> None:
    with pytest.raises(ValueError, match="--threads -1: must be at least 0"):
        ClassifyConfig(threads=-1)
