from __future__ import annotations

import shutil
import subprocess
import sys

import pandas as pd
import pytest

from medclip.cli import prepare
from medclip.data.cache import PixelCache
from medclip.runs.settings import TrainConfig
from tests.fixtures import layouts, runs


def test_prepare_prints_what_there_is(tmp_path, capsys) -> None:
    root = layouts.openi(tmp_path / "openi")
    arguments = [
        "--images",
        f"openi={root}",
        "--texts",
        f"openi={root}",
        "--prepared",
        str(tmp_path / "p"),
        "--cache-size",
        "16",
    ]
    assert prepare.run(arguments) == 0
    assert "sentences" in capsys.readouterr().out
    with pytest.raises(ValueError, match="Nothing to prepare"):
        prepare.run([])


@pytest.mark.slow
def test_preparation_killed_at_any_moment_ends_the_same(tmp_path) -> None:
    """Five SIGKILLs, each a little later; then it is left alone, and gives what an uninterrupted one gives."""
    command = [sys.executable, "-m", "medclip.cli.prepare", "--images", "phantom", "--texts", "phantom",
               "--source-options", "{phantom: {studies: 3000, size: 64}}", "--cache-size", "64"]  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run = [sys.executable, "-c", "from medclip.cli.prepare import main; main()", *command[3:]]
    subprocess.run([*run, "--prepared", str(whole)], check=True, capture_output=True)
    for kill_after in (1.0, 2.0, 3.0, 4.0, 5.0):
        process = subprocess.Popen(
            [*run, "--prepared", str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    subprocess.run([*run, "--prepared", str(killed)], check=True, capture_output=True)
    manifests = [sorted(path.parent.name for path in root.glob("*/manifest.json")) for root in (whole, killed)]
    assert manifests[0] == manifests[1]
    caches = [PixelCache(root / "cache", 64) for root in (whole, killed)]
    images = pd.read_parquet(next(whole.glob("phantom-images-*/images.parquet")))
    keys = images["_key"].tolist()
    assert (caches[0].get(keys) == caches[1].get(keys)).all()


def test_training_reads_litdata_as_it_reads_npy_here_and_elsewhere(tmp_path, monkeypatch) -> None:
    pytest.importorskip("litdata")
    monkeypatch.setenv("LITDATA_CACHE_DIR", str(tmp_path / "downloads"))
    monkeypatch.setattr("medclip.data.cache.SHARD_IMAGES", 7)
    monkeypatch.setattr("medclip.data.samplers.TOGETHER", 3)
    options = ["--images", "phantom", "--source-options", runs.phantom(60, paired=False), "--cache-size", "32"]
    for kind in ("npy", "litdata"):
        prepared = ["--prepared", str(tmp_path / kind / "p"), "--cache-format", kind]
        assert prepare.run([*options, *prepared]) == 0
        assert prepare.run([*options, *prepared, "--check"]) == 0
        assert runs.train(tmp_path / kind / "run", "--image-order", "shards", studies=60) == 0
    assert runs.same(tmp_path / "npy" / "run", tmp_path / "litdata" / "run")
    folder, store = tmp_path / "litdata" / "p" / "cache" / "litdata-32", tmp_path / "store"
    assert not (folder.parent / "grey-32").exists()
    shutil.copytree(folder, store)
    for path in folder.glob("*.bin"):
        path.unlink()
    far = ["--image-order", "shards", "--cache-url", f"local:{store}"]
    assert runs.train(tmp_path / "litdata" / "far", *far, studies=60) == 0
    assert runs.same(tmp_path / "npy" / "run", tmp_path / "litdata" / "far")


def test_an_order_of_files_goes_with_no_weights() -> None:
    with pytest.raises(ValueError, match="--image-order shards is an order of passes"):
        TrainConfig(image_order="shards", balance_images=1.0)
