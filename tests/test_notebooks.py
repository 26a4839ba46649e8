"""The notebooks hold the cells of the scripts beside them, run from the first to the last, and are in the gallery."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from PIL import Image

pytestmark = pytest.mark.usefixtures("tiny_towers")
FOLDER = Path(__file__).parent.parent / "notebooks"
DOCS = FOLDER.parent / "docs"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_notebooks", FOLDER / "make.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE = load()


def test_every_notebook_is_made_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(MAKE.NAMES) == set(SHORTER)


@pytest.mark.parametrize("name", MAKE.NAMES)
def test_a_notebook_holds_its_cells_and_what_came_out(name: str) -> None:
    saved = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbformat.validate(saved)
    assert [cell["source"] for cell in saved.cells] == [cell["source"] for cell in MAKE.notebook(name).cells]
    assert any(cell.get("outputs") for cell in saved.cells)


@pytest.mark.parametrize("name", MAKE.NAMES)
def test_a_notebook_says_what_for_and_how_long_and_ends_with_exercises(name: str) -> None:
    (_, first), *_, (_, last) = MAKE.cells(name)
    assert first.startswith("# ") and "**Afterwards you can**" in first
    assert "**Time:**" in first and "minute" in first
    assert last.startswith("## Exercises\n\n1. ")


@pytest.mark.parametrize("name", MAKE.NAMES)
def test_the_gallery_shows_the_pictures_of_a_notebook(name: str) -> None:
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    saved = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    pictures = MAKE.gallery_pictures(saved)
    assert pictures and f"(../notebooks/{name}.ipynb)" in page
    for i, picture in enumerate(pictures, start=1):
        assert f"(gallery/{name}-{i}.png)" in page
        assert (DOCS / "gallery" / f"{name}-{i}.png").stat().st_size < 100_000
        assert Image.open(DOCS / "gallery" / f"{name}-{i}.png").size == Image.open(io.BytesIO(picture)).size


def test_the_last_tutorial_takes_the_model_of_the_first() -> None:
    first, last = (
        next(source for kind, source in MAKE.cells(name) if kind == "code")
        for name in ("zero_shot", "fine_tune_detect_search")
    )
    assert first == last


def test_cells_of_a_script(tmp_path, monkeypatch) -> None:
    script = "# %% [markdown]\n# # Title\n#\n# text\n\n# %%\n# %matplotlib inline\n1  # one\n\n# %% [gallery]\n2\n"
    (tmp_path / "one.py").write_text(script)
    monkeypatch.setattr(MAKE, "HERE", tmp_path)
    assert MAKE.cells("one") == [
        ("text", "# Title\n\ntext"),
        ("code", "%matplotlib inline\n1  # one"),
        ("gallery", "2"),
    ]


#: What makes a notebook short: the same cells with less data and fewer steps.
TUTORIAL = {
    '"studies": 2000': '"studies": 120', "steps=300": "steps=2", "evaluate_every=100": "evaluate_every=2",
    "projection_dim=128": "projection_dim=16", "resamples=200": "resamples=10",
}  # fmt: skip
SHORTER = {
    "zero_shot": {**TUTORIAL, "range(200)": "range(60)"},
    "labels": {"studies=2000": "studies=50"},
    "own_data": {
        "EXAMINATIONS = 900": "EXAMINATIONS = 90", "steps=400": "steps=2", "evaluate_every=100": "evaluate_every=2",
        "projection_dim=128": "projection_dim=16", "resamples=200": "resamples=10",
    },
    "curve": {
        "100,400,1500": "40,80", '"studies": 2000': '"studies": 120', "steps: 120": "steps: 2",
        "resamples=100": "resamples=10", "projection_dim: 64": "projection_dim: 16",
    },
    "fine_tune_detect_search": {
        **TUTORIAL, "shots=[1, 4, 16]": "shots=[1]", "shot_draws=5": "shot_draws=1",
        "shares=[0.05, 1.0]": "shares=[1.0]",
    },
}  # fmt: skip


def code_of(name: str) -> str:
    """Returns the code cells, made shorter, as one script."""
    script = "\n".join(source for kind, source in MAKE.cells(name) if kind != "text")
    for found, shorter in SHORTER[name].items():
        assert found in script, f"{name} no longer holds {found!r}"
        script = script.replace(found, shorter)
    return script.replace("%matplotlib inline", "")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in ("curve", "fine_tune_detect_search") else [])
        for name in MAKE.NAMES
    ],
)  # what these two call has tests of its own
def test_the_cells_of_a_notebook_run(name: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code_of(name), f"{name}.ipynb", "exec"), {"__name__": name})


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKE.NAMES)
def test_a_notebook_runs(name: str, tmp_path) -> None:
    made = MAKE.execute(MAKE.notebook(name), tmp_path)
    assert all(cell["execution_count"] for cell in made.cells if cell["cell_type"] == "code")
