"""medclip-search: the images or sentences nearest to a text or an image, from an index that is built once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from labelers.errors import UserError
from medclip.cli.config import read_config
from medclip.cli.console import command, print_table, progress_bar, with_threads
from medclip.runs.settings import SearchConfig
from medclip.utils.logs import quieten

_EXAMPLES = """\
examples:
  medclip-search runs/mine --index films.safetensors --images nih=/data/CXR8 "large left pneumothorax"
  medclip-search runs/mine --index films.safetensors "enlarged heart" film.png --k 10
  medclip-search runs/mine --index films.safetensors "enlarged heart" --html found.html
  medclip-search runs/mine --index films.safetensors --compose film.png "without the effusion" "+ pacemaker"
  medclip-search runs/mine --index sentences.safetensors --texts openi=/data/openi film.dcm --format json

The first command builds the index, later ones ask it. A query that is a file is an image, any other a text. An index
of texts holds the sentences themselves: keep it where the reports are kept."""


def run(argv: list[str]) -> int:
    """Builds the index where it is not there yet, and answers."""
    config = read_config(
        SearchConfig, argv, prog="medclip-search", description="Find images or sentences by text or image.",
        examples=_EXAMPLES,
    )  # fmt: skip
    if not config.index:
        raise UserError("Which index? Name its file with --index; it is built there if it does not exist.")
    if config.images and config.texts:
        raise UserError(
            "An index holds images or sentences. Give --images or --texts, and another --index for the other."
        )
    if config.html and not config.queries:
        raise UserError("--html shows what is found. Say what to search for: texts, or files of films.")
    from medclip.inference.load import find_model

    find_model(config.model)
    if not (config.images or config.texts or Path(config.index).is_file()):  # before torch is imported
        raise FileNotFoundError(
            f"There is no index {config.index}. Say what it is to hold: --images SOURCES or --texts SOURCES."
        )
    from medclip.runs.search import search

    quieten()
    with progress_bar() as progress:
        index, answers, built = search(with_threads(config), progress=progress)
    if built:
        print(f"{config.index}: {len(index.names):,} embeddings")
    queries = [" ".join(config.queries)] if config.compose else config.queries
    if config.html:
        from medclip.runs.search_page import write_search_page

        write_search_page(Path(config.html), queries, answers, model=config.model, holds=index.holds)
        print(f"Page: {config.html}", file=sys.stderr)
    if config.format == "json":
        found = {
            query: [{"cosine": round(cosine, 4), "found": name} for name, cosine in answer]
            for query, answer in zip(queries, answers, strict=True)
        }
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    for query, answer in zip(queries, answers, strict=True):
        print_table(query, ["found", "cosine"], [[name, f"{cosine:.3f}"] for name, cosine in answer])
    return 0


main = command(run)
