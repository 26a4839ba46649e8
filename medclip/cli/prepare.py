"""medclip-prepare: caches images and labels sentences ahead of training."""

from __future__ import annotations

from pathlib import Path

from medclip.cli.console import command, print_table, progress_bar
from medclip.config import read_config
from medclip.settings import PrepareConfig
from medclip.sources import find_sources

_EXAMPLES = """\
examples:
  medclip-prepare --images nih=/data/CXR8 --texts openi=/data/openi --workers 8
  medclip-prepare --images mimic-cxr --data-root /shared/data --prepared /shared/prepared --engine ray
  medclip-prepare --images phantom --source-options '{phantom: {studies: 20000}}'

Training prepares what is missing by itself; run this to do it beforehand, or on another machine. A run that was
killed goes on where it was. Images that cannot be read are listed with their reason in rejected.csv."""


def run(argv: list[str]) -> int:
    """Prepares the named sources and prints what there is now."""
    config = read_config(
        PrepareConfig, argv, prog="medclip-prepare", description="Cache images and label sentences.", examples=_EXAMPLES
    )
    if not config.images and not config.texts:
        raise ValueError("Nothing to prepare. Name sources with --images or --texts; see medclip-prepare --help.")
    found = {
        side: find_sources(names, data_root=config.data_root, options=config.source_options)
        for side, names in (("images", config.images), ("texts", config.texts))
        if names
    }
    from medclip.data.prepare import declared_of, prepare_images, prepare_sentences

    folder, rows = Path(config.prepared), []
    declared = declared_of([source for side in found.values() for source in side])
    with progress_bar() as progress:
        for source in found.get("images", []):
            made = prepare_images(
                source, folder=folder, size=config.cache_size, split_seed=config.split_seed, workers=config.workers,
                engine=config.engine, strict=config.strict, dicom=config.dicom, progress=progress, declared=declared,
            )  # fmt: skip
            rows.append(made.manifest or {})
        for source in found.get("texts", []):
            made = prepare_sentences(
                source, folder=folder, split_seed=config.split_seed, workers=config.workers, engine=config.engine,
                progress=progress, declared=declared,
            )  # fmt: skip
            rows.append(made.manifest or {})
    print_table(
        f"Prepared in {folder}",
        ["source", "kind", "rows", "train", "valid", "test", "not usable"],
        [
            [m["source"], m["kind"], str(m["rows"]), *(str(m["splits"].get(s, 0)) for s in ("train", "valid", "test"))]
            + [str(m.get("rejected", m.get("without_text", 0)))]
            for m in rows
        ],
    )
    return 0


main = command(run)
