from __future__ import annotations

import os
import signal
from pathlib import Path

import pandas as pd
import pytest

from medclip.cli import label, prepare
from medclip.utils.parallel import run_jobs


def twice(number: int) -> int:
    return 2 * number


def die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_jobs(workers: int) -> None:
    assert list(run_jobs(twice, ((i,) for i in range(50)), workers=workers)) == [2 * i for i in range(50)]


def test_no_more_jobs_are_taken_than_wait() -> None:
    taken = 0

    def jobs():
        nonlocal taken
        for i in range(1000):
            taken += 1
            yield (i,)

    results = run_jobs(twice, jobs(), workers=2)
    next(results)
    assert taken <= 9
    results.close()


def test_a_worker_that_dies_is_told() -> None:
    with pytest.raises(ChildProcessError, match="A worker process died"):
        list(run_jobs(die, ((i,) for i in range(8)), workers=2))


def test_an_unknown_engine() -> None:
    with pytest.raises(ValueError, match="choose from local, ray"):
        list(run_jobs(twice, [(1,)], engine="spark"))


def test_an_engine_that_is_not_here(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'medclip-cxr\[ray\]'"):
        list(run_jobs(twice, [(1,)], engine="ray"))


@pytest.mark.slow
def test_ray_gives_what_the_local_engine_gives(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    reports = tmp_path / "reports.csv"
    texts = ["The heart is enlarged.", "No pleural effusion.", "Possible pneumonia."] * 400
    pd.DataFrame({"study_id": range(len(texts)), "report": texts}).to_csv(reports, index=False)
    written = {}
    for engine in ("local", "ray"):
        common = ["--text-column", "report", "--id-column", "study_id", "--engine", engine]
        assert label.run([str(reports), *common, "--output", str(tmp_path / f"{engine}.csv")]) == 0
        options = ["--source-options", "{phantom: {studies: 600, size: 32}}", "--cache-size", "32", "--engine", engine]
        folder = tmp_path / engine
        assert prepare.run(["--images", "phantom", "--texts", "phantom", *options, "--prepared", str(folder)]) == 0
        written[engine] = {
            str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
        }
    assert (tmp_path / "local.csv").read_bytes() == (tmp_path / "ray.csv").read_bytes()
    assert written["local"] == written["ray"]
