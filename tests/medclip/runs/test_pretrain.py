from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from medclip.cli.pretrain import STOPPED, run
from medclip.cli.train import run as train
from medclip.data.views import ViewSteps
from medclip.runs.settings import PretrainConfig
from medclip.training.pretraining import PretrainingModule
from medclip.utils.plugins import plugin_names
from tests.fixtures import runs

TINY = {
    "image-size": "32", "cache-size": "32", "batch-images": "8", "steps": "6", "save-every": "2", "workers": "0",
    "threads": "1", "accelerator": "cpu", "learning-rate": "1e-3", "loggers": "",
}  # fmt: skip


def flags(output: Path, *extra: str, **changed: Any) -> list[str]:
    settings = TINY | {name.replace("_", "-"): str(value) for name, value in changed.items()}
    data = ["--images", "phantom", "--source-options", runs.phantom(60), "--prepared", str(output.parent / "p")]
    given = [f"--{name}={value}" for name, value in settings.items()]
    return [*data, "--output", str(output), *given, *extra]


def tower(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "tower" / "model.safetensors")


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.mark.parametrize("method", plugin_names("training.methods"))
def test_an_interrupted_run_gives_what_an_uninterrupted_one_does(method: str, tmp_path: Path) -> None:
    given = {"method": method, "vision": "small-vit" if method == "mae" else "small"}
    assert run(flags(tmp_path / "whole", **given)) == 0
    usual = PretrainingModule.training_step

    def dies(self: Any, batch: Any, number: int) -> Any:
        if self.global_step == 5:
            raise Killed
        return usual(self, batch, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PretrainingModule, "training_step", dies)
        with pytest.raises(Killed):
            run(flags(tmp_path / "cut", **given))
    saved = torch.load(tmp_path / "cut" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 4
    assert run(flags(tmp_path / "cut", **given)) == 0
    first, second = tower(tmp_path / "whole"), tower(tmp_path / "cut")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_only_images_of_the_train_split_are_drawn(tmp_path: Path, monkeypatch, caplog) -> None:
    drawn: set[str] = set()
    usual = ViewSteps.__init__

    def noted(self: Any, keys: Any, *args: Any, **options: Any) -> None:
        drawn.update(keys)
        usual(self, keys, *args, **options)

    monkeypatch.setattr(ViewSteps, "__init__", noted)
    with caplog.at_level(logging.INFO, logger="medclip"):
        assert run(flags(tmp_path / "run", method="rotation", steps=2)) == 0
    table = pd.read_parquet(next((tmp_path / "p").glob("phantom-images-*/images.parquet")))
    assert drawn == set(table.loc[table["split"] == "train", "_key"])
    assert len(drawn) < len(table)


def test_the_tower_starts_a_training_and_its_patients_are_known_to_it(tmp_path: Path, capsys) -> None:
    """A run that started from a tower has seen its patients, so that evaluation on them says so."""
    assert run(flags(tmp_path / "tower", method="simclr")) == 0
    assert f"medclip-train --vision {tmp_path / 'tower'} --image-size 32" in capsys.readouterr().out
    text = ["--vision", str(tmp_path / "tower"), "--steps", "1", "--evaluate-every", "0", "--lock-vision", "all"]
    assert train(runs.flags(tmp_path / "run", *text, "--limit", "10")) == 0
    weights = load_file(tmp_path / "run" / "model" / "model.safetensors")
    for name, value in tower(tmp_path / "tower").items():
        assert torch.equal(weights[f"vision.backbone.{name}"], value)
    seen = set((tmp_path / "tower" / "tower" / "patients.txt").read_text().split())
    assert seen <= set((tmp_path / "run" / "patients.txt").read_text().split())


def test_options_and_what_is_left_behind(tmp_path: Path, capsys) -> None:
    more = ["--method-options", "{temperature: 0.3, queue: 16}", "--augmentation", "{area: 0.7, flip: 0.5}",
            "--image-weights", "1", "--limit", "20", "--limit-seed", "1", "--vision-pooling", "mean", "--epochs", "1",
            "--weight-decay", "0.01", "--warmup", "0.2", "--clip-norm", "0", "--keep", "1", "--seed", "3",
            "--split-seed", "0", "--dicom", "voi", "--devices", "1", "--nodes", "1", "--precision",
            "32-true", "--resume", "auto"]  # fmt: skip
    assert run(flags(tmp_path / "run", *more, method="mocov2", steps=0)) == 0
    left = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert left["method"] == "mocov2"
    assert left["steps"] == 2
    assert PretrainConfig.load(tmp_path / "run" / "config.yaml").method_options == {"temperature": 0.3, "queue": 16}
    capsys.readouterr()
    assert run(flags(tmp_path / "run", *more, method="mocov2", steps=0)) == 0
    assert "holds this run, complete" in capsys.readouterr().out
    with pytest.raises(ValueError, match="other settings"):
        run(flags(tmp_path / "run", *more, method="simclr", steps=0))
    assert STOPPED == 75


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--method", "mocov4"], "Did you mean 'mocov"),
        (["--method-options", "{temprature: 1}"], "Did you mean 'temperature'"),
        (["--method-options", "{start: 1}"], "no option 'start'"),
        (["--method", "mae"], "needs a vision transformer"),
        (
            ["--method", "mae", "--vision", "small-vit", "--method-options", "{mask: 2}"],
            "expected a share of the patches",
        ),
        (["--augmentation", "{hue: 1}"], "There is no augmentation 'hue'"),
        (["--vision", "timm:mixer_s32_22"], "timm has no model"),
        (["--vision", "timm:test_vit", "--image-size", "0"], "must be at least 1"),
        (["--images="], "Which images"),
    ],
)
def test_mistakes_are_told_before_data_are_prepared(tmp_path: Path, extra: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        run(flags(tmp_path / "run", *extra))
    assert not (tmp_path / "p").exists()


def test_what_is_not_there_is_told(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(FileNotFoundError, match="--resume"):
        run(flags(tmp_path / "run", "--resume", "nowhere.ckpt"))
    monkeypatch.setattr("medclip.runs.pretrain_data.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"\[pretrain\]"):
        run(flags(tmp_path / "run"))
