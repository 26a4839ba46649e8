"""Prepares films on a Ray cluster of two nodes, kills one of them in the middle, and compares the cache byte for byte.

    pip install 'medclip-cxr[ray]'
    python benchmarks/ray_nodes.py [FILMS]

Both nodes are on this machine, reached at 127.0.0.1 only. Printed: which nodes did how much before, and whether the
files of pixels are those of a preparation by one process, and the tables too.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import ray

import medclip

PORT = 6399


def start_node(*words: str) -> subprocess.Popen[bytes]:
    """Starts a node with one core, in a group of processes of its own."""
    common = ["--num-cpus=1", "--node-ip-address=127.0.0.1", f"--object-store-memory={100 * 2**20}", "--block"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *words, *common]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_node(node: subprocess.Popen[bytes]) -> None:
    os.killpg(node.pid, signal.SIGKILL)
    node.wait()


def alive() -> int:
    return sum(node["Alive"] for node in ray.nodes())


def wait_for(nodes: int, seconds: int = 120) -> None:
    """Waits until so many nodes are there."""
    until = time.monotonic() + seconds
    while not ray.is_initialized() or alive() != nodes:
        if time.monotonic() > until:
            raise SystemExit(f"Expected {nodes} nodes after {seconds} seconds.")
        try:
            ray.init(f"127.0.0.1:{PORT}", _node_ip_address="127.0.0.1", log_to_driver=False, ignore_reinit_error=True)
        except ConnectionError:
            time.sleep(1)
        time.sleep(0.5)


def make(folder: Path, films: int) -> Path:
    """Returns a table of made-up films of 700 by 800 pixels."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(films):
        small = rng.integers(0, 255, (35, 40), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number:05d}.jpg"), cv2.resize(small, (800, 700)))
    lines = [f"{folder}/{number:05d}.jpg,p{number // 3},{number % 2}" for number in range(films)]
    table = folder / "films.csv"
    table.write_text("\n".join(["path,patient_id,Edema", *lines]))
    return table


def prepare(table: Path, prepared: Path, engine: str, progress: Any = None) -> dict[str, str]:
    """Returns the digest of every file of the prepared folder that holds pixels or a table."""
    config = medclip.PrepareConfig(
        images=f"csv={table}", prepared=str(prepared), cache_size=224, engine=engine, workers=1
    )
    medclip.prepare(config, progress=progress)
    files = sorted(file for kind in ("*.npy", "*.parquet") for file in prepared.rglob(kind))
    return {str(file.relative_to(prepared)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def main(films: int = 4000) -> None:
    """Prepares twice in a temporary folder and compares."""
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        table = make(folder / "films", films)
        alone = prepare(table, folder / "alone", "local")
        nodes = [start_node("--head", f"--port={PORT}", "--include-dashboard=false")]
        try:
            wait_for(1)
            nodes.append(start_node(f"--address=127.0.0.1:{PORT}"))
            wait_for(2)
            print(f"{alive()} nodes, {films:,} films", flush=True)

            def killing(_: str, done: int, total: int) -> None:
                if len(nodes) == 2 and done > total / 3:
                    kill_node(nodes.pop())
                    print(f"a node killed after {done:,} of {total:,} films", flush=True)

            together = prepare(table, folder / "together", "ray", killing)
            left = alive()
            ray.shutdown()
        finally:
            killed = len(nodes) < 2
            for node in nodes:
                kill_node(node)
    if not killed:
        raise SystemExit("The node was never killed: more films are needed.")
    print(f"{left} node left; {len(alone)} files of pixels and tables; byte for byte equal: {together == alone}")
    if together != alone:
        raise SystemExit(1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
