"""What shells offer after reading the scripts of `medclip --completion`."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from medclip.cli import umbrella
from medclip.cli.completion import SHELLS, script

FIRST = {"--help": (), "--list": ("sources", "objectives")}


def offered(words: str, *, at: str) -> list[str]:
    """Returns what bash offers for a line."""
    line = f"COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _medclip {at}; echo ${{COMPREPLY[@]}}"
    told = script("bash", umbrella.COMMANDS, FIRST) + line
    done = subprocess.run(["bash", "-c", told], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_bash_offers_commands_options_and_values() -> None:
    assert offered("medclip cl", at="medclip") == ["classify"]
    assert offered("medclip --l", at="medclip") == ["--list"]
    assert offered("medclip --list so", at="medclip") == ["sources"]
    assert offered("medclip train --objective gl", at="medclip") == ["gloria"]
    assert offered("medclip classify --fr", at="medclip") == ["--from"]
    assert offered("medclip-search runs/mine --ht", at="medclip-search") == ["--html"]
    assert offered("medclip-classify --format j", at="medclip-classify") == ["json"]
    assert offered("medclip-classify fi", at="medclip-classify") == []  # then files


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_reads_its_script(shell) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    told = script(shell, umbrella.COMMANDS, FIRST)
    done = subprocess.run([shell, "-n"], input=told, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_shell_is_told(capsys) -> None:
    assert umbrella.run(["--completion", "fisch"]) == 2
    assert "choose from bash, zsh, fish. Did you mean 'fish'?" in capsys.readouterr().err
    assert umbrella.run(["--completion", "fish"]) == 0
    assert "complete -c medclip-train -l learning-rate" in capsys.readouterr().out
