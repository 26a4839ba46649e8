"""Excel workbooks as tables of text, so that they are read as any other table is. Needs the extra `excel`."""

from __future__ import annotations

import csv
import datetime
import io
import logging
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labelers.errors import UserError
from medclip.utils.extras import install

logger = logging.getLogger(__name__)

#: Bytes that a workbook may unpack to; a sheet of a million rows of reports has fewer.
_LARGEST = 2_000_000_000


def is_workbook(path: Path) -> bool:
    """Tells by its content whether the file at `path` is an Excel workbook (.xlsx, .xlsm)."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "xl/workbook.xml" in archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return False


def workbook_as_text(path: Path, origin: str) -> io.StringIO:
    """Returns the first sheet of a workbook that is not empty, as CSV, each of its rows one row.

    Numbers that are whole have no point, dates are YYYY-MM-DD, and ids that Excel shows with leading zeros keep them.

    Raises:
        UserError: openpyxl is missing; the workbook is damaged, too large, empty or holds formulas without values.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise UserError(
            f"{origin}: {path} is an Excel workbook. Install what reads it, {install('excel')}, or save it in Excel as "
            "'CSV UTF-8' and name that file."
        ) from error
    _check_size(path, origin)
    try:
        with warnings.catch_warnings(), path.open("rb") as values, path.open("rb") as formulas:
            warnings.simplefilter("ignore")  # what openpyxl leaves away is no part of a table
            books = [openpyxl.load_workbook(file, read_only=True, data_only=only)
                     for file, only in ((values, True), (formulas, False))]  # fmt: skip
            return _written(path, origin, *books)
    except UserError:
        raise
    except Exception as error:  # openpyxl raises many kinds for damaged files; all mean the same here
        raise UserError(f"{origin}: {path} is no Excel workbook, or damaged ({type(error).__name__}).") from error


def _check_size(path: Path, origin: str) -> None:
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > _LARGEST:
        raise UserError(
            f"{origin}: {path} unpacks to {size:,} bytes, more than a workbook of reports has. Save it as 'CSV UTF-8'."
        )


def _written(path: Path, origin: str, values: Any, formulas: Any) -> io.StringIO:
    visible = [sheet.title for sheet in values.worksheets if sheet.sheet_state == "visible"]
    for name in visible:
        text = io.StringIO()
        writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
        rows = list(_rows(values[name], formulas[name], f"{origin}: {path}, sheet {name!r}"))
        if any(any(row) for row in rows):
            if len(visible) > 1:
                logger.info("%s: of the %d sheets of %s, %r is read", origin, len(visible), path.name, name)
            width = max(len(row) for row in rows)
            writer.writerows([*row, *[""] * (width - len(row))] for row in rows)
            text.seek(0)
            return text
    raise UserError(f"{origin}: {path} is no table: none of its {len(visible)} sheets holds anything.")


def _rows(values: Any, formulas: Any, where: str) -> Iterator[list[str]]:
    """Yields the rows of a sheet as texts."""
    for sheet in (values, formulas):
        sheet.reset_dimensions()  # which files state wrongly
    for number, (row, written) in enumerate(zip(values.iter_rows(), formulas.iter_rows(), strict=True), start=1):
        if any(one.value is None and other.value is not None for one, other in zip(row, written, strict=True)):
            raise UserError(
                f"{where}, row {number} holds a formula without its value. Open the workbook in Excel and save it "
                "again."
            )
        yield [_text(cell) for cell in row]


def _text(cell: Any) -> str:
    """Returns what a cell says as text."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    zeros = re.fullmatch("0+", cell.number_format or "") if isinstance(value, int) else None
    return str(value).zfill(len(zeros[0])) if zeros else str(value)
