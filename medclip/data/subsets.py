"""Parts of the training data: each within the next larger one, for curves, and without the patients of a test set."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import pandas as pd


def first_patients(tables: Sequence[pd.DataFrame], *, limit: int, seed: int) -> set[str]:
    """Returns patients of the train split who together have `limit` rows, or the last one a few more.

    Patients come in an order that hashing their ids with `seed` gives. So a smaller limit takes a subset of what a
    larger one takes, and sources of one population give the same patients.
    """
    counts = pd.concat([table.loc[table["split"] == "train", "patient_id"] for table in tables]).value_counts()
    hashes = {p: hashlib.blake2b(f"{seed}/{p}".encode(), digest_size=8).digest() for p in counts.index}
    order = sorted(counts.index, key=hashes.__getitem__)
    before = np.cumsum(counts[order].to_numpy()) - counts[order].to_numpy()
    return {patient for patient, rows in zip(order, before, strict=True) if rows < limit}


def label_share(table: pd.DataFrame, *, share: float, seed: int) -> pd.DataFrame:
    """Returns about a `share` of the rows of a table, by patient; smaller shares are parts of larger ones."""
    if share >= 1:
        return table
    kept = first_patients([table.assign(split="train")], limit=max(1, round(share * len(table))), seed=seed)
    return table[table["patient_id"].isin(kept)].reset_index(drop=True)


def limit_images(tables: Sequence[pd.DataFrame], *, limit: int, seed: int) -> list[pd.DataFrame]:
    """Returns image tables with about `limit` training images; other splits stay whole."""
    kept = first_patients(tables, limit=limit, seed=seed)
    return [table[(table["split"] != "train") | table["patient_id"].isin(kept)] for table in tables]


def limit_sentences(
    tables: Sequence[pd.DataFrame], occurrences: Sequence[pd.DataFrame], *, limit: int, seed: int
) -> tuple[list[pd.DataFrame], list[pd.DataFrame]]:
    """Returns sentence tables and occurrences of about `limit` training reports."""
    reports = [table.drop_duplicates("study_id") for table in occurrences]
    kept = first_patients(reports, limit=limit, seed=seed)
    return _said_in(tables, [said[(said["split"] != "train") | said["patient_id"].isin(kept)] for said in occurrences])


def without_patients(tables: Sequence[pd.DataFrame], patients: Collection[str]) -> list[pd.DataFrame]:
    """Returns image tables without the images of `patients`."""
    return [table[~table["patient_id"].isin(patients)] for table in tables]


def sentences_without_patients(
    tables: Sequence[pd.DataFrame], occurrences: Sequence[pd.DataFrame], patients: Collection[str]
) -> tuple[list[pd.DataFrame], list[pd.DataFrame]]:
    """Returns sentence tables and occurrences without the reports of `patients`."""
    return _said_in(tables, without_patients(occurrences, patients))


def _said_in(
    tables: Sequence[pd.DataFrame], occurrences: Sequence[pd.DataFrame]
) -> tuple[list[pd.DataFrame], list[pd.DataFrame]]:
    """Returns the tables with the sentences counted in `occurrences` only.

    Rows stay where they are, since occurrences point at them; those nobody says any more are in no split.
    """
    counted = []
    for table, said in zip(tables, occurrences, strict=True):
        count = said["sentence"].value_counts().reindex(np.arange(len(table)), fill_value=0).to_numpy()
        counted.append(table.assign(count=count, split=table["split"].where(count > 0, None)))
    return counted, list(occurrences)


def fingerprints(patients: Iterable[str]) -> set[str]:
    """Returns what a run keeps of its patients' ids, to recognise them in other data.

    Whoever knows the ids that are possible can find these out: a run's patients.txt is to be kept as ids are.
    """
    return {hashlib.blake2b(patient.encode(), digest_size=8).hexdigest() for patient in patients}
