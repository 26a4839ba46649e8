"""Reading what others wrote: tables in any honest form, and paths that stay inside their folder.

Tables hold text and blanks: an id such as 0012 or 1e3 is what the file says. `tables.to_numbers` makes numbers.
"""

from __future__ import annotations

import csv
import logging
import ntpath
import os
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TextIO

import pandas as pd

from labelers.errors import UserError
from medclip.data.image_files import spelled_as_on_disk
from medclip.data.text_files import open_text
from medclip.utils.text import suggest

logger = logging.getLogger(__name__)

#: Name of the index of a table that was read here: the row of the file, the header being row 1.
ROW = "row of the file"
_SEPARATORS = ",;\t|"
_SHOWN = 10


def read_csv(
    path: Path, *, origin: str, needed: Sequence[str] = (), wanted: Sequence[str] | None = None, encoding: str = ""
) -> pd.DataFrame:
    """Returns the table at `path` as text, blank cells as NaN, by the rows of the file (`ROW`).

    Understood are comma, semicolon, tab and bar between columns (whichever the header has most of, or a first line
    `sep=;`), UTF-8 with or without its mark, UTF-16, gzip, and Excel workbooks, each told by content. Other encodings
    cannot be told apart by looking, so they are refused with the first line that shows them, unless named. Blanks
    around column names are taken off, and `needed` and `wanted` names are found in capitals, too. A row with more cells
    than the header is left out and listed, unless the surplus is blank; in a row with fewer the rest is blank.

    Args:
        path: The file.
        origin: The source, for messages.
        needed: Columns that must be there.
        wanted: Read these only, of those that are there.
        encoding: The encoding, such as cp1252, where it is another.

    Raises:
        UserError: A column is missing; the file is empty, cut off, of another encoding, or no table.
    """
    with open_text(path, origin, encoding=encoding) as file:
        rows = _Rows(file, path, origin)
        names = _spell(rows.names, (*needed, *(wanted or ())))
        kept = [i for i, name in enumerate(names) if name and (wanted is None or name in wanted)]
        columns: list[list[str]] = [[] for _ in kept]
        numbers: list[int] = []
        for number, cells in rows:
            numbers.append(number)
            for column, place in zip(columns, kept, strict=True):
                column.append(cells[place])
    index = pd.Index(numbers, name=ROW, dtype="int64")
    # By number first: a header may name two columns alike, and the first of them counts.
    table = pd.DataFrame(dict(enumerate(columns)), index=index, dtype=str).set_axis([names[i] for i in kept], axis=1)
    table = table.loc[:, ~table.columns.duplicated()]
    require_columns(table, needed, origin=origin, path=path)
    return table.mask(table.apply(lambda column: column.str.strip() == ""))


def read_table(path: Path, *, origin: str, encoding: str = "") -> pd.DataFrame:
    """Returns the table at `path` by the rows of the file: Parquet, if it is called so, or as `read_csv` reads it.

    Raises:
        UserError: See `read_csv`.
    """
    if path.suffix != ".parquet":
        return read_csv(path, origin=origin, encoding=encoding)
    table = pd.read_parquet(path)
    return table.set_axis(pd.RangeIndex(len(table), name=ROW), axis=0)


def csv_pieces(path: Path, *, origin: str, rows: int, encoding: str = "") -> Iterator[pd.DataFrame]:
    """Yields the table at `path` as `read_csv` understands it, in pieces of up to `rows` rows, for tables of any size.

    Blank cells are "". Where `read_csv` leaves a row out, this refuses it: a text without quotes would lose its end.
    """
    with open_text(path, origin, encoding=encoding) as file:
        table = _Rows(file, path, origin)
        pieces = iter(lambda: list(islice(table, rows)), [])
        for piece in chain([next(pieces, [])], pieces):
            if table.long:
                raise UserError(
                    f"{origin}: {path}, row {table.long[0]} has more cells than the header. Is there a separator in a "
                    "text without quotes? Put texts in quotes."
                )
            frame = pd.DataFrame([cells for _, cells in piece], columns=range(len(table.names)), dtype=str)
            frame = frame.set_axis(table.names, axis=1)
            yield frame.loc[:, ~frame.columns.duplicated() & (frame.columns != "")]


class _Rows:
    """The rows of an open table: its column names, then (row of the file, cells), all of the header's length."""

    def __init__(self, file: TextIO, path: Path, origin: str) -> None:
        self._where, self._lines = f"{origin}: {path}", list[str]()
        self.long: list[int] = []
        self._short: list[int] = []
        lines = self._kept(file)
        first = next((line for line in lines if line.strip()), "")
        given = first.strip().lower().startswith("sep=") and len(first.strip()) == 5
        header = next(lines, "") if given else first
        separator = first.strip()[-1] if given else _separator(header)
        self._separator = separator
        self._reader = csv.reader(chain([header], lines), delimiter=separator)
        self._rows = self._read(2 + given)
        self.names = [name.strip().lstrip("\ufeff") for name in next(self._reader, [])]
        if not any(self.names):
            raise UserError(f"{self._where} is no table: it has no header.")

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        return self._rows

    def _read(self, first: int) -> Iterator[tuple[int, list[str]]]:
        width = len(self.names)
        named = max(i for i, name in enumerate(self.names, start=1) if name)
        last = self._lines
        for number, cells in enumerate(self._reader, start=first):
            last, self._lines = self._lines, []
            if any(cell.strip() for cell in cells[width:]):
                self.long.append(number)
            elif any(cells):
                self._short += [number] * (len(cells) < named)
                yield number, cells[:width] + [""] * (width - len(cells))
        self._check_end(last)
        self._report()

    def _check_end(self, lines: list[str]) -> None:
        """Checks that the last row, which consists of `lines`, does not end inside quotation marks."""
        try:
            list(csv.reader(lines, delimiter=self._separator, strict=True))
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise UserError(f"{self._where} is no table: a quotation mark is opened and never closed.") from error

    def _kept(self, file: TextIO) -> Iterator[str]:
        for line in file:
            self._lines.append(line)
            yield line

    def _report(self) -> None:
        """Says which rows have more or fewer cells than the header."""
        if self.long:
            logger.warning("%s: %s left out, with more cells than the header (a separator in a text "
                           "without quotes?)", self._where, listed(self.long))  # fmt: skip
        if self._short:
            logger.warning("%s: %s fewer cells than the header; the rest is blank", self._where,
                           listed(self._short, "have"))  # fmt: skip


