"""Which columns of somebody's own table hold what: by their names, then by what they hold.

Where either leaves a choice that would change which films, reports or patients belong together, nothing is chosen: the
message names the columns and the option that settles it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NoReturn

import pandas as pd

from labelers.errors import UserError
from medclip.data.box_tables import plain
from medclip.data.image_files import SUFFIXES

#: What others call our columns, in small letters and without blanks or underscores.
ALIASES = {
    "path": ("imagepath", "filepath", "filename", "file", "imagefile", "imgpath", "dicompath", "imagefilename",
             "image"),
    "text": ("report", "reporttext"),
    "image_id": ("imageid", "dicomid", "imageindex", "sopinstanceuid"),
    "study_id": ("studyid", "reportid", "accessionnumber", "accession", "studyinstanceuid", "examid"),
    "patient_id": ("patientid", "subjectid", "patient", "subject", "mrn", "medicalrecordnumber", "patientnumber"),
    "view": ("viewposition", "projection"), "age": ("patientage",), "sex": ("gender", "patientsex", "patientgender"),
    "race": ("patientrace", "primaryrace"),
    "site": ("hospital", "institution", "institutionname", "centre", "center"),
}  # fmt: skip
_IDS = ("study_id", "patient_id")
_SAMPLE = 200
#: Share of the cells that must look like file names.
_MOST = 0.9
#: Words of the usual cell from which on a column holds reports.
_WORDS = 6


def by_name(raw: pd.DataFrame, missing: Sequence[str], free: Sequence[str], *, origin: str) -> dict[str, str]:
    """Returns our names for columns that are called like them.

    Args:
        raw: The table.
        missing: Our names that no column has yet.
        free: Columns that are not taken.
        origin: The table, for messages.

    Raises:
        UserError: Several columns are called like path, text, study_id or patient_id, and differ.
    """
    found: dict[str, str] = {}
    for ours in missing:
        names = (plain(ours), *ALIASES.get(ours, ()))
        like = sorted((n for n in free if plain(n) in names), key=lambda n: names.index(plain(n)))
        if len(like) > 1 and plain(like[0]) != plain(ours):
            like = _settled(raw, ours, like, origin=origin)
        found |= dict.fromkeys(like[:1], ours)
    return found


def holding(raw: pd.DataFrame, ours: str, free: Sequence[str]) -> list[str]:
    """Returns the columns of `free` that hold names of image files (`ours` is path) or reports (text)."""
    holds = _holds_files if ours == "path" else _holds_reports
    return [name for name in free if holds(raw[name])]


def as_option(columns: Mapping[str, str]) -> str:
    """Returns the option that says which columns (theirs to ours) are meant, as it is typed."""
    text = ",".join(f"{ours}={theirs}" for theirs, ours in columns.items())
    if any(set(theirs) & set(",:=") for theirs in columns):  # names that the short form would cut
        text = json.dumps({ours: theirs for theirs, ours in columns.items()}, ensure_ascii=False)
    return "--columns " + shlex.quote(text)


def refuse(ours: str, like: Sequence[str], *, origin: str) -> NoReturn:
    """Refuses to choose among columns.

    Raises:
        UserError: Always.
    """
    several = f", or {as_option({'+'.join(like): ours})} for all of them" if ours == "text" else ""
    raise UserError(
        f"{origin}: {' and '.join(map(repr, like))} can each be {ours}. Say which is meant: "
        f"{as_option({like[0]: ours})}{several}."
    )


def _settled(raw: pd.DataFrame, ours: str, like: list[str], *, origin: str) -> list[str]:
    """Returns columns of one kind with the one that counts first."""
    if ours == "path":
        like = [name for name in like if _holds_files(raw[name])] or like
    alike = ours in _IDS and all(_same_groups(raw[like[0]], raw[name]) for name in like[1:])
    if len(like) > 1 and ours in ("path", "text", *_IDS) and not alike:
        refuse(ours, like, origin=origin)
    return like


def _same_groups(one: pd.Series, other: pd.Series) -> bool:
    """Tells whether two columns of ids put the same rows together."""
    return bool((pd.factorize(one)[0] == pd.factorize(other)[0]).all())


def _cells(column: pd.Series) -> pd.Series:
    return column.dropna().head(_SAMPLE).astype(str).str.strip()


def _holds_files(column: pd.Series) -> bool:
    cells = _cells(column)
    endings = cells.map(lambda cell: PurePosixPath(cell.replace("\\", "/").lower()).suffix)
    return len(cells) > 0 and float(endings.isin(SUFFIXES).mean()) >= _MOST


def _holds_reports(column: pd.Series) -> bool:
    cells = _cells(column)
    return len(cells) > 0 and float(cells.str.split().map(len).median()) >= _WORDS
