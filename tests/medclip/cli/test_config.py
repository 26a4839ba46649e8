from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from medclip.cli import classify, convert, curve, evaluate, export, label, prepare, search, train
from medclip.cli.config import read_config
from medclip.data.transforms import augmentation_from
from medclip.runs.settings import TrainConfig
from medclip.utils.plugins import check_options, load_plugin

ROOT = Path(__file__).parents[3]
COMMANDS = {"medclip-classify": classify, "medclip-convert": convert, "medclip-curve": curve,
            "medclip-evaluate": evaluate, "medclip-export": export, "medclip-label": label,
            "medclip-prepare": prepare, "medclip-search": search, "medclip-train": train}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches(name: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        COMMANDS[name].run(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert f"usage: {name}" in text


def test_help_and_import_do_not_load_torch() -> None:
    code = (
        "import sys, medclip, medclip.cli.train as t\n"
        "try: t.run(['--help'])\nexcept SystemExit: assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_names_the_nearest(name: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        COMMANDS[name].run(["--outpu", "2"])
    assert stopped.value.code == 2
    assert "unknown option --outpu. Did you mean --output?" in capsys.readouterr().err


def test_an_unknown_key_names_the_nearest(tmp_path, capsys) -> None:
    (tmp_path / "c.yaml").write_text("learning_rat: 1\n")
    with pytest.raises(SystemExit):
        train.run(["--config", str(tmp_path / "c.yaml")])
    assert "unknown key 'learning_rat'. Did you mean 'learning_rate'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob("configs/*.yaml"), *ROOT.glob("benchmarks/phantom-*.yaml")]), ids=str
)
def test_every_configuration_is_valid(path: Path) -> None:
    config = read_config(TrainConfig, ["--config", str(path)], prog="medclip-train", description="")
    kind = load_plugin("objectives", config.objective)
    check_options("objective", config.objective, kind, config.objective_options)
    kind(**config.objective_options)
    augmentation_from(config.augmentation)
