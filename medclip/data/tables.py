"""The tables that sources give and everything else reads: their columns, their checks, label matrices.

A table is a pandas frame, checked once on entry and not changed afterwards. Ids are text. Columns outside the schema
are observations with states 1 (positive), 0 (negative), -1 (uncertain) or NaN (unmentioned).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from labelers.errors import UserError
from labelers.observations import SYNONYMS, check_states
from medclip.data.csv_files import ROW
from medclip.data.splits import SPLITS
from medclip.data.splits import assign_splits as assign_splits  # noqa: PLC0414  a part of what tables are

logger = logging.getLogger(__name__)

#: Required columns of an image table, then those it may have.
IMAGE_COLUMNS = ("image_id", "study_id", "patient_id", "path")
IMAGE_EXTRAS = ("view", "split", "age", "sex", "race", "site")
TEXT_COLUMNS = ("study_id", "patient_id", "text")
TEXT_EXTRAS = ("split",)
#: A sentence table is a text table of sentences; `count` says how many texts hold the sentence.
SENTENCE_EXTRAS = ("split", "section", "position", "count")
BOX_COLUMNS = ("image_id", "observation", "x", "y", "width", "height")
#: What a box may have: the words that it is the place of, where these are more than the observation's name.
BOX_EXTRAS = ("phrase",)
#: What stands for a blank in tables that others wrote, in small letters.
_BLANKS = {"", "na", "n/a", "#n/a", "nan", "-nan", "null", "none", "<na>", "nat"}
_YEARS = {"Y": 1.0, "M": 12.0, "W": 52.1775, "D": 365.25}
_OLDEST = 120
#: How blanks of label tables are taken where labels are learned from.
BLANKS = ("source", "ignore", "negative")
#: Column of prepared image tables: whether a blank is the usual negative.
BLANK_IS_NEGATIVE = "_blank_is_negative"

#: Column of images of several test sets together: which one each is of.
TEST_SET = "test_set"

_SEXES = {"f": "F", "female": "F", "woman": "F", "m": "M", "male": "M", "man": "M"}

_RESERVED = {*IMAGE_COLUMNS, *IMAGE_EXTRAS, *TEXT_COLUMNS, *SENTENCE_EXTRAS, TEST_SET}


def check_images(table: pd.DataFrame, *, origin: str) -> pd.DataFrame:
    """Returns `table` as a checked image table: required columns filled, ids as text, optional columns added.

    Ages are in years, whether they say 58, 058Y or 003M; above 120 they are blank. Sexes that say female, f or Woman
    are F, male, m or Man M; others stay as they are.

    Raises:
        UserError: A column is missing, an id is blank or repeated, a state or a split is unknown. `origin` is named,
            and the row: that of the file, where the table still has the index it was read with.
    """
    table, rows = _check_ids(table, IMAGE_COLUMNS, IMAGE_EXTRAS, origin)
    repeated = table["image_id"].duplicated().to_numpy()
    if repeated.any():
        raise UserError(
            f"{origin}: {int(repeated.sum())} image ids occur twice, the first in {_place(rows, repeated)}. "
            "Every image needs its own id."
        )
    table["age"] = years(table["age"]).astype("float32")
    table["sex"] = table["sex"].map(_sex, na_action="ignore")
    return _check_observations(table, rows, origin)


def _sex(value: object) -> str | None:
    text = str(value).strip()
    return _SEXES.get(text.lower(), text) or None


def check_texts(table: pd.DataFrame, *, origin: str) -> pd.DataFrame:
    """Returns `table` as a checked text table; texts that are missing become "".

    Raises:
        UserError: See `check_images`.
    """
    table, rows = _check_ids(table, TEXT_COLUMNS, TEXT_EXTRAS, origin)
    table["text"] = table["text"].fillna("").astype(str)
    return _check_observations(table, rows, origin)


def check_boxes(table: pd.DataFrame, *, origin: str) -> pd.DataFrame:
    """Returns `table` as a checked box table, in pixels of the original image.

    Raises:
        UserError: A column is missing, a place is no number, or a box has no area.
    """
    _require(table, BOX_COLUMNS, origin)
    table = table[[*BOX_COLUMNS, *(name for name in BOX_EXTRAS if name in table.columns)]].copy()
    for name in ("x", "y", "width", "height"):
        table[name] = to_numbers(table[name], origin=origin)
    empty = ~((table["width"] > 0) & (table["height"] > 0)).to_numpy()
    if empty.any():
        raise UserError(f"{origin}: {int(empty.sum())} boxes have no area, the first in {_place(table.index, empty)}.")
    return table.reset_index(drop=True)


def to_numbers(column: pd.Series, *, origin: str) -> pd.Series:
    """Returns a column as floats: blanks, "NA" and their like as NaN, "true" as 1, "false" as 0, "0,5" as 0.5.

    Raises:
        UserError: A value is no number; it and its row are named.
    """
    if pd.api.types.is_numeric_dtype(column):
        return column.astype(float)
    numbers = {value: _number(value) for value in column.dropna().unique()}
    if wrong := [value for value, number in numbers.items() if number is None]:
        place = _place(column.index, (column == wrong[0]).to_numpy())
        raise UserError(f"{origin}, column {column.name!r}: {wrong[0]!r} in {place} is no number.")
    return column.map(numbers).astype(float)


def _number(value: Any) -> float | None:
    text = str(value).strip().lower()
    if text in _BLANKS:
        return float("nan")
    try:
        return {"true": 1.0, "false": 0.0}.get(text) if text in ("true", "false") else float(text.replace(",", "."))
    except ValueError:
        return None


def years(column: pd.Series) -> pd.Series:
    """Returns ages in years: 58, 58.0 and 058Y are 58, 003M a quarter, 011D eleven days; others are blank."""
    found = column.astype(str).str.strip().str.upper().str.extract(r"^(\d+(?:\.\d+)?)\s*([YMWD]?)$")
    age = pd.to_numeric(found[0], errors="coerce") / found[1].map(_YEARS).fillna(1.0)
    return age.where(age <= _OLDEST)


def joined_states(table: pd.DataFrame, *, origin: str) -> pd.DataFrame:
    """Returns `table` with one column an observation, under the name of the 14 where there is one.

    Several columns can mean one observation, such as Mass and Nodule (Lung Lesion). It is positive where one of them
    is, else uncertain where one is, else negative where one is, else unmentioned.
    """
    names = [SYNONYMS.get(str(name), str(name)) for name in table.columns]
    joined: dict[str, pd.Series] = {}
    for place, name in enumerate(names):
        column = _states_in(table.iloc[:, place], origin)
        joined[name] = column if name not in joined else _stronger(joined[name], column)
    return pd.DataFrame(joined, index=table.index)


def _states_in(column: pd.Series, origin: str) -> pd.Series:
    try:
        return to_numbers(column, origin=origin)
    except UserError as error:
        raise UserError(f"{error} A label is 1 (positive), 0 (negative), -1 (uncertain) or blank.") from error


def _stronger(one: pd.Series, other: pd.Series) -> pd.Series:
    """Returns the states of two columns together; 1 stands above -1, -1 above 0, and 0 above silence."""
    order = {0.0: 1, -1.0: 2, 1.0: 3}
    ranks = [column.map(order).fillna(column.notna() * 4) for column in (one, other)]  # what is no state stays seen
    return one.where(ranks[0] >= ranks[1], other)


def join_ids(table: pd.DataFrame, other: pd.DataFrame | pd.Series, *, on: str, origin: str, what: str) -> pd.DataFrame:
    """Returns `table` with the columns of `other`, whose index holds ids, by the ids in its column `on`.

    Args:
        table: Images or texts.
        other: Labels or splits by id.
        on: A column of `table`.
        origin: The source, for messages.
        what: What `other` is, for messages.

    Raises:
        UserError: No id is in both.
    """
    met = table[on].isin(other.index)
    if len(table) and not met.any():
        raise UserError(
            f"{origin}: none of the {len(table)} rows has its {on} in {what}. Here ids look like "
            f"{_pattern(table[on])}, there like {_pattern(other.index)}."
        )
    if not met.all():
        logger.warning("%s: %d of %d rows have no %s in %s", origin, int((~met).sum()), len(table), on, what)
    return table.join(other, on=on)


def _pattern(ids: pd.Series | pd.Index) -> str:
    """Returns the form of the first id, its digits as 9: ids themselves are not for messages."""
    return "nothing" if not len(ids) else pd.Series(ids[:1], dtype=str).str.replace(r"\d", "9", regex=True).iloc[0]


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


def learning_labels(table: pd.DataFrame, observations: Sequence[str], *, blank: str = "source") -> np.ndarray:
    """Returns states (N, O) to learn from, or to fit thresholds and probabilities on.

    In the label files of CheXpert and MIMIC-CXR a blank is the usual negative (Irvin et al. 2019, section 3.2): an
    explicit 0 says that somebody bothered to deny the observation. Learning from explicit states alone then learns
    that. An observation that a source has no state of, and an image without any, stay unmentioned.

    Args:
        table: A prepared image table.
        observations: The columns of the result.
        blank: "source" (negative for images whose source says so), "negative" (for all images) or "ignore" (for none).

    Raises:
        UserError: `blank` is none of these.
    """
    if blank not in BLANKS:
        raise UserError(f"blank {blank!r} is none of {', '.join(BLANKS)}.")
    states = label_matrix(table, observations)
    if blank == "ignore" or not len(table):
        return states
    whole = np.full(len(table), blank == "negative")
    if blank == "source" and BLANK_IS_NEGATIVE in table.columns:
        whole = table[BLANK_IS_NEGATIVE].fillna(False).to_numpy(dtype=bool)
    whole = whole & ~np.isnan(label_matrix(table, observations_of(table))).all(axis=1)
    population = table["image_id"].astype(str).str.partition("/")[0].to_numpy()
    for one in np.unique(population):
        rows = population == one
        known = ~np.isnan(states[rows]).all(axis=0)
        states[np.ix_(rows, known)] = np.where(
            whole[rows, None] & np.isnan(states[np.ix_(rows, known)]), 0, states[np.ix_(rows, known)]
        )
    return states


def strongest(states: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Returns states (`groups`, O) of rows (N, O) in groups (N,): positive before uncertain before negative."""
    rank = np.select([states == 1, states == -1, states == 0], [3, 2, 1], default=0).astype(np.int8)
    found = np.zeros((groups, states.shape[1]), dtype=np.int8)
    np.maximum.at(found, group, rank)
    return np.array([np.nan, 0.0, -1.0, 1.0], dtype=np.float32)[found]


