"""Reading what others wrote: tables in any honest encoding, and paths that stay inside their folder."""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pandas as pd

from medclip.utils.text import suggest

_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_csv(
    path: Path,
    *,
    origin: str,
    needed: Sequence[str] = (),
    wanted: Sequence[str] | None = None,
    dtype: Mapping[str, Any] | type | None = None,
) -> pd.DataFrame:
    """Returns the table in the .csv or .csv.gz file at `path`; blanks around column names are taken off.

    UTF-8 and, by its mark, UTF-16 are understood. Other encodings cannot be told apart by looking, so they are
    refused with the first row that shows them.

    Args:
        path: the file.
        origin: the source, for messages.
        needed: columns that must be there.
        wanted: read these only, of those that are there.
        dtype: types of columns, as pandas takes them.

    Raises:
        ValueError: a column is missing, the file is empty, of another encoding, or no table.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:  # type: ignore[operator]
        head = file.read(4)
    encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "utf-8")
    columns = None if wanted is None else (lambda name: name.strip() in wanted)
    try:
        table = pd.read_csv(path, encoding=encoding, low_memory=False, index_col=False, dtype=dtype, usecols=columns)
    except UnicodeDecodeError:
        raise ValueError(_not_utf8(path, origin)) from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise ValueError(f"{origin}: {path} is no table ({error}).") from error
    table.columns = [str(name).strip() for name in table.columns]
    require_columns(table, needed, origin=origin, path=path)
    return table


def require_columns(table: pd.DataFrame, needed: Sequence[str], *, origin: str, path: Path) -> None:
    """Checks that `table` has the columns `needed`.

    Raises:
        ValueError: one is missing; the message names the nearest there is.
    """
    found = [str(name) for name in table.columns]
    missing = [name for name in needed if name not in found]
    if missing:
        more = ", ..." if len(found) > 20 else ""
        raise ValueError(
            f"{origin}: {path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}."
            f"{suggest(missing[0], found)} Found: {', '.join(found[:20])}{more}."
        )


def _not_utf8(path: Path, origin: str) -> str:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:  # type: ignore[operator]
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = f"0x{line[error.start]:02x}"
                return (
                    f"{origin}: {path} is not UTF-8: line {number} holds the byte {byte}. Save it as UTF-8, for "
                    f"instance with: iconv -f LATIN1 -t UTF-8 {path.name}"
                )
    return f"{origin}: {path} is not UTF-8. Save it as UTF-8."


def is_inside(path: str) -> bool:
    """Tells whether a path, taken as text, stays below the folder that it is relative to."""
    parts = PurePosixPath(path).parts
    return not (path.startswith(("/", "\\", "~")) or PureWindowsPath(path).drive or ".." in parts or "\\.." in path)


def check_inside(paths: pd.Series, *, origin: str) -> None:
    """Checks that every path that a manifest lists stays below the manifest's folder.

    Raises:
        ValueError: one does not; its row and itself are named.
    """
    inside = paths.map(is_inside)
    if not inside.all():
        row = int((~inside).to_numpy().argmax())
        raise ValueError(f"{origin}: row {row} lists {paths.iloc[row]!r}, which leads out of its folder.")
