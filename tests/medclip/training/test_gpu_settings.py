"""Every shipped configuration takes steps on a CPU with the settings that a GPU run gets."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from medclip.cli.train import run
from medclip.models import MedCLIPConfig, MedCLIPModel
from medclip.objectives.semantic_matching import SemanticMatching
from medclip.training.module import TrainingModule
from medclip.training.step_module import Optimisation
from medclip.training.trainer import usual_precision

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))
TINY = Path(__file__).parents[2] / "fixtures" / "parity"


def tiny(tower: str) -> str:
    """Returns a small tower of the same kind."""
    if tower.startswith("torchvision:"):
        return "torchvision:mobilenet_v3_small"
    return {"small": "small", "microsoft/swin-tiny-patch4-window7-224": str(TINY / "tiny_swin")}.get(
        tower, str(TINY / "tiny_bert")
    )


def settings_of(path: Path, folder: Path) -> list[str]:
    config = yaml.safe_load(path.read_text())
    size = 224 if "swin" in config["vision"] else 64  # the tiny Swin's windows fit the one
    changed = {
        "images": "phantom", "texts": "phantom",
        "source_options": {"phantom": {
            "studies": 90, "size": 32, "paired": config.get("images") == "mimic-cxr",
            "language": "zh" if path.stem == "chinese" else "en",
        }},
        "vision": tiny(config["vision"]), "text": tiny(config["text"]), "image_size": size, "cache_size": 64,
        "lock_text": "1" if config.get("lock_text") else "", "max_length": 32, "batch_images": 2, "batch_texts": 4,
        "steps": 3, "evaluate_every": 3, "workers": 1, "threads": 1, "output": str(folder / path.stem),
        "prepared": str(folder / "prepared"), "accelerator": "cpu", "precision": "bf16-mixed",
    }  # fmt: skip
    merged = folder / f"{path.stem}.yaml"
    merged.write_text(yaml.safe_dump(config | changed))
    return ["--config", str(merged)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("gpu_settings")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_configuration_takes_steps_with_gpu_settings(path: Path, folder: Path, monkeypatch) -> None:
    fused = []
    usual = torch.optim.AdamW.__init__

    def noted(self, *args, **kwargs) -> None:
        usual(self, *args, **kwargs)
        fused.append(kwargs["fused"])

    monkeypatch.setattr("medclip.training.step_module.fuses", lambda device: True)
    monkeypatch.setattr(torch.optim.AdamW, "__init__", noted)
    assert run(settings_of(path, folder)) == 0
    assert fused == [True]
    assert json.loads((folder / path.stem / "metrics.json").read_text())["steps"] == 3


@pytest.mark.parametrize(("scaler", "fused"), [(None, True), (object(), False)])
def test_where_gradients_are_scaled_the_optimizer_is_not_fused(scaler: object, fused: bool, monkeypatch) -> None:
    """A fused optimizer unscales gradients itself, which is after they were clipped."""
    monkeypatch.setattr("medclip.training.step_module.fuses", lambda device: True)
    model = MedCLIPModel(MedCLIPConfig(projection_dim=8))
    optimisation = Optimisation(1e-3, 0.0, 0.1, steps=3, clip_norm=1.0)
    module = TrainingModule(model, SemanticMatching(), optimisation=optimisation, seed=0)
    module._trainer = SimpleNamespace(precision_plugin=SimpleNamespace(scaler=scaler))
    assert module.configure_optimizers()["optimizer"].defaults["fused"] is fused


@pytest.mark.parametrize(("hardware", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_bf16_only_where_the_hardware_has_it(hardware: bool, precision: str, monkeypatch) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return hardware or including_emulation

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert usual_precision("auto") == precision
