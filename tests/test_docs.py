"""The API reference names everything that is public."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

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


def test_the_citation_file_has_what_its_format_requires() -> None:
    """The required keys of the Citation File Format 1.2.0, and those of persons, entities and references."""
    cited = yaml.safe_load((API.parents[1] / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= cited.keys()
    assert cited["type"] in ("software", "dataset")
    assert cited["version"] == medclip.__version__
    for work in (cited, *cited["references"]):
        assert {"title", "authors"} <= work.keys()
        assert all("name" in author or {"family-names", "given-names"} <= author.keys() for author in work["authors"])
    assert all("type" in reference and isinstance(reference["year"], int) for reference in cited["references"])
