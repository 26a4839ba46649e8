"""Image tables to cached pixels; images without labels get those of their reports."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pandas as pd

from labelers.errors import UserError
from labelers.languages import refuse_foreign
from medclip.data.cache import file_key
from medclip.data.cache_formats import open_cache
from medclip.data.labelling import Labelling
from medclip.data.preparation import Preparation
from medclip.data.prepared import Prepared, manifest_of, qualified, save, with_splits
from medclip.data.source import Source
from medclip.data.splits import Declared
from medclip.data.tables import BLANK_IS_NEGATIVE, observations_of
from medclip.utils.io import write_atomically
from medclip.utils.progress import counting

logger = logging.getLogger(__name__)


def prepare_images(source: Source, how: Preparation, declared: Mapping[str, Declared] | None = None) -> Prepared:
    """Caches the images of `source` and returns its table without the ones that cannot be read.

    Images without labels of their own get those of their study's report, where the source has reports.

    Args:
        source: A source that has images.
        how: Where and how they are prepared.
        declared: What all sources of a run declare about splits, from `declared_of`; by default this table alone.

    Raises:
        UserError: The source has no images, none can be read, or one cannot and `how.strict` is set.
    """
    table = source.images()
    if table is None or table.empty:
        raise UserError(f"Source {source.name!r} has no images here. It can serve as --texts only.")
    table, origins = with_splits(table, source, how.split_seed, declared)
    own = bool(observations_of(table))
    if not own and not (how.unlabelled and source.texts() is None):
        table = _labelled_by_report(table, source, how.labelling)
    table[BLANK_IS_NEGATIVE] = own and source.blank_is_negative
    table["_key"], reasons = _cached(table, source, how)
    bad = reasons.notna()
    rejected = table.loc[bad, ["image_id", "path"]].assign(reason=reasons[bad])
    _check_rejected(source.name, rejected, len(table), how.strict)
    table = table[~bad].reset_index(drop=True)
    settings = {"size": how.size, "dicom": how.dicom, "split_seed": how.split_seed, "rejected": len(rejected)}
    manifest = manifest_of(source, "images", table, **settings, chosen=origins)
    target = how.folder / f"{source.name}-images-{manifest['content'][:12]}"
    save(target, manifest, images=table)
    write_atomically(target / "rejected.csv", lambda path: rejected.to_csv(path, index=False))
    if len(rejected):
        logger.warning("%s: %d images cannot be read; see %s", source.name, len(rejected), target / "rejected.csv")
    return Prepared(source.name, images=table, manifest=manifest, folder=target)


def _cached(table: pd.DataFrame, source: Source, how: Preparation) -> tuple[pd.Series, pd.Series]:
    """Caches the images of a table; returns their keys, and why one cannot be read, None where it can."""
    keys, missing = _keys(table, source)
    cache = open_cache(how.folder, how.size, dicom=how.dicom, kind=how.cache_format, url=how.cache_url)
    if how.check:
        cache.forget_damaged(progress=counting(how.progress, f"{source.name}: checking the cache"))
    paths = {key: path for key, path in zip(keys, table["path"], strict=True) if key is not None}
    absent = len(paths) - int(cache.contains(list(paths)).sum())
    if absent:
        size = absent * how.size**2 / 1e9
        logger.info("%s: caching %d of %d images, %.1f GB", source.name, absent, len(table), size)
    report = counting(how.progress, f"{source.name}: caching images")
    rejected = cache.fill(paths, draw=source.draw, workers=how.workers, engine=how.engine, progress=report)
    reasons = [
        missing[path] if key is None else rejected.get(key) for key, path in zip(keys, table["path"], strict=True)
    ]
    return pd.Series(keys, index=table.index, dtype=object), pd.Series(reasons, index=table.index, dtype=object)


def _check_rejected(name: str, rejected: pd.DataFrame, images: int, strict: bool) -> None:
    """Refuses a source none of whose images can be read, or in strict mode one of them.

    Raises:
        UserError: It is refused.
    """
    if rejected.empty or not (strict or len(rejected) == images):
        return
    first = rejected.iloc[0]
    found = f"none of its {images} images can" if len(rejected) == images else f"{len(rejected)} images cannot"
    raise UserError(f"{name}: {found} be read; the first is {first['path']}: {first['reason']}.")


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
            f"Source {source.name!r} has neither labels nor reports for its images. Name the column of reports with "
            "--columns text=COLUMN or those of labels with --source-options, or give a source that has them."
        )
    labeler = labelling.load()
    logger.info("%s: images have no labels of their own; they get those of their reports", source.name)
    different = qualified(texts, source).drop_duplicates(["study_id", "text"])
    reports = different.groupby("study_id", sort=False)["text"].agg("\n\n".join)
    if len(reports) < len(different):
        several = int((different["study_id"].value_counts() > 1).sum())
        logger.warning("%s: %d studies have several reports; their images get the labels of all of them together",
                       source.name, several)  # fmt: skip
    refuse_foreign(reports.tolist(), labeler, origin=source.name)
    states = pd.DataFrame(labeler(reports.tolist()), index=reports.index, columns=list(labeler.observations))
    labelled = table.join(states, on="study_id")
    if labelled[list(labeler.observations)].isna().to_numpy().all():
        raise UserError(
            f"{source.name}: none of its {len(table)} images gets a label. They have no labels of their own, and their "
            f"reports (of {int(table['study_id'].isin(reports.index).sum())} images) say nothing that the labeler "
            f"{labeler.name} knows. Name the label columns with --source-options, or another --vocabulary."
        )
    return labelled