def listed(rows: Sequence[int], verb: str = "are") -> str:
    """Returns how many rows of a file there are and which, for a message: "2 rows are (3, 9)"."""
    shown = ", ".join(map(str, rows[:_SHOWN])) + (", ..." if len(rows) > _SHOWN else "")
    single = {"are": "is", "have": "has"}[verb]
    return f"{len(rows)} row{'s' * (len(rows) > 1)} ({shown}) {verb if len(rows) > 1 else single}"


def _separator(header: str) -> str:
    """Returns the separator that a header has most of, outside quotes; the comma where none."""
    bare = "".join(header.split('"')[::2])
    return max(_SEPARATORS, key=bare.count)


def _spell(found: Sequence[str], expected: Sequence[str]) -> list[str]:
    """Returns the names `found`, those that differ from an expected one in capitals only spelled like it."""
    missing = {name.lower(): name for name in expected if name not in found}
    return [name if name in expected else missing.get(name.lower(), name) for name in found]


def require_columns(table: pd.DataFrame, needed: Sequence[str], *, origin: str, path: Path) -> None:
    """Checks that `table` has the columns `needed`.

    Raises:
        UserError: one is missing; the message names the nearest there is.
    """
    found = [str(name) for name in table.columns]
    missing = [name for name in needed if name not in found]
    if missing:
        more = ", ..." if len(found) > 20 else ""
        raise UserError(
            f"{origin}: {path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}."
            f"{suggest(missing[0], found)} Found: {', '.join(found[:20])}{more}."
        )


def is_inside(path: str) -> bool:
    """Tells whether a path, taken as text, stays below the folder that it is relative to."""
    parts = PurePosixPath(path).parts
    return not (path.startswith(("/", "\\", "~")) or PureWindowsPath(path).drive or ".." in parts or "\\.." in path)


def files_below(folder: Path, paths: Sequence[str], *, origin: str, outside: bool = False) -> list[str]:
    """Returns the full paths of the files that a user's table lists, with slashes for backslashes.

    Links are followed; each folder is looked at once, however many files are listed in it.

    Args:
        folder: The table's folder, which the paths are relative to.
        paths: What the table says.
        origin: The source and the table, for messages.
        outside: Allow paths that lead out of the folder.

    Raises:
        UserError: One is no path, one of another machine, or leads out of the folder, by a link perhaps.
    """
    folders: dict[str, str] = {}
    root = os.path.join(folder, "")
    found = [_resolved(os.path.join(root, _checked(path, origin)), folders) for path in paths]
    for path, full in zip(paths, found, strict=True):
        if not outside and not os.path.join(full, "").startswith(root):
            raise UserError(
                f"{origin} lists {path!r}, which leads out of {folder}. Set the source option outside to true if that "
                "is meant."
            )
    return found


def _checked(path: str, origin: str) -> str:
    """Returns a path that a table lists, with slashes for backslashes."""
    if "\0" in path:
        raise UserError(f"{origin} lists {path!r}, which is no path.")
    if os.name != "nt" and ntpath.splitdrive(path)[0]:
        raise UserError(
            f"{origin} lists {path!r}, a path of Windows, which is nowhere here. Write paths relative to the table."
        )
    return path.replace("\\", "/")


def _resolved(path: str, folders: dict[str, str]) -> str:
    """Returns a path without links, given those of folders, which grow; strings, since there are very many."""
    path = path if path.isascii() else str(spelled_as_on_disk(Path(path)))
    parent, name = os.path.split(path)
    if name in ("", ".", ".."):
        return os.path.realpath(path)
    if parent not in folders:
        folders[parent] = os.path.realpath(parent)
    known = os.path.join(folders[parent], name)
    return os.path.realpath(known) if os.path.islink(known) else known


def listed_paths(paths: pd.Series, *, origin: str) -> pd.Series:
    """Returns the paths that a manifest lists, with slashes for backslashes, each below the manifest's folder.

    Raises:
        UserError: one is blank or leads out; its row is named.
    """
    paths = paths.str.strip().str.replace("\\", "/", regex=False)
    if paths.isna().any():
        raise UserError(f"{origin}: {_row(paths, paths.isna())} lists no path.")
    check_inside(paths, origin=origin)
    return paths


def check_inside(paths: pd.Series, *, origin: str) -> None:
    """Checks that every path that a manifest lists stays below the manifest's folder.

    Raises:
        UserError: one does not; its row and itself are named.
    """
    outside = ~paths.map(is_inside).astype(bool)
    if outside.any():
        first = int(outside.to_numpy().argmax())
        raise UserError(f"{origin}: {_row(paths, outside)} lists {paths.iloc[first]!r}, which leads out of its folder.")


def _row(column: pd.Series, which: pd.Series) -> str:
    first = int(which.to_numpy().argmax())
    return f"row {column.index[first] if column.index.name == ROW else first}"
