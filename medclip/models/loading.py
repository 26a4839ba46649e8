"""Loading what was saved: from a run or a folder, quietly, with a message that helps where it cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.utils import logging


def of_run(name: str | Path) -> str:
    """Returns the model folder of a training run, any other name as it is."""
    folder = Path(name)
    inside = (folder / "model" / "config.json").is_file() and not (folder / "config.json").is_file()
    return str(folder / "model" if inside else name)


@contextmanager
def no_bar() -> Iterator[None]:
    """Keeps the bar away that counts weights as they are loaded."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
