"""Which images two data sets, or a data set and a training run, have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from medclip.data.cache import ImageCache
from medclip.data.fingerprints import Fingerprints, Match, matches
from medclip.data.subsets import fingerprints as hidden
from medclip.utils.io import write_atomically
from medclip.utils.progress import Progress, counting

#: What a run keeps of the images and of the patients it was trained on.
FINGERPRINTS = "images.safetensors"
PATIENTS = "patients.txt"


@dataclass(frozen=True)
class Side:
    """Images to compare.

    Attributes:
        name: What they are called.
        fingerprints: Their fingerprints.
        keys: Their cache keys.
        cache: Where their pixels are.
    """

    name: str
    fingerprints: Fingerprints
    keys: np.ndarray
    cache: ImageCache

    def pixels(self, row: int) -> np.ndarray:
        """Returns an image."""
        return self.cache.get([self.keys[row]])[0]


def is_of_files(table: pd.DataFrame) -> bool:
    """Tells whether the images of a prepared table are files; what a program draws has no copies elsewhere."""
    return len(table) > 0 and Path(table["path"].iloc[0]).is_file()


def side_of(name: str, table: pd.DataFrame, cache: ImageCache, progress: Progress | None = None) -> Side:
    """Returns the images of a prepared table, with their fingerprints."""
    keys = table["_key"].to_numpy(dtype=object)
    vectors = cache.fingerprints(keys.tolist(), progress=counting(progress, f"fingerprints: {name}"))
    ids, patients = (table[column].to_numpy(dtype=object) for column in ("image_id", "patient_id"))
    return Side(name, Fingerprints(ids, patients, vectors), keys, cache)


def side_of_run(name: str, saved: Path, cache: ImageCache) -> Side:
    """Returns the images that a run was trained on, from the file it left; see `keep`."""
    prints = Fingerprints.load(saved)
    return Side(name, prints, prints.ids, cache)


def keep(
    tables: Sequence[pd.DataFrame],
    cache: ImageCache,
    folder: Path,
    *,
    patients: set[str],
    before: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Writes what a run keeps of what it was trained on: patients' hidden ids, and fingerprints and keys of images.

    Args:
        tables: Prepared image tables.
        cache: Holds their pixels.
        folder: Where it is kept.
        patients: Ids of the patients.
        before: Folder of a tower that the run started from, and that keeps the same of its own training.
        progress: Called while fingerprints are taken.
    """
    ids, seen = hidden(patients), []
    if before is not None and (before / PATIENTS).is_file():
        ids |= set((before / PATIENTS).read_text().split())
    if before is not None and (before / FINGERPRINTS).is_file():
        seen.append(Fingerprints.load(before / FINGERPRINTS))
    write_atomically(folder / PATIENTS, lambda path: path.write_text("\n".join(sorted(ids))))
    files = [table[table["split"] == "train"] for table in tables if is_of_files(table)]
    if files:
        side = side_of("training images", pd.concat(files, ignore_index=True), cache, progress)
        own = np.array([next(iter(hidden([patient]))) for patient in side.fingerprints.patients], dtype=object)
        seen.insert(0, Fingerprints(side.keys, own, side.fingerprints.vectors))
    if not seen:
        (folder / FINGERPRINTS).unlink(missing_ok=True)
        return
    parts = (np.concatenate([getattr(one, name) for one in seen]) for name in ("ids", "patients", "vectors"))
    Fingerprints(*parts).save(folder / FINGERPRINTS)


def shared_images(first: Side, second: Side, progress: Progress | None = None) -> list[Match]:
    """Returns the pairs of images that are the same; details decide where the pixels of both sides are at hand."""
    at_hand = all(side.cache.contains(side.keys).all() for side in (first, second))
    return matches(
        first.fingerprints, second.fingerprints, pixels=(first.pixels, second.pixels) if at_hand else None,
        progress=counting(progress, f"comparing {first.name} and {second.name}"),
    )  # fmt: skip


def listed(first: Side, second: Side, found: list[Match]) -> pd.DataFrame:
    """Returns a row for each pair of images that are the same."""
    columns: Mapping[str, list[object]] = {
        "first": [first.fingerprints.ids[match.first] for match in found],
        "first_patient": [first.fingerprints.patients[match.first] for match in found],
        "second": [second.fingerprints.ids[match.second] for match in found],
        "second_patient": [second.fingerprints.patients[match.second] for match in found],
        "cosine": [round(match.cosine, 4) for match in found],
        "details": [round(match.correlation, 4) for match in found],
    }
    return pd.DataFrame(columns)
