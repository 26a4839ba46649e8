"""The notebooks hold the cells of notebooks/make.py, and run from the first to the last."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_notebooks", FOLDER / "make.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE = load()


def test_every_notebook_is_made_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(MAKE.CELLS)


@pytest.mark.parametrize("name", MAKE.CELLS)
def test_a_notebook_holds_its_cells_and_what_came_out(name: str) -> None:
    saved = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbformat.validate(saved)
    assert [cell["source"] for cell in saved.cells] == [cell["source"] for cell in MAKE.notebook(name).cells]
    assert any(cell.get("outputs") for cell in saved.cells)


@pytest.mark.parametrize("name", MAKE.CELLS)
def test_a_notebook_runs(name: str, tmp_path) -> None:
    made = MAKE.execute(MAKE.notebook(name), tmp_path)
    assert all(cell["execution_count"] for cell in made.cells if cell["cell_type"] == "code")
