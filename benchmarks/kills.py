"""Kills a training run at random moments until it is done, and compares it with one that was left alone.

    python benchmarks/kills.py                20 kills, SIGKILL and SIGTERM in turn: about 8 minutes on 2 CPU cores
    python benchmarks/kills.py 50 --seed 3
    python benchmarks/kills.py --cache-format litdata        the image cache in LitData's format
    python benchmarks/kills.py --cache-features 2            features of locked towers, each run with its own

Every other kill waits until a checkpoint is being written. All processes of the run are killed, its loaders too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

SETTINGS = {
    "--images": "phantom", "--source-options": "{phantom: {studies: 400, size: 32}}", "--image-size": "32",
    "--cache-size": "32", "--projection-dim": "64", "--batch-images": "32", "--batch-texts": "32",
    "--evaluate-every": "10", "--save-every": "3", "--learning-rate": "1e-3", "--workers": "1", "--threads": "1",
    "--accelerator": "cpu",
}  # fmt: skip


def command(output: Path, prepared: Path, steps: int, features: int) -> list[str]:
    settings = SETTINGS | {"--steps": str(steps), "--output": str(output), "--prepared": str(prepared)}
    if features:
        settings |= {"--cache-features": str(features), "--lock-vision": "all", "--lock-text": "all"}
    words = [word for pair in settings.items() for word in pair]
    return [sys.executable, "-c", "from medclip.cli.train import main; main()", *words]


def prepare(prepared: Path, kind: str) -> None:
    """Prepares images in a format of the cache, which training then finds."""
    names = ("--source-options", "--cache-size")
    words = [word for name in names for word in (name, SETTINGS[name])]
    script = "from medclip.cli.prepare import main; main()"
    arguments = ["--images", "phantom", "--prepared", str(prepared), "--cache-format", kind]
    subprocess.run([sys.executable, "-c", script, *arguments, *words], check=True, stdout=subprocess.DEVNULL)


def start(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(arguments, stdout=file, stderr=file, start_new_session=True)


def is_writing(folder: Path, since: float) -> bool:
    """Tells whether a checkpoint is being written, by a process that began at `since`."""
    try:
        return any(path.stat().st_mtime > since for path in folder.glob(".*.part"))
    except FileNotFoundError:  # it was renamed in between
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--cache-format", default="npy")
    parser.add_argument("--cache-features", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        whole, cut, log = root / "whole", root / "cut", root / "log.txt"
        first, second = root / "p", root / ("q" if options.cache_features else "p")
        for prepared in dict.fromkeys((first, second)):
            prepare(prepared, options.cache_format)
        begun = time.perf_counter()
        process = start(command(whole, first, options.steps, options.cache_features), log)
        while not last_step(whole) and process.poll() is None:
            time.sleep(0.05)
        startup = time.perf_counter() - begun
        assert process.wait() == 0, log.read_text()
        took = time.perf_counter() - begun
        print(f"left alone: {took:.0f} s, {options.steps} steps, the first saved after {startup:.0f} s", flush=True)
        done = 0
        while not (cut / "metrics.json").exists():
            since = time.time()
            process = start(command(cut, second, options.steps, options.cache_features), log)
            kind = signal.SIGKILL if done % 2 == 0 else signal.SIGTERM
            while_writing = done % 4 >= 2
            if done < options.kills:
                # From half-way through starting up until somewhat later.
                until = time.perf_counter() + rng.uniform(0.5, 1.5) * startup
                while time.perf_counter() < until and process.poll() is None:
                    time.sleep(0.01)
                waited = time.perf_counter() + 3 * startup
                while while_writing and not is_writing(cut / "checkpoints", since) and time.perf_counter() < waited:
                    if process.poll() is not None:
                        break
                if process.poll() is None:
                    writing = is_writing(cut / "checkpoints", since)
                    os.killpg(process.pid, kind) if kind == signal.SIGKILL else process.send_signal(kind)
                    code = process.wait()
                    done += 1
                    moment = "while writing" if writing else ""
                    print(
                        f"{done:>3} {kind.name} code {code:>3}  after {last_step(cut):>3} steps saved {moment}",
                        flush=True,
                    )
            process.wait()
        one, other = (load_file(run / "model" / "model.safetensors") for run in (whole, cut))
        weights = all(torch.equal(one[key], other[key]) for key in one)
        numbers = [json.loads((run / "metrics.json").read_text()) for run in (whole, cut)]
        print(f"{done} kills. Weights bitwise equal: {weights}; metrics equal: {numbers[0] == numbers[1]}")
        sys.exit(0 if weights and numbers[0] == numbers[1] and done >= options.kills else 1)


def last_step(run: Path) -> int:
    path = run / "checkpoints" / "last.ckpt"
    return torch.load(path, weights_only=True, map_location="cpu")["global_step"] if path.exists() else 0


if __name__ == "__main__":
    main()
