"""The prepared folder: what it holds of each source, by which names, and how it was made.

Everything is named by its content, so preparing twice costs a look, a changed file is noticed, and an interrupted
preparation is resumed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medclip.data.source import Source
from medclip.data.splits import Declared, declared_splits, split_origins, split_table
from medclip.data.tables import assign_splits, observations_of
from medclip.utils.io import write_atomically


@dataclass(frozen=True)
class Prepared:
    """One side of one source, prepared.

    Attributes:
        name: The source.
        images: Image table with a column `_key` into the cache, or None.
        sentences: Sentence table, one row for each different sentence of each split, or None.
        occurrences: Which study says which sentence: study_id, patient_id, split, section, position, sentence
            (a row of `sentences`); or None.
        manifest: Record of how it was made.
        folder: Where it lies.
    """

    name: str
    images: pd.DataFrame | None = None
    sentences: pd.DataFrame | None = None
    occurrences: pd.DataFrame | None = None
    manifest: dict[str, Any] | None = None
    folder: Path | None = None

    def reports(self) -> pd.DataFrame:
        """Returns the whole reports, read from disk: study_id, patient_id, split, text, and their states."""
        assert self.folder is not None
        return pd.read_parquet(self.folder / "reports.parquet")


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


def with_splits(
    table: pd.DataFrame, source: Source, seed: int, declared: Mapping[str, Declared] | None
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Returns the table with qualified ids and a split in every row, and who chose each split."""
    table = qualified(table, source)
    known = (declared or {}).get(source.population or source.name) or declared_splits([table])
    table = assign_splits(table, seed=seed, declared=known)
    return table, split_origins(table, known)


def split_tables(made: Sequence[Prepared]) -> pd.DataFrame:
    """Returns a row for each source and split: rows, studies, patients, and whether the split is official."""
    counts = []
    for one in made:
        kind, table = ("images", one.images) if one.images is not None else ("sentences", one.occurrences)
        if table is not None:
            counts.append(split_table(one.name, kind, table, (one.manifest or {}).get("chosen", {})))
    return pd.concat(counts, ignore_index=True)


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


def qualified(table: pd.DataFrame, source: Source) -> pd.DataFrame:
    """Returns `table` with ids that are unlike those of any other population."""
    population = source.population or source.name
    ids = [name for name in ("image_id", "study_id", "patient_id") if name in table.columns]
    return table.assign(**{name: population + "/" + table[name].astype(str) for name in ids})


def manifest_of(source: Source, kind: str, table: pd.DataFrame, **settings: Any) -> dict[str, Any]:
    """Returns how a table was made: source, settings, counts, observations and a digest of its content."""
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
        "content": digest(
            pd.util.hash_pandas_object(table.drop(columns="path", errors="ignore"), index=False).to_numpy()
        ),
        "medclip": __version__,
    }


def save(folder: Path, manifest: dict[str, Any], **tables: pd.DataFrame) -> None:
    """Writes tables and their manifest, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_atomically(folder / f"{name}.parquet", table.to_parquet)
    # The manifest comes last: where it stands, everything before it is complete.
    text = json.dumps(manifest, indent=2, default=str)
    write_atomically(folder / "manifest.json", lambda path: path.write_text(text))


def digest(*parts: str | bytes | np.ndarray) -> str:
    """Returns a digest of texts, bytes and arrays."""
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
