"""Sources: where images, texts and boxes come from. One file each, reading what its owners ship, untouched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from labelers.errors import UserError
from medclip.data.source import Source
from medclip.utils.plugins import check_options, load_plugin, plugin_names


def find_sources(names: str, *, data_root: str | None, options: dict[str, Any]) -> list[Source]:
    """Returns the sources that `names` ("chexpert,nih=/data/CXR8") stand for, each found on disk.

    Options are by the name of a source, or by NAME=PATH for one of several of that name.

    Raises:
        UserError: A name or an option is unknown.
        FileNotFoundError: A source is not where it was looked for.
    """
    root = data_root or os.environ.get("MEDCLIP_DATA")
    specs = [spec.strip().partition("=") for spec in names.split(",") if spec.strip()]
    if not specs:
        raise UserError("No source was named. Write NAME or NAME=PATH, for instance phantom or nih=/data/CXR8.")
    for key in options:
        load_plugin("sources", key.partition("=")[0])
    sources = []
    for name, _, path in specs:
        if not path and name.replace("_", "-") not in plugin_names("sources") and Path(name).exists():
            like = "folder" if Path(name).is_dir() else "csv"
            raise UserError(f"{name!r} is a path and not the name of a source. Write {like}={name}, or SOURCE={name}.")
        kind = load_plugin("sources", name)
        chosen = {**(options.get(name) or {}), **(options.get(f"{name}={path}") or {})}
        check_options("source", name, kind, chosen)
        sources.append(kind(kind.locate(path or None, Path(root) if root else None), **chosen))
    return sources
