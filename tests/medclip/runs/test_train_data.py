from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from labelers.errors import UserError
from medclip.runs.settings import TrainConfig
from medclip.runs.train_data import TrainTables, find_train_sources, prepare_train_data
from tests.fixtures import layouts, runs


def tables_of(folder: Path, images: str, **options: object) -> TrainTables:
    config = TrainConfig(images=images, cache_size=32, prepared=str(folder / "p"), attributes="side", **options)
    return prepare_train_data(config, find_train_sources(config))


def test_images_get_the_sides_that_their_own_reports_name(tmp_path: Path) -> None:
    lines = layouts.csv(tmp_path).read_text().splitlines()
    said = ["Left effusion.", "Right effusion.", "Small effusions on both sides.", "No effusion."]
    rows = [",".join([*line.split(",")[:3], said[i % 4]]) for i, line in enumerate(lines[1:])]
    (tmp_path / "table.csv").write_text("\n".join(["path,patient_id,view,report", *rows]) + "\n")
    tables = tables_of(tmp_path, f"csv={tmp_path / 'table.csv'}")
    found = tables.images[0].set_index("path")["Pleural Effusion (left)"]
    assert found.iloc[:3].tolist() == [1, 0, 1]
    assert found.iloc[3:4].isna().all()
    assert "Pleural Effusion (left)" in tables.observations(TrainConfig(attributes="side"))


def test_sides_that_no_image_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no training image has a label such as 'Enlarged Cardiomediastinum \(left\)'"):
        tables_of(tmp_path, "phantom", source_options={"phantom": {"studies": 40, "size": 32}})


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
