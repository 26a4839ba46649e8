from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import medclip
from medclip.cli import umbrella

ROOT = Path(__file__).parents[3]


def test_every_command_has_both_names() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(scripts) == {"medclip", *(f"medclip-{name}" for name in umbrella.COMMANDS)}
    for name in umbrella.COMMANDS:
        assert callable(import_module(f"medclip.cli.{name}").run)


def test_help_version_and_mistakes(capsys) -> None:
    assert umbrella.run([]) == 0
    said = capsys.readouterr().out
    assert all(f"medclip {name}" in said for name in umbrella.COMMANDS)
    assert umbrella.run(["--version"]) == 0
    assert medclip.__version__ in capsys.readouterr().out
    assert umbrella.run(["trian"]) == 2
    assert "Did you mean 'train'" in capsys.readouterr().err
    for option in ("--list", "--completion"):
        assert umbrella.run([option]) == 2
        assert f"error: {option}: choose from" in capsys.readouterr().err
    assert umbrella.run(["--list", "planets"]) == 2


@pytest.mark.parametrize(
    ("kind", "one"),
    [("sources", "chexpert"), ("objectives", "semantic-matching"), ("evaluators", "few-shot"), ("prompts", "there-is"),
     ("vocabularies", "chexpert14-zh"), ("protocols", "carzero-2024"), ("towers", "--vision tiny"),
     ("models", "--vision tiny")],
)  # fmt: skip
def test_lists(kind: str, one: str, capsys) -> None:
    assert umbrella.run(["--list", kind]) == 0
    assert one in capsys.readouterr().out.splitlines()


def test_words_reach_the_command_and_its_mistakes_come_back(capsys) -> None:
    with pytest.raises(ValueError, match="Which images"):
        umbrella.run(["train", "--output", "nowhere"])
    with pytest.raises(SystemExit):
        umbrella.run(["help", "label"])
    assert "medclip-label" in capsys.readouterr().out


def test_a_wrong_path_is_told_within_seconds() -> None:
    found = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "medclip", "classify", "nowhere", "film.png"], capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    assert found.returncode == 2
    assert "nowhere holds no model" in found.stderr
    assert " torch\n" not in found.stderr  # its import alone takes seconds


def test_a_model_is_loaded_in_one_word(tmp_path, monkeypatch) -> None:
    from tests.fixtures import runs

    assert runs.train(tmp_path / "run", "--steps", "2", "--evaluate-every", "1") == 0
    film = np.zeros((40, 30), dtype=np.uint8)
    table = medclip.load(tmp_path / "run", device="cpu")([film])
    assert table.shape == (1, 14)
    asked: list[str] = []

    def fetch(name: str, *, local_files_only: bool, allow_patterns: list[str]) -> str:
        assert local_files_only and "*.safetensors" in allow_patterns and "*.bin" not in allow_patterns
        asked.append(name)
        return str(tmp_path / "run" / "model")

    with pytest.raises(FileNotFoundError, match="holds no model"):  # a misspelt run is not asked for elsewhere
        medclip.load(str(tmp_path / "rnu"))
    with pytest.raises(OSError, match="hf download somebody/medclip"):
        medclip.load("somebody/medclip")
    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert medclip.load("somebody/medclip", device="cpu")(film).equals(table)
    assert asked == ["somebody/medclip"]
