"""The tables that sources give and everything else reads: their columns, their checks, splits, label matrices.

A table is a pandas frame, checked once on entry and not changed afterwards. Columns outside the schema are
observations with states 1 (positive), 0 (negative), -1 (uncertain) or NaN (unmentioned).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from labelers.observations import check_states

SPLITS = ("train", "valid", "test")
#: Required columns of an image table, then those it may have.
IMAGE_COLUMNS = ("image_id", "study_id", "patient_id", "path")
IMAGE_EXTRAS = ("view", "split", "age", "sex")
TEXT_COLUMNS = ("study_id", "patient_id", "text")
TEXT_EXTRAS = ("split",)
#: A sentence table is a text table of sentences; `count` says how many texts hold the sentence.
SENTENCE_EXTRAS = ("split", "section", "position", "count")
BOX_COLUMNS = ("image_id", "observation", "x", "y", "width", "height")
_RESERVED = set(IMAGE_COLUMNS + IMAGE_EXTRAS + TEXT_COLUMNS + SENTENCE_EXTRAS)


def check_images(table: pd.DataFrame, *, origin: str) -> pd.DataFrame:
    """Returns `table` as a checked image table: required columns filled, ids as text, optional columns added.

    Raises:
        ValueError: a column is missing, an id is blank or repeated, a state or a split is unknown. `origin` is named.
    """
    table = _check_ids(table, IMAGE_COLUMNS, IMAGE_EXTRAS, origin)
    repeated = table["image_id"].duplicated()
    if repeated.any():
        raise ValueError(
            f"{origin}: {int(repeated.sum())} image ids occur twice, the first in row {int(np.argmax(repeated))}. "
            "Every image needs its own id."
        )
    table["age"] = pd.to_numeric(table["age"], errors="coerce").astype("float32")
    return _check_observations(table, origin)


def check_texts(table: pd.DataFrame, *, origin: str) -> pd.DataFrame:
    """Returns `table` as a checked text table; texts that are missing become "".

    Raises:
        ValueError: see `check_images`.
    """
    table = _check_ids(table, TEXT_COLUMNS, TEXT_EXTRAS, origin)
    table["text"] = table["text"].fillna("").astype(str)
    return _check_observations(table, origin)


def check_boxes(table: pd.DataFrame, *, origin: str) -> pd.DataFrame:
    """Returns `table` as a checked box table, in pixels of the original image.

    Raises:
        ValueError: a column is missing or a box has no area.
    """
    _require(table, BOX_COLUMNS, origin)
    empty = ~((table["width"] > 0) & (table["height"] > 0))
    if empty.any():
        raise ValueError(f"{origin}: {int(empty.sum())} boxes have no area, the first in row {int(np.argmax(empty))}.")
    return table[list(BOX_COLUMNS)].reset_index(drop=True)


def observations_of(table: pd.DataFrame) -> list[str]:
    """Returns the observation columns of an image, text or sentence table, in order."""
    return [column for column in table.columns if column not in _RESERVED and not column.startswith("_")]


def label_matrix(table: pd.DataFrame, observations: Sequence[str]) -> np.ndarray:
    """Returns states (N, O), float32, aligned to `observations`; a column the table lacks is unmentioned."""
    matrix = np.full((len(table), len(observations)), np.nan, dtype=np.float32)
    for j, name in enumerate(observations):
        if name in table.columns:
            matrix[:, j] = table[name].to_numpy(dtype=np.float32)
    return matrix


def assign_splits(table: pd.DataFrame, *, seed: int, valid: float = 0.1, test: float = 0.2) -> pd.DataFrame:
    """Returns `table` with every blank split filled from a hash of seed and patient.

    A patient is in one split only, the same one in every table and on every machine. Splits that the source
    declares are kept; a patient with a declared split in one row gets it in all blank rows.
    """
    split = table["split"].astype(object).where(table["split"].notna(), None)
    declared = {p: s for p, s in zip(table["patient_id"], split, strict=True) if isinstance(s, str)}
    hashed = {
        patient: declared.get(patient) or _split_of(patient, seed, valid, test)
        for patient in table["patient_id"].unique()
    }
    return table.assign(split=split.where(split.notna(), table["patient_id"].map(hashed)))


def _split_of(patient: str, seed: int, valid: float, test: float) -> str:
    digest = hashlib.blake2b(f"{seed}/{patient}".encode(), digest_size=8).digest()
    share = int.from_bytes(digest, "big") / 2**64
    return "test" if share < test else "valid" if share < test + valid else "train"


def _require(table: pd.DataFrame, columns: Sequence[str], origin: str) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(
            f"{origin}: columns {', '.join(missing)} are missing; found {', '.join(map(str, table.columns[:20]))}."
        )


def _check_ids(table: pd.DataFrame, columns: Sequence[str], extras: Sequence[str], origin: str) -> pd.DataFrame:
    _require(table, columns, origin)
    table = table.reset_index(drop=True)
    for column in columns:
        if column == "text":
            continue
        blank = table[column].isna() | (table[column].astype(str).str.strip() == "")
        if blank.any():
            raise ValueError(
                f"{origin}: {column} is blank in {int(blank.sum())} rows, first in row {int(np.argmax(blank))}."
            )
        table[column] = table[column].astype(str)
    for column in extras:
        if column not in table.columns:
            table[column] = None
    if "split" in table.columns:
        unknown = sorted(set(table["split"].dropna().astype(str)) - set(SPLITS))
        if unknown:
            raise ValueError(f"{origin}: found splits {unknown[:5]}; a split is one of {', '.join(SPLITS)} or blank.")
    return table


def _check_observations(table: pd.DataFrame, origin: str) -> pd.DataFrame:
    for name in observations_of(table):
        try:
            table[name] = check_states(pd.to_numeric(table[name]).to_numpy(dtype=np.float32))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{origin}, column {name!r}: {error}") from error
    return table
