"""Source tables to a prepared folder: cached pixels, labelled sentences, and a note of how they were made.

Everything is named by its content, so preparing twice costs a look, a changed file is noticed, and a killed run
goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import labelers
from labelers.errors import UserError
from labelers.rules import RuleLabeler
from medclip.data.cache import PixelCache, file_key
from medclip.data.source import Source
from medclip.data.splits import Declared, declared_splits, split_origins
from medclip.data.tables import assign_splits, observations_of
from medclip.utils.io import write_atomically
from medclip.utils.parallel import run_jobs
from medclip.utils.progress import Progress, counting

logger = logging.getLogger(__name__)

_TEXT_CHUNK = 2000


@dataclass(frozen=True)
class Prepared:
    """What `prepare` made of one side of one source.

    Attributes:
        name: the source.
        images: image table with a column `_key` into the cache, or None.
        sentences: sentence table, one row for each different sentence of each split, or None.
        occurrences: which study says which sentence: study_id, patient_id, split, section, position, sentence
            (a row of `sentences`); or None.
        manifest: how it was made.
    """

    name: str
    images: pd.DataFrame | None = None
    sentences: pd.DataFrame | None = None
    occurrences: pd.DataFrame | None = None
    manifest: dict[str, Any] | None = None


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

    Raises:
        UserError: the source has no images, none can be read, or one cannot and `strict` is set.
    """
    table = source.images()
    if table is None or table.empty:
        raise UserError(f"Source {source.name!r} has no images here. It can serve as --texts only.")
    table, origins = _with_splits(table, source, split_seed, declared)
    if not observations_of(table):
        table = _labelled_by_report(table, source)
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
    manifest = _manifest(source, "images", table, **settings)
    target = folder / f"{source.name}-images-{manifest['content'][:12]}"
    _save(target, manifest, images=table)
    write_atomically(target / "rejected.csv", lambda path: listing.to_csv(path, index=False))
    if any(bad):
        logger.warning("%s: %d images cannot be read; see %s", source.name, sum(bad), target / "rejected.csv")
    return Prepared(source.name, images=table, manifest=manifest)


def prepare_sentences(
    source: Source,
    *,
    folder: Path,
    split_seed: int,
    vocabulary: str = "chexpert14",
    workers: int = 1,
    engine: str = "local",
    progress: Progress | None = None,
    declared: Mapping[str, Declared] | None = None,
) -> Prepared:
    """Cuts the texts of `source` into sentences, labels each on its own, and returns them without repetitions.

    Raises:
        UserError: the source has no texts, or none of them holds a sentence.
    """
    texts = source.texts()
    if texts is None or texts.empty:
        raise UserError(f"Source {source.name!r} has no texts here. It can serve as --images only.")
    texts, origins = _with_splits(texts, source, split_seed, declared)
    content = _digest(pd.util.hash_pandas_object(texts, index=False).to_numpy(), vocabulary, lexicon_digest())
    target = folder / f"{source.name}-sentences-{content[:12]}"
    if (target / "manifest.json").is_file():
        manifest = json.loads((target / "manifest.json").read_text())
        saved = {name: pd.read_parquet(target / f"{name}.parquet") for name in ("sentences", "occurrences")}
        return Prepared(source.name, manifest=manifest, **saved)
    labeler = RuleLabeler(vocabulary)
    occurrences = _occurrences(texts, vocabulary, workers, engine, source.name, progress)
    if occurrences.empty:
        raise UserError(f"{source.name}: none of its {len(texts)} texts holds a sentence that can be labelled.")
    grouped = occurrences.groupby(["split", "text"], sort=True)
    sentences = grouped.size().rename("count").reset_index()
    states = labeler.label_sentences(sentences["text"].tolist())
    sentences = pd.concat([sentences, pd.DataFrame(states, columns=list(labeler.observations))], axis=1)
    occurrences = occurrences.assign(sentence=grouped.ngroup().to_numpy()).drop(columns="text")
    silent = len(texts) - occurrences["study_id"].nunique()
    manifest = _manifest(
        source,
        "sentences",
        sentences,
        split_seed=split_seed,
        chosen=origins,
        labeler=labeler.name,
        texts=len(texts),
        without_text=silent,
    ) | {"content": content, "occurrences": len(occurrences), "names_a_side": _share_naming_side(sentences["text"])}
    _save(target, manifest, sentences=sentences, occurrences=occurrences)
    if silent:
        logger.warning(
            "%s: %d of %d texts have no findings or impression and are not used", source.name, silent, len(texts)
        )
    return Prepared(source.name, sentences=sentences, occurrences=occurrences, manifest=manifest)


def declared_of(sources: Sequence[Source]) -> dict[str, Declared]:
    """Returns, by population, what the sources of a run declare about splits between them.

    A population of which a run reads one side only is left out: that side says it itself.
    """
    groups: dict[str, list[Source]] = {}
    for source in sources:
        groups.setdefault(source.population or source.name, []).append(source)
    return {
        population: declared_splits(qualified(source.splits(), source) for source in group)
        for population, group in groups.items()
        if len(group) > 1
    }


