"""The API reference names everything that is public."""

from __future__ import annotations

from pathlib import Path

import pytest

import labelers
import medclip
from medclip.utils.plugins import load_plugin, plugin_names

API = Path(__file__).parent.parent / "docs" / "api"


def documented(page: str) -> set[str]:
    lines = (API / f"{page}.md").read_text(encoding="utf-8").splitlines()
    return {line.rsplit(".", 1)[-1] for line in lines if line.startswith("::: ")}


def test_public_names_are_documented() -> None:
    assert set(medclip.__all__) - {"__version__"} <= documented("medclip")
    assert {name for name in labelers.__all__ if not name.isupper() and name != "CHEXPERT14"} <= documented("labelers")


@pytest.mark.parametrize("room", ["objectives", "evaluators"])
def test_plugins_are_documented(room: str) -> None:
    package = "evaluation.evaluators" if room == "evaluators" else room
    assert {load_plugin(package, name).__name__ for name in plugin_names(package)} <= documented(room)
