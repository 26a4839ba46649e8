"""Every option that `--help` offers is used by some test."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from medclip.cli import evaluate, label, prepare
from medclip.runs import settings
from tests.fixtures import runs
from tests.fixtures.chexbert import write_chexbert

TESTS = Path(__file__).parents[2]


def test_every_option_is_used() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py"))
    unused = []
    for kind in (getattr(settings, name) for name in settings.__all__ if name.endswith("Config")):
        for name in (field.name for field in dataclasses.fields(kind) if field.name not in kind.positional):
            dashed = name.rstrip("_").replace("_", "[-_]")  # from_ is written --from
            if not re.search(rf"--{dashed}\b|\b{name}=|[\"']{dashed}[\"']:", text):
                unused.append(f"{kind.__name__}.{name}")
    assert unused == []


def test_options_of_sampling_and_towers_train_together(tmp_path: Path) -> None:
    output = tmp_path / "run"
    assert runs.train(
        output, "--steps", "2", "--evaluate-every", "1", "--image-weights", "1", "--text-weights", "1",
        "--balance-sites", "1", "--flips", "0.1", "--rewordings", "0.1",
        "--balance-images", "0.5", "--balance-texts", "0.5", "--repeats", "0", "--limit", "60", "--limit-seed", "1",
        "--vision-pooling", "cls", "--lora-vision", "2", "--weight-decay", "0.01", "--nodes", "1",
    ) == 0  # fmt: skip
    settings_of_prompts = ["--prompt-draws", "2", "--prompts-per-draw", "1", "--resamples", "0"]
    base = [str(output), "--on", "phantom", "--prepared", str(tmp_path / "p")]
    assert evaluate.run([*base, *settings_of_prompts]) == 0
    drawn = pd.read_csv(output / "evaluation" / "phantom" / "model-prompt_draws.csv")
    assert len(drawn) == 2


@pytest.mark.slow
def test_a_compiled_model_trains(tmp_path: Path) -> None:
    assert runs.train(tmp_path / "run", "--steps", "2", "--evaluate-every", "1", "--compile") == 0


def test_another_labeler_prepares_and_labels(tmp_path: Path, capsys) -> None:
    checkpoint = write_chexbert(tmp_path)
    other = ["--labeler", "chexbert", "--checkpoint", str(checkpoint)]
    sources = ["--texts", "phantom", "--source-options", runs.phantom(12), "--prepared", str(tmp_path / "p")]
    assert prepare.run([*sources, *other]) == 0
    manifest = json.loads(next((tmp_path / "p").glob("*/manifest.json")).read_text())
    assert manifest["labeler"] == "chexbert"
    (tmp_path / "report.txt").write_text("No effusion.")
    assert label.run([str(tmp_path / "report.txt"), *other]) == 0
    assert "Pleural Effusion" in capsys.readouterr().out
