"""The notebooks hold the cells of notebooks/make.py, and run from the first to the last."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

pytestmark = pytest.mark.usefixtures("tiny_towers")
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


#: What makes a notebook short: the same cells with less data and fewer steps.
SHORTER = {
    "zero_shot": {
        '"studies": 1500': '"studies": 60', "steps=240": "steps=2", "evaluate_every=120": "evaluate_every=2",
        "projection_dim=128": "projection_dim=16",
    },
    "labels": {"studies=2000": "studies=50"},
    "curve": {
        "100,400": "40,80", "seeds=2": "seeds=1", '"studies": 500': '"studies": 120', "steps: 40": "steps: 2",
        "evaluate_every: 20": "evaluate_every: 2", "projection_dim: 64": "projection_dim: 16",
    },
}  # fmt: skip


def code_of(name: str) -> str:
    """Returns the code cells, made shorter, as one script."""
    script = "\n".join(cell for cell in MAKE.CELLS[name] if not MAKE.is_text(cell))
    for found, shorter in SHORTER[name].items():
        assert found in script, f"{name} no longer holds {found!r}"
        script = script.replace(found, shorter)
    return script.replace("%matplotlib inline", "")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "curve" else []) for name in MAKE.CELLS]
)  # the curve has tests of its own
def test_the_cells_of_a_notebook_run(name: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code_of(name), f"{name}.ipynb", "exec"), {"__name__": name})


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKE.CELLS)
def test_a_notebook_runs(name: str, tmp_path) -> None:
    made = MAKE.execute(MAKE.notebook(name), tmp_path)
    assert all(cell["execution_count"] for cell in made.cells if cell["cell_type"] == "code")
