"""What a run survives of what lies around it: caches, loaders, memory, clocks, other runs, other processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

from medclip.cli import prepare
from medclip.objectives.semantic_matching import SemanticMatching
from medclip.sources.phantom.radiograph import draw_radiograph
from medclip.training.callbacks import EvaluateEvery
from medclip.utils.io import locked
from tests.fixtures import runs

Train = Callable[..., int]


@pytest.fixture
def train(tmp_path) -> Train:
    def train(name: str, *extra: str) -> int:
        return runs.train(tmp_path / name, *extra)

    return train


def numbers(folder: Path) -> dict[str, object]:
    return json.loads((folder / "metrics.json").read_text())


def stop_at(step: int, act: Callable[[], None]) -> pytest.MonkeyPatch:
    patch, usual = pytest.MonkeyPatch(), EvaluateEvery.on_train_batch_end

    def hooked(self, trainer, *rest) -> None:
        usual(self, trainer, *rest)
        if trainer.global_step == step:
            act()

    patch.setattr(EvaluateEvery, "on_train_batch_end", hooked)
    return patch


class Killed(BaseException):
    pass


def kill() -> None:
    raise Killed


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a whole run, one that was killed after step 5, and what was prepared for both; to be copied."""
    home = tmp_path_factory.mktemp("runs")
    assert runs.train(home / "whole") == 0
    patch = stop_at(5, kill)
    with pytest.raises(Killed):
        runs.train(home / "cut")
    patch.undo()
    return home


@pytest.mark.parametrize(
    "spoil",
    ["a shard", "the end of a shard", *(pytest.param(one, marks=pytest.mark.slow) for one in ("all", "an index"))],
)
def test_a_spoiled_cache_is_made_again(home, tmp_path, train, caplog, spoil: str) -> None:
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    shards = sorted((tmp_path / "p" / "cache").rglob("*.npy"))
    if spoil == "all":
        shutil.rmtree(tmp_path / "p")
    elif spoil == "a shard":
        shards[0].unlink()
    elif spoil == "an index":
        shards[0].with_suffix(".json").unlink()
    else:
        os.truncate(shards[0], shards[0].stat().st_size // 2)
    assert train("cut") == 0
    assert ("missing or cut off" in caplog.text) == ("shard" in spoil)
    assert numbers(tmp_path / "cut") == numbers(tmp_path / "whole")


def test_a_loader_that_dies_is_told_and_the_run_goes_on(tmp_path, train) -> None:
    def kill_loader() -> None:
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        loaders = [pid for pid in children if "pt_data_worker" in Path(f"/proc/{pid}/comm").read_text()
                   or "multiprocessing" in Path(f"/proc/{pid}/cmdline").read_text()
                   or Path(f"/proc/{pid}/cmdline").read_text() == Path("/proc/self/cmdline").read_text()]  # fmt: skip
        for pid in loaders:
            os.kill(int(pid), signal.SIGKILL)

    long = ["--steps", "16", "--evaluate-every", "4"]
    assert train("whole", *long) == 0
    patch = stop_at(5, kill_loader)
    with pytest.raises(ChildProcessError, match="resumes from the last checkpoint"):
        train("cut", "--workers", "1", *long)
    patch.undo()
    assert train("cut", *long) == 0
    assert numbers(tmp_path / "cut") == numbers(tmp_path / "whole")


@pytest.mark.parametrize(
    ("end", "said"),
    [(ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"), (EOFError(), "EOFError")],
)
def test_a_loader_that_dies_while_it_sends_is_told_alike(train, monkeypatch, end: Exception, said: str) -> None:
    def cut_off(*_) -> None:
        raise end

    monkeypatch.setattr(torch.utils.data.dataloader._MultiProcessingDataLoaderIter, "_try_get_data", cut_off)
    with pytest.raises(ChildProcessError, match=said):
        train("cut", "--workers", "1")


def test_too_little_memory_says_how_to_need_less(train, monkeypatch) -> None:
    def no_memory(*_) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nmore")

    monkeypatch.setattr(SemanticMatching, "forward", no_memory)
    with pytest.raises(MemoryError, match="--encode-batch 32"):
        train("memory")


def test_a_folder_that_cannot_be_written(tmp_path, train) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        train("file/run")


def test_two_runs_do_not_write_to_one_folder(tmp_path, train) -> None:
    code = f"""
import sys, time
from pathlib import Path
from medclip.utils.io import locked
with locked(Path({str(tmp_path / "run")!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(BlockingIOError, match="Another run is writing to"):
        train("run")
    other.kill()
    other.wait()
    with locked(tmp_path / "run"):
        pass


def test_overwriting_waits_its_turn(home, tmp_path, train) -> None:
    shutil.copytree(home / "whole", tmp_path / "held")
    before = sorted(path.name for path in (tmp_path / "held" / "checkpoints").iterdir())
    with locked(tmp_path / "held"), pytest.raises(BlockingIOError, match="Another run is writing to"):
        train("held", "--overwrite")
    assert sorted(path.name for path in (tmp_path / "held" / "checkpoints").iterdir()) == before


def test_files_from_another_time_are_looked_at_again(tmp_path, caplog) -> None:
    """A clock that was set back, or files copied anew: the cache goes by what files say, and ends the same."""
    for i in range(60):
        Image.fromarray(draw_radiograph(0, i, size=32)).save(tmp_path / f"{i}.png")
    ids = {name: range(60) for name in ("image_id", "study_id", "patient_id")}
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(60)], **ids, "Edema": [i % 2 for i in range(60)]})
    table.assign(split=["valid" if i % 5 == 0 else "train" for i in range(60)]).to_csv(tmp_path / "t.csv")
    images = ["--images", f"csv={tmp_path / 't.csv'}", "--prepared", str(tmp_path / "p"), "--cache-size", "32"]

    def cached() -> list[bytes]:
        return [path.read_bytes() for path in sorted((tmp_path / "p").rglob("*.npy"), key=os.path.getmtime)]

    assert prepare.run(images) == 0
    (first,) = cached()
    for i in range(60):
        os.utime(tmp_path / f"{i}.png", (0, 86400 * (i % 3)))
    with caplog.at_level("INFO"):
        assert prepare.run(images) == 0
    assert "caching 60 of 60" in caplog.text
    assert cached() == [first, first]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGKILL])
def test_two_processes_told_to_stop_or_killed_go_on(tmp_path, kind: signal.Signals) -> None:
    """The processes of torchrun: all are told, or one of them dies and takes the other with it."""

    def command(name: str) -> list[str]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
        script = [str(Path(sys.executable).with_name("medclip-train")), *runs.flags(tmp_path / name, steps=120)]
        return [*launch, "--no-python", *script, "--devices", "2"]

    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    assert subprocess.run(command("whole"), env=environment, check=False, capture_output=True).returncode == 0
    process = subprocess.Popen(command("cut"), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while not (tmp_path / "cut" / "checkpoints" / "last.1.ckpt").exists():
        assert process.poll() is None
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in children if kind == signal.SIGTERM else children[-1:]:
        os.kill(int(pid), kind)
    process.communicate(timeout=120)
    assert not (tmp_path / "cut" / "metrics.json").exists()
    assert subprocess.run(command("cut"), env=environment, check=False, capture_output=True).returncode == 0
    assert numbers(tmp_path / "cut") == numbers(tmp_path / "whole")
