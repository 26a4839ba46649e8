"""Loading what was saved: from a run or a folder, quietly, with a message that helps where it cannot be had."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.utils import logging

from labelers.hub import PATIENCE, hub_address, is_reached


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


def not_to_be_had(role: str, name: str, error: Exception, more: str = "") -> str:
    """Returns the message for a `role` called `name` that cannot be loaded: from its folder, or from the hub."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if Path(name).is_dir():
        return f"The folder {name} holds no {role} that can be loaded ({reason})."
    if _is_path(name):
        return f"There is no folder {name}. Name one that holds a {role}, or a hub id such as NAME/MODEL.{more}"
    fetch = f"'hf download {name} --local-dir FOLDER'"
    if is_reached():
        return (
            f"The {role} {name!r} is neither a folder here nor to be had from {hub_address()}. Check its name; what "
            f"asks for an agreement needs 'hf auth login'. Or run {fetch} elsewhere and give its path.{more} "
            f"({reason})"
        )
    return (
        f"The {role} {name!r} is neither a folder here nor was it fetched before, and {hub_address()} "
        f"{_why_not_reached()}. Without a network, run {fetch} where there is one, copy FOLDER here and give its "
        f"path.{more}"
    )


def _why_not_reached() -> str:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return "is not asked, as HF_HUB_OFFLINE says"
    return f"did not answer within {PATIENCE:g} seconds (HF_HUB_OFFLINE=1 spares the wait)"


def _is_path(name: str) -> bool:
    """Tells whether a name can only be meant as a path: a hub id is NAME or NAME/MODEL."""
    return name.startswith(("/", ".", "~")) or "\\" in name or name.count("/") > 1
