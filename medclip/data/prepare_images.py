"""Image tables to cached pixels; images without labels get those of their reports."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from labelers.errors import UserError
from medclip.data.cache import PixelCache, file_key
from medclip.data.labelling import Labelling
from medclip.data.prepared import Prepared, manifest_of, qualified, save, with_splits
from medclip.data.source import Source
from medclip.data.splits import Declared
from medclip.data.tables import BLANK_IS_NEGATIVE, observations_of
from medclip.utils.io import write_atomically
from medclip.utils.progress import Progress, counting

logger = logging.getLogger(__name__)


def prepare_images(
    source: Source,
    *,
    folder: Path,
    size: int,
    split_seed: int,
    workers: int = 1,
    engine: str = "local",
    dicom: str = "voi",
    strict: bool = False,
    progress: Progress | None = None,
    declared: Mapping[str, Declared] | None = None,
    labelling: Labelling | None = None,
) -> Prepared:
    """Caches the images of `source` and returns its table without the ones that cannot be read.

    Images without labels of their own get those of their study's report, where the source has reports.

    Args:
        folder: the prepared folder; the cache is below it.
        size: side of the cached squares.
        dicom: how DICOM values become grey, see `medclip.data.images.read_image`.
        workers: processes.
        engine: what does the work, see `medclip.utils.parallel.run_jobs`.
        strict: whether an unreadable image is an error rather than a row of rejected.csv.
        progress: called with what is done.
        declared: what all sources of a run declare about splits, from `declared_of`; by default this table alone.
        labelling: how reports are labelled, for images without labels of their own.

    Raises:
        UserError: the source has no images, none can be read, or one cannot and `strict` is set.
    """
    table = source.images()
    if table is None or table.empty:
        raise UserError(f"Source {source.name!r} has no images here. It can serve as --texts only.")
    table, origins = with_splits(table, source, split_seed, declared)
    own = bool(observations_of(table))
    if not own:
        table = _labelled_by_report(table, source, labelling or Labelling())
    table[BLANK_IS_NEGATIVE] = own and source.blank_is_negative
    keys, rejected = _keys(table, source)
    cache = PixelCache(folder / "cache", size, dicom=dicom)
    report = counting(progress, f"{source.name}: caching images")
    paths = {key: path for key, path in zip(keys, table["path"], strict=True) if key is not None}
    missing = sum(key not in cache for key in paths)
    if missing:
        logger.info("%s: caching %d of %d images, %.1f GB", source.name, missing, len(table), missing * size**2 / 1e9)
    rejected |= cache.fill(paths, draw=source.draw, workers=workers, engine=engine, progress=report)
    table["_key"] = keys
    bad = [key is None or key in rejected for key in keys]
    reasons = [
        rejected.get(key if key is not None else path, "") for key, path in zip(keys, table["path"], strict=True)
    ]
    listing = table.loc[bad, ["image_id", "path"]].assign(reason=[r for r, b in zip(reasons, bad, strict=True) if b])
    if strict and any(bad):
        first = listing.iloc[0]
        raise UserError(
            f"{source.name}: {sum(bad)} images cannot be read; the first is {first['path']}: {first['reason']}."
        )
    if all(bad):
        raise UserError(
            f"{source.name}: none of its {len(table)} images can be read; the first: {listing['reason'].iloc[0]}."
        )
    table = table[~np.array(bad)].reset_index(drop=True)
    settings = {"size": size, "dicom": dicom, "split_seed": split_seed, "rejected": int(sum(bad)), "chosen": origins}
    manifest = manifest_of(source, "images", table, **settings)
    target = folder / f"{source.name}-images-{manifest['content'][:12]}"
    save(target, manifest, images=table)
    write_atomically(target / "rejected.csv", lambda path: listing.to_csv(path, index=False))
    if any(bad):
        logger.warning("%s: %d images cannot be read; see %s", source.name, sum(bad), target / "rejected.csv")
    return Prepared(source.name, images=table, manifest=manifest, folder=target)


def _keys(table: pd.DataFrame, source: Source) -> tuple[list[str | None], dict[str, str]]:
    """Returns the cache key of every image, None where there is no file, and the reason by path."""
    keys: list[str | None] = []
    missing: dict[str, str] = {}
    for path in table["path"]:
        try:
            keys.append(file_key(path, drawn=source.draw is not None))
        except OSError as error:
            keys.append(None)
            missing[path] = error.strerror or str(error)
    return keys, missing


def _labelled_by_report(table: pd.DataFrame, source: Source, labelling: Labelling) -> pd.DataFrame:
    texts = source.texts()
    if texts is None:
        raise UserError(
            f"Source {source.name!r} has neither labels nor reports for its images. Name the label columns with "
            "--source-options, or give a source that has them."
        )
    labeler = labelling.load()
    reports = qualified(texts, source).drop_duplicates("study_id").set_index("study_id")["text"]
    states = pd.DataFrame(labeler(reports.tolist()), index=reports.index, columns=list(labeler.observations))
    return table.join(states, on="study_id")
