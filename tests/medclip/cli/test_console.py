from __future__ import annotations

import sys

import pytest

from labelers.errors import UserError
from medclip.cli.console import command, print_table


def test_mistakes_end_with_a_message_and_code_2(capsys, monkeypatch) -> None:
    def fail(argv: list[str]) -> int:
        raise UserError("found x, expected y")

    monkeypatch.setattr(sys, "argv", ["medclip-x"])
    with pytest.raises(SystemExit) as stopped:
        command(fail)()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: found x, expected y\n"


def test_programming_errors_keep_their_traceback(monkeypatch) -> None:
    def fail(argv: list[str]) -> int:
        raise KeyError("x")

    monkeypatch.setattr(sys, "argv", ["medclip-x"])
    with pytest.raises(KeyError):
        command(fail)()


def test_brackets_in_a_table_are_shown_as_they_are(capsys) -> None:
    print_table("films", ["file"], [["film [copy].png"], ["film [bold]x[/bold].png"]])
    shown = capsys.readouterr().out
    assert "film [copy].png" in shown
    assert "film [bold]x[/bold].png" in shown
