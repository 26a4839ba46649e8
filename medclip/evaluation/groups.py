"""Groups of patients to look at apart: by sex, age band, view, race, and where two of these meet."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medclip.data.tables import TEST_SET

#: Patients of a group: fewer say nothing, and could be recognised.
LEAST_PATIENTS = 10
#: Columns that groups are made of, where the images have them.
COLUMNS = ("sex", "age", "view", "race", "site", TEST_SET)
_AGES = (0, 40, 60, 80)
_BANDS = ("0-39", "40-59", "60-79", "80+")


@dataclass(frozen=True)
class Group:
    """Images that are looked at apart.

    Attributes:
        column: What they are grouped by, such as `sex` or `sex and age`.
        value: What they have in common, such as `F` or `F, 40-59`.
        rows: (N,) booleans, true for its images.
        patients: The number of its patients.
    """

    column: str
    value: str
    rows: np.ndarray
    patients: int

    @property
    def large_enough(self) -> bool:
        """Whether anything is reported of it."""
        return self.patients >= LEAST_PATIENTS


def groups_by(table: pd.DataFrame, column: str) -> list[Group]:
    """Returns the groups of a column, ages in bands; one value alone is no group. Test sets keep their order."""
    values = _values(table, column)
    names = values.dropna().unique() if column == TEST_SET else sorted(values.dropna().unique())
    found = [_group(table, column, str(value), values == value) for value in names]
    return found if len(found) > 1 else []


def intersections(table: pd.DataFrame, columns: Sequence[str]) -> list[Group]:
    """Returns the groups in which two of the columns meet, for columns that have groups."""
    several = [column for column in columns if groups_by(table, column)]
    found = []
    for one, other in itertools.combinations(several, 2):
        values = _values(table, one) + ", " + _values(table, other)
        name = f"{one} and {other}"
        found += [_group(table, name, str(value), values == value) for value in sorted(values.dropna().unique())]
    return found


def _values(table: pd.DataFrame, column: str) -> pd.Series:
    if column not in table.columns:
        return pd.Series(pd.NA, index=table.index, dtype="string")
    values = table[column]
    if column == "age":
        values = pd.cut(values.astype(float), [*_AGES, np.inf], right=False, labels=_BANDS)
    return values.astype("string")


def _group(table: pd.DataFrame, column: str, value: str, rows: pd.Series) -> Group:
    among = rows.fillna(False).to_numpy(bool)
    return Group(column, value, among, int(table.loc[among, "patient_id"].nunique()))
