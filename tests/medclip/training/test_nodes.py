"""Two machines, played by two launchers of one process each, against one machine with two processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures import runs


def launch(output: Path, port: int, *, nodes: int, node: int) -> subprocess.Popen[str]:
    """Starts the processes of one machine."""
    launcher = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes", str(nodes), "--node-rank", str(node),
        "--nproc-per-node", str(2 // nodes), "--master-addr", "127.0.0.1", "--master-port", str(port),
    ]  # fmt: skip
    script = [sys.executable, "-c", "from medclip.cli.train import main; main()"]
    settings = ["--nodes", str(nodes), "--devices", str(2 // nodes)]
    return subprocess.Popen(
        [*launcher, "--no-python", *script, *runs.flags(output, *settings)], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
    )  # fmt: skip


@pytest.mark.slow
def test_two_nodes_equal_one(tmp_path: Path) -> None:
    for nodes in (1, 2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        started = [launch(tmp_path / str(nodes), port, nodes=nodes, node=node) for node in range(nodes)]
        for process in started:
            said, _ = process.communicate(timeout=1200)
            assert process.returncode == 0, said
    assert runs.same(tmp_path / "1", tmp_path / "2")
