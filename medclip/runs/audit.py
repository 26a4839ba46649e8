"""Who was trained on whom: what `medclip-audit` calls, and a notebook."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from labelers.errors import UserError
from medclip.data.cache import ImageCache
from medclip.data.cache_formats import open_cache
from medclip.data.overlap import FINGERPRINTS, Side, is_of_files, listed, shared_images, side_of, side_of_run
from medclip.data.preparation import Preparation
from medclip.data.prepared import Prepared
from medclip.data.subsets import fingerprints as hidden
from medclip.inference.load import find_model
from medclip.runs.prepare import prepare_sources
from medclip.runs.settings import AuditConfig
from medclip.sources import find_sources
from medclip.utils.io import write_atomically
from medclip.utils.progress import Progress


@dataclass(frozen=True)
class Audit:
    """What two sides have in common.

    Attributes:
        table: A row for each pair of sides: images, patients, shared patients (by id) and shared images (by content).
        pairs: A row for each pair of images that are the same.
    """

    table: pd.DataFrame
    pairs: pd.DataFrame

    @property
    def is_clean(self) -> bool:
        """Whether nothing is shared."""
        return not (self.table[["shared patients", "shared images"]].to_numpy() != 0).any()


def audit(config: AuditConfig, *, progress: Progress | None = None) -> Audit:
    """Compares a run's training images, or sources, with other sources, by patients' ids and by images' content.

    Raises:
        UserError: A side is not named, or the run kept no fingerprints.
        FileNotFoundError: A run or a source is not where it was looked for.
    """
    if not config.what or not config.on:
        raise UserError(
            "What is compared with what? medclip-audit RUN --on SOURCE for a training run, medclip-audit SOURCE --on "
            "SOURCE for two data sets."
        )
    run = Path(config.what) if Path(config.what).is_dir() else None
    trained: dict[str, Any] = {}
    if run is not None:
        _, trained = find_model(run)
        settings = {name: trained[name] for name in ("cache_size", "dicom", "split_seed") if name in trained}
        options = config.options_over(trained)
        root = config.data_root or trained.get("data_root")
        config = replace(config, **settings, source_options=options, data_root=root)
    others = _prepared(config, config.on, progress)
    if run is not None:
        firsts = [_of_run(run, trained, config)]
    else:
        firsts = [_of_source(one, config, "all", progress) for one in _prepared(config, config.what, progress)]
    rows, pairs = [], []
    for first in firsts:
        for second in (_of_source(other, config, config.split, progress) for other in others):
            row, found = _compared(first, second, hide=run is not None, progress=progress)
            rows.append(row)
            pairs.append(found)
    made = Audit(pd.DataFrame(rows), pd.concat(pairs, ignore_index=True))
    if config.output:
        write_atomically(Path(config.output), lambda path: made.pairs.to_csv(path, index=False))
    return made


def _prepared(config: AuditConfig, names: str, progress: Progress | None) -> list[Prepared]:
    sources = find_sources(names, data_root=config.data_root, options=config.source_options)
    how = Preparation(
        Path(config.prepared), config.cache_size, config.split_seed, dicom=config.dicom, workers=config.workers,
        progress=progress,
    )  # fmt: skip
    return prepare_sources(sources, [], how)


def _cache(config: AuditConfig, folder: str) -> ImageCache:
    return open_cache(Path(folder), config.cache_size, dicom=config.dicom)


def _of_source(one: Prepared, config: AuditConfig, split: str, progress: Progress | None) -> Side:
    assert one.images is not None
    table = one.images if split == "all" else one.images[one.images["split"] == split].reset_index(drop=True)
    if not is_of_files(table):
        raise UserError(f"{one.name}: no image of split {split!r} is a file, so there is nothing to compare.")
    return side_of(one.name, table, _cache(config, config.prepared), progress)


def _of_run(run: Path, trained: dict[str, Any], config: AuditConfig) -> Side:
    saved = run / FINGERPRINTS
    if not saved.is_file():
        raise UserError(
            f"{run} holds no {FINGERPRINTS}: it was trained on drawn images only, or by an older version. Compare its "
            f"sources instead: medclip-audit {trained.get('images') or 'SOURCE'} --on {config.on}"
        )
    return side_of_run(run.name, saved, _cache(config, trained.get("prepared", config.prepared)))


def _compared(
    first: Side, second: Side, *, hide: bool, progress: Progress | None
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Returns a row of the table, and the pairs; with `hide`, patients of the first side are known by hidden ids."""
    theirs = set(second.fingerprints.patients)
    shared = set(first.fingerprints.patients) & (hidden(theirs) if hide else theirs)
    pairs = listed(first, second, shared_images(first, second, progress))
    row = {
        "first": first.name,
        "second": second.name,
        "images": len(second.keys),
        "patients": len(theirs),
        "shared patients": len(shared),
        "shared images": pairs["second"].nunique(),
        "their patients": pairs["second_patient"].nunique(),
    }
    return row, pairs
