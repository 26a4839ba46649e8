"""A hub that does not answer costs seconds, and what was fetched before is found without it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from labelers.hub import on_disk

#: Asks three hubs: one that answers, one that takes the connection and stays silent, one that is not there.
ASK = """
import http.server, socket, threading
from huggingface_hub import constants
from labelers.hub import is_reached

answering = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=answering.serve_forever, daemon=True).start()
silent = socket.create_server(("127.0.0.1", 0))
closed = socket.create_server(("127.0.0.1", 0))
places = [answering.server_port, silent.getsockname()[1], closed.getsockname()[1]]
closed.close()
for port in places:
    constants.ENDPOINT = f"http://127.0.0.1:{port}"
    print(is_reached(), is_reached())
"""


def test_whether_a_hub_answers_is_told_within_seconds(tmp_path: Path) -> None:
    start = time.monotonic()
    env = {"HF_HUB_OFFLINE": "0", "NO_PROXY": "*", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, check=True, env=env, cwd=tmp_path
    )
    assert done.stdout.split() == ["True", "True", "False", "False", "False", "False"]
    assert time.monotonic() - start < 30


def test_without_the_hub_what_was_fetched_before_is_read(tmp_path: Path) -> None:
    fetched = tmp_path / "models--nobody--bert" / "snapshots" / "abc"
    fetched.mkdir(parents=True)
    (fetched / "config.json").write_text("{}")
    (tmp_path / "models--nobody--bert" / "refs").mkdir()
    (tmp_path / "models--nobody--bert" / "refs" / "main").write_text("abc")
    assert on_disk("nobody/bert", cache_dir=str(tmp_path)) == str(fetched)
    assert on_disk(tmp_path) == str(tmp_path)
    with pytest.raises(OSError, match="snapshot"):
        on_disk("nobody/other", cache_dir=str(tmp_path))
