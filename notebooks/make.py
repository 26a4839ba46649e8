"""Writes the notebooks from the scripts beside it, runs them, and keeps pictures for the gallery.

    python notebooks/make.py [--folder FOLDER] [NAME ...]

In a script a line that begins with "# %%" begins a cell: "# %% [markdown]" one of text, whose lines are comments, and
"# %% [gallery]" one whose picture docs/gallery.md shows. Magic commands stand as comments ("# %matplotlib inline").
Notebooks run in a folder of their own, or in --folder, where what they trained stays and is not trained again. A test
checks that the notebooks hold these cells, and that they run. Write in the scripts, not in the notebooks.
"""

from __future__ import annotations

import argparse
import base64
import io
import re
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent
GALLERY = HERE.parent / "docs" / "gallery"
NAMES = sorted(path.stem for path in HERE.glob("*.py") if path != Path(__file__))
#: Largest width of a picture of the gallery, in pixels.
WIDTH = 640


def cells(name: str) -> list[tuple[str, str]]:
    """Returns kind ("text", "code" or "gallery") and source of each cell of a script."""
    parts = re.split(r"^# %%(.*)\n", (HERE / f"{name}.py").read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = []
    for header, body in zip(parts[1::2], parts[2::2], strict=True):
        if "[markdown]" in header:
            found.append(("text", re.sub(r"^# ?", "", body.strip(), flags=re.MULTILINE)))
        else:
            code = re.sub(r"^# (%\w)", r"\1", body.strip(), flags=re.MULTILINE)
            found.append(("gallery" if "[gallery]" in header else "code", code))
    return found


def notebook(name: str) -> nbformat.NotebookNode:
    """Returns a notebook without outputs."""
    made = nbformat.v4.new_notebook()
    for i, (kind, source) in enumerate(cells(name)):
        new = nbformat.v4.new_markdown_cell if kind == "text" else nbformat.v4.new_code_cell
        made.cells.append(new(source, metadata={"tags": ["gallery"]} if kind == "gallery" else {}))
        made.cells[-1]["id"] = f"{name}-{i}"
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return made


def execute(made: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """Runs a notebook in `folder`; raises where a cell does."""
    resources: dict[str, Any] = {"metadata": {"path": str(folder)}}
    return NotebookClient(made, timeout=3600, kernel_name="python3", resources=resources).execute()


def gallery_pictures(made: nbformat.NotebookNode) -> list[bytes]:
    """Returns the pictures of the cells that are meant for the gallery, small, as contents of PNG files."""
    shown = [cell for cell in made.cells if "gallery" in cell.metadata.get("tags", ())]
    found = [
        out["data"]["image/png"] for cell in shown for out in cell["outputs"] if "image/png" in out.get("data", {})
    ]
    return [_small(base64.b64decode(picture)) for picture in found]


def _small(picture: bytes) -> bytes:
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
    with io.BytesIO() as file:
        image.quantize(48, dither=Image.Dither.NONE).save(file, format="PNG", optimize=True)
        return file.getvalue()


def _is_noise(output: dict[str, Any]) -> bool:
    """Tells whether an output is a log or a bar of progress."""
    is_picture = "image/png" in output.get("data", {})
    return output.get("name") == "stderr" or (output["output_type"] == "display_data" and not is_picture)


def _write(name: str, folder: Path) -> None:
    """Runs a notebook and writes it and its pictures."""
    made = execute(notebook(name), folder)
    for cell in made.cells:
        cell.metadata.pop("execution", None)
        if cell["cell_type"] == "code":
            cell["outputs"] = [out for out in cell["outputs"] if not _is_noise(out)]
            for out in cell["outputs"]:
                out.get("data", {}).pop("image/jpeg", None)  # beside the PNG of the same picture
    made.metadata["language_info"] = {"name": "python"}
    nbformat.write(made, HERE / f"{name}.ipynb")
    GALLERY.mkdir(exist_ok=True)
    for i, picture in enumerate(gallery_pictures(made), start=1):
        (GALLERY / f"{name}-{i}.png").write_bytes(picture)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write and run the notebooks.")
    parser.add_argument("names", nargs="*", default=NAMES, help="Notebooks. By default all.")
    parser.add_argument("--folder", type=Path, help="Folder to run them in, which is kept.")
    asked = parser.parse_args()
    for name in asked.names:
        with tempfile.TemporaryDirectory() as fresh:
            if asked.folder:
                asked.folder.mkdir(parents=True, exist_ok=True)
            _write(name, asked.folder or Path(fresh))


if __name__ == "__main__":
    main()