def _with_splits(
    table: pd.DataFrame, source: Source, seed: int, declared: Mapping[str, Declared] | None
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Returns the table with qualified ids and a split in every row, and who chose each split."""
    table = qualified(table, source)
    known = (declared or {}).get(source.population or source.name) or declared_splits([table])
    table = assign_splits(table, seed=seed, declared=known)
    return table, split_origins(table, known)


def patients_of(source: Source) -> set[str]:
    """Returns the ids of the patients whose images `source` has, as prepared tables spell them."""
    table = source.images()
    return set() if table is None else set(qualified(table, source)["patient_id"])


def together(sides: Sequence[Prepared]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the sentences and the occurrences of several text sources, each as one table."""
    sentences, occurrences, offset = [], [], 0
    for side in sides:
        assert side.sentences is not None and side.occurrences is not None
        sentences.append(side.sentences)
        occurrences.append(side.occurrences.assign(sentence=side.occurrences["sentence"] + offset))
        offset += len(side.sentences)
    return pd.concat(sentences, ignore_index=True), pd.concat(occurrences, ignore_index=True)


def lexicon_digest() -> str:
    """Returns a digest of the labeler's rules and data: other labels, other name."""
    root = Path(labelers.__file__).parent
    files = sorted(path for path in root.rglob("*") if path.suffix in (".py", ".txt", ".yaml"))
    return _digest(*(path.read_bytes() for path in files))


def qualified(table: pd.DataFrame, source: Source) -> pd.DataFrame:
    """Returns `table` with ids that are unlike those of any other population."""
    population = source.population or source.name
    ids = [name for name in ("image_id", "study_id", "patient_id") if name in table.columns]
    return table.assign(**{name: population + "/" + table[name].astype(str) for name in ids})


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


def _labelled_by_report(table: pd.DataFrame, source: Source) -> pd.DataFrame:
    texts = source.texts()
    if texts is None:
        raise UserError(
            f"Source {source.name!r} has neither labels nor reports for its images. Name the label columns with "
            "--source-options, or give a source that has them."
        )
    labeler = RuleLabeler()
    reports = qualified(texts, source).drop_duplicates("study_id").set_index("study_id")["text"]
    states = pd.DataFrame(labeler(reports.tolist()), index=reports.index, columns=list(labeler.observations))
    return table.join(states, on="study_id")


def _occurrences(
    texts: pd.DataFrame, vocabulary: str, workers: int, engine: str, name: str, progress: Progress | None
) -> pd.DataFrame:
    """Returns a row for each sentence of each text."""
    everything = texts["text"].tolist()
    chunks = [everything[i : i + _TEXT_CHUNK] for i in range(0, len(everything), _TEXT_CHUNK)]
    rows: list[tuple[int, str, int, str]] = []
    cut = partial(_cut, vocabulary=vocabulary)
    for i, found in enumerate(run_jobs(cut, [(chunk,) for chunk in chunks], workers=workers, engine=engine)):
        rows += [(i * _TEXT_CHUNK + row, section, position, text) for row, section, position, text in found]
        if progress is not None:
            progress(f"{name}: reading sentences", min((i + 1) * _TEXT_CHUNK, len(everything)), len(everything))
    table = pd.DataFrame(rows, columns=["row", "section", "position", "text"])
    ids = texts[["study_id", "patient_id", "split"]].iloc[table["row"]].reset_index(drop=True)
    return pd.concat([ids, table.drop(columns="row")], axis=1)


def _cut(texts: Sequence[str], *, vocabulary: str) -> list[tuple[int, str, int, str]]:
    labeler = RuleLabeler(vocabulary)
    return [
        (row, section, position, " ".join(text[start:end].split()))
        for row, text in enumerate(texts)
        for position, (section, (start, end)) in enumerate(labeler.sentences(text))
    ]


def _share_naming_side(sentences: pd.Series) -> float:
    return float(sentences.str.contains(r"\b(?:left|right)\b", case=False).mean())


def _manifest(source: Source, kind: str, table: pd.DataFrame, **settings: Any) -> dict[str, Any]:
    from medclip import __version__

    options = {
        name: value for name, value in vars(source).items() if isinstance(value, (str, int, float, bool, list, dict))
    }
    return {
        "source": source.name,
        "kind": kind,
        "root": str(source.root),
        "options": options,
        **settings,
        "rows": len(table),
        "splits": {str(k): int(v) for k, v in table["split"].value_counts().items()},
        "observations": observations_of(table),
        "content": _digest(
            pd.util.hash_pandas_object(table.drop(columns="path", errors="ignore"), index=False).to_numpy()
        ),
        "medclip": __version__,
    }


def _save(folder: Path, manifest: dict[str, Any], **tables: pd.DataFrame) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_atomically(folder / f"{name}.parquet", table.to_parquet)
    # The manifest comes last: where it stands, everything before it is complete.
    text = json.dumps(manifest, indent=2, default=str)
    write_atomically(folder / "manifest.json", lambda path: path.write_text(text))


def _digest(*parts: str | bytes | np.ndarray) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(
            part.encode()
            if isinstance(part, str)
            else np.ascontiguousarray(part).data
            if isinstance(part, np.ndarray)
            else part
        )
        digest.update(b"\0")
    return digest.hexdigest()
