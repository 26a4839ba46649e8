from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures import runs


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_prepare_once(tmp_path: Path, processes: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    (tmp_path / "train.py").write_text("from medclip.cli.train import main\nmain()\n")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", port,
              str(tmp_path / "train.py")]  # fmt: skip
    words = runs.flags(tmp_path / "run", "--devices", str(processes), batch_images=16, batch_texts=16)
    done = subprocess.run([*launch, *words], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("caching 120 of 120 images") == 1
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["steps"] == 8
