"""Writes a page for each data set, from the class that reads it."""

from __future__ import annotations

import inspect
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from medclip.data.source import Source
from medclip.utils.plugins import load_plugin, plugin_names

_GIVES = {"images": "images", "texts": "reports", "boxes": "boxes"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the pages to the navigation."""
    section = next(entry["Data sets"] for entry in config.nav or () if "Data sets" in entry)
    section += [{name: f"datasets/{name}.md"} for name in plugin_names("sources")]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages themselves."""
    for name in plugin_names("sources"):
        files.append(File.generated(config, f"datasets/{name}.md", content=page(load_plugin("sources", name))))
    return files


def page(source: type[Source]) -> str:
    """Returns the page of a source in Markdown."""
    title = (inspect.getmodule(source).__doc__ or "").strip().splitlines()[0]  # type: ignore[union-attr]
    gives = ", ".join(word for what, word in _GIVES.items() if source.gives(what))
    side = "--images" if source.gives("images") else "--texts"
    rows = {
        "Gives": gives,
        "Folders below the data root": ", ".join(f"`{folder}`" for folder in source.folders) or "nowhere: name a path",
        "Expected inside": source.layout,
        "Obtain it from": source.obtain,
        "A blank label means": "negative, unless `--blank` is set" if source.blank_is_negative else "unknown",
        "Holds images of": ", ".join(f"[{name}]({name}.md)" for name in source.holds_images_of),
    }  # fmt: skip
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items() if value)
    options = ", ".join(f"`{name}`" for name in _options(source))
    if options:
        options = f"Options, with `--source-options '{{{source.name}: {{OPTION: VALUE}}}}'`: {options}.\n\n"
    return (
        f"# {source.name}\n\n{title}\n\n| At a glance | |\n| --- | --- |\n{table}\n\n"
        f"    medclip-prepare {side} {source.name}=PATH\n\n"
        f"{options}"
        f"::: {source.__module__}.{source.__qualname__}\n"
        "    options:\n      members: false\n      show_root_heading: false\n      show_root_toc_entry: false\n"
        "      show_signature: false\n"
    )


def _options(source: type[Source]) -> list[str]:
    parameters: dict[str, Any] = dict(inspect.signature(source).parameters)
    return [name for name in parameters if name != "root"]