def _require(table: pd.DataFrame, columns: Sequence[str], origin: str) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise UserError(
            f"{origin}: columns {', '.join(missing)} are missing; found {', '.join(map(str, table.columns[:20]))}."
        )


def _check_ids(
    table: pd.DataFrame, columns: Sequence[str], extras: Sequence[str], origin: str
) -> tuple[pd.DataFrame, pd.Index]:
    """Returns the table with ids as text and all optional columns, and the index that says its rows."""
    _require(table, columns, origin)
    rows, table = table.index, table.reset_index(drop=True)
    for column in columns:
        if column == "text":
            continue
        table[column] = as_ids(table[column]) if column != "path" else table[column]
        blank = (table[column].isna() | (table[column].astype(str).str.strip() == "")).to_numpy()
        if blank.any():
            raise UserError(f"{origin}: {column} is blank in {int(blank.sum())} rows, first in {_place(rows, blank)}.")
        table[column] = table[column].astype(str)
    for column in extras:
        if column not in table.columns:
            table[column] = None
    if "split" in table.columns:
        unknown = sorted(set(table["split"].dropna().astype(str)) - set(SPLITS))
        if unknown:
            raise UserError(f"{origin}: found splits {unknown[:5]}; a split is one of {', '.join(SPLITS)} or blank.")
    return table, rows


def as_ids(column: pd.Series) -> pd.Series:
    """Returns ids as text without blanks around them; numbers that a blank made floats are whole again."""
    if pd.api.types.is_float_dtype(column) or column.dtype == object:
        whole = [int(value) if isinstance(value, float) and value.is_integer() else value for value in column]
        column = pd.Series(whole, index=column.index, name=column.name, dtype=object)
    return column.where(column.isna(), column.astype(str).str.strip())


def _place(rows: pd.Index, where: np.ndarray) -> str:
    """Returns the first row of those `where` is true: of the file, where the index says it, or of the table."""
    first = int(np.argmax(where))
    return f"row {rows[first] if rows.name == ROW else first}"


def _check_observations(table: pd.DataFrame, rows: pd.Index, origin: str) -> pd.DataFrame:
    for name in observations_of(table):
        states = to_numbers(table[name].set_axis(rows), origin=origin).to_numpy(dtype=np.float32)
        try:
            table[name] = check_states(states)
        except (ValueError, TypeError) as error:
            wrong = ~(np.isnan(states) | np.isin(states, (1, 0, -1)))
            raise UserError(f"{origin}, column {name!r}: {error} First in {_place(rows, wrong)}.") from error
    return table
