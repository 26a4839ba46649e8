"""Which patients train, validate and test: the owners' official sets, and a seeded hash of the patient for the rest."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

logger = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Declared:
    """What the sources of a population say about splits.

    Attributes:
        patients: Split by patient, for every patient of whom a row says it.
        splits: The splits that are declared: such a set is complete, and nothing is drawn into it.
    """

    patients: Mapping[str, str] = field(default_factory=dict)
    splits: frozenset[str] = frozenset()


def declared_splits(tables: Iterable[pd.DataFrame | None]) -> Declared:
    """Returns what tables of one population, with columns `patient_id` and `split`, declare between them.

    A patient of whom rows say different things is in the later of train, valid, test.
    """
    rows = [table.loc[table["split"].notna(), ["patient_id", "split"]] for table in tables if table is not None]
    if not rows or not sum(map(len, rows)):
        return Declared()
    pairs = pd.concat(rows).drop_duplicates()
    pairs = pairs.assign(_order=pairs["split"].map(SPLITS.index)).sort_values("_order", kind="stable")
    return Declared(dict(zip(pairs["patient_id"], pairs["split"], strict=True)), frozenset(pairs["split"]))


def assign_splits(
    table: pd.DataFrame, *, seed: int, valid: float = 0.1, test: float = 0.2, declared: Declared | None = None
) -> pd.DataFrame:
    """Returns `table` with a split in every row, and every patient in one.

    A patient with a declared split is in it with all rows; rows that declare another are left out, which is said.
    Others are drawn by a hash of seed and patient, the same on
    every machine and in every table, but never into a split that is declared: an official test set is complete. Where
    no validation set is declared, it is drawn from all that trains, declared or not.

    Args:
        table: Images or texts.
        seed: Seed of the hash.
        valid: Share of the patients that are drawn to validate.
        test: Share that are drawn to test, where no test set is declared.
        declared: What all tables of the population declare, by `declared_splits`; by default this one alone.
    """
    known = declared_splits([table]) if declared is None else declared
    own = table["split"].astype(object)
    torn = own.notna() & (own != table["patient_id"].map(known.patients))
    if torn.any():
        patients = table.loc[torn, "patient_id"].nunique()
        logger.warning(
            "%d rows of %d patients are left out: other rows of theirs are declared to be in a later split (of train, "
            "valid, test)", int(torn.sum()), patients,
        )  # fmt: skip
        table = table[~torn].reset_index(drop=True)
    split = {p: _split_of(p, known, seed, valid, test) for p in table["patient_id"].unique()}
    return table.assign(split=table["patient_id"].map(split).astype(object))


def _split_of(patient: str, known: Declared, seed: int, valid: float, test: float) -> str:
    said = known.patients.get(patient)
    if said in ("valid", "test"):
        return said
    share = _share(seed, patient)
    if said is None and share < test and "test" not in known.splits:
        return "test"
    return "valid" if test <= share < test + valid and "valid" not in known.splits else "train"


def _share(seed: int, patient: str) -> float:
    digest = hashlib.blake2b(f"{seed}/{patient}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def split_origins(table: pd.DataFrame, declared: Declared) -> dict[str, str]:
    """Returns for each split of a table with splits whether it is "official", "drawn", or "official and drawn"."""
    said = table["patient_id"].map(declared.patients).eq(table["split"])
    shares = said.groupby(table["split"]).mean()
    return {
        split: "official" if shares[split] == 1 else "drawn" if shares[split] == 0 else "official and drawn"
        for split in SPLITS
        if split in shares
    }


def split_table(name: str, kind: str, table: pd.DataFrame, origins: Mapping[str, str]) -> pd.DataFrame:
    """Returns a row for each split of a prepared table: its rows, studies and patients, and who chose them.

    Args:
        name: The source.
        kind: What its rows are, such as "images".
        table: Table with splits assigned.
        origins: Who chose each split, from `split_origins`.
    """
    rows = []
    for split in SPLITS:
        part = table[table["split"] == split]
        counts = len(part), part["study_id"].nunique(), part["patient_id"].nunique()
        rows.append((name, split, kind, *counts, origins.get(split, "")))
    return pd.DataFrame(rows, columns=["source", "split", "of", "rows", "studies", "patients", "chosen"])
