from __future__ import annotations

import sys

import pytest

from labelers.errors import UserError
from medclip.cli.console import command


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
