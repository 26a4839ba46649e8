"""Reports from wherever people keep them: one after the other, so that memory does not grow."""

from __future__ import annotations

import io
import logging
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from labelers.errors import UserError
from medclip.data.report_tables import TABLES, Report, kind_of, read_table
from medclip.data.text_files import LATIN, read_member, read_stdin, read_text

logger = logging.getLogger(__name__)

KINDS = (
    f"{', '.join(kind for kind in TABLES if kind not in ('.xls', '.xlsm'))} file (gzipped as .csv.gz, .tsv.gz, "
    ".jsonl.gz), a folder or .zip of .txt files, a .txt file, or - for one report on standard input"
)

__all__ = ["KINDS", "Report", "Reports", "read_reports"]


@dataclass(frozen=True)
class Reports:
    """A stream of reports.

    Attributes:
        stream: The reports, to be read once.
        total: Number of reports, 0 where that is not known beforehand.
    """

    stream: Iterator[Report]
    total: int


def read_reports(
    path: str, *, id_column: str = "", text_columns: Sequence[str] = (), lines: bool = False, encoding: str = ""
) -> Reports:
    """Returns the reports of a file, a folder or stdin (`-`).

    Files of text are named by their stem, or by their path where two have the same. What is no text, or longer than
    any report, is refused when its turn comes.

    Args:
        path: See `KINDS`.
        id_column: Column of a table that names a report; by default the first of `report_tables.ID_COLUMNS` that
            there is, else the row.
        text_columns: Columns of a table that hold the text, joined by blank lines; by default those of
            `report_tables.TEXT_COLUMNS` that there are.
        lines: Whether each line of stdin is a report of its own; otherwise all of it is one.
        encoding: The encoding, such as cp1252 or gb18030, where that is neither UTF-8 nor UTF-16. Files of text need
            none if they are in the Latin alphabet of Windows, which is said.

    Raises:
        FileNotFoundError: There is nothing at `path`.
        UserError: It is of another kind, or a column is missing.
    """
    seen: Counter[str] = Counter()
    if path == "-":
        if lines:
            return Reports(_stdin_lines(encoding), 0)
        return Reports(_said(iter([("stdin", read_stdin(encoding=encoding, seen=seen))]), seen, "stdin"), 1)
    place = Path(path)
    if place.is_dir():
        return _read_folder(place, encoding, seen)
    if not place.is_file():
        raise FileNotFoundError(f"There is no {place}. Name a {KINDS}.")
    kind = kind_of(place)
    if kind == ".txt":
        one = iter([(place.stem, read_text(place, encoding=encoding, seen=seen))])
        return Reports(_said(one, seen, str(place)), 1)
    if kind == ".zip":
        return _read_zip(place, encoding, seen)
    if kind not in TABLES:
        raise UserError(f"{place} is no {KINDS}.")
    return Reports(read_table(place, id_column=id_column, text_columns=text_columns, encoding=encoding), 0)


def _said(reports: Iterator[Report], seen: Counter[str], origin: str) -> Iterator[Report]:
    """Yields reports, and says at the end how many were taken to be in the Latin alphabet of Windows."""
    yield from reports
    if seen[LATIN]:
        logger.warning(
            "%s: %d of %d files of text are not UTF-8 and were taken as %s, the Latin alphabet of Windows; if they are "
            "of another one, name it with --encoding", origin, seen[LATIN], seen.total(), LATIN,
        )  # fmt: skip


def _stdin_lines(encoding: str) -> Iterator[Report]:
    if encoding and isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding=encoding)
    try:
        for number, line in enumerate(sys.stdin, start=1):
            if line.strip():
                yield f"line{number}", line
    except UnicodeDecodeError as error:
        raise UserError(
            f"stdin is not {encoding or 'UTF-8'} ({error.reason}). Name its encoding with --encoding."
        ) from error


def _read_folder(folder: Path, encoding: str, seen: Counter[str]) -> Reports:
    paths = sorted(path for path in folder.rglob("*") if _is_report(path.name) and path.is_file())
    if not paths:
        raise FileNotFoundError(f"{folder} holds no .txt files.")
    ids = _ids([PurePosixPath(path.relative_to(folder).as_posix()) for path in paths])
    texts = (read_text(path, encoding=encoding, seen=seen) for path in paths)
    return Reports(_said(zip(ids, texts, strict=True), seen, str(folder)), len(paths))


def _read_zip(path: Path, encoding: str, seen: Counter[str]) -> Reports:
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted(name for name in archive.namelist() if _is_report(PurePosixPath(name).name))
    except zipfile.BadZipFile as error:
        raise UserError(f"{path} is cut off or no .zip ({error}). Download it again.") from error
    if not members:
        raise FileNotFoundError(f"{path} holds no .txt files.")
    ids = _ids([PurePosixPath(name) for name in members])

    def stream() -> Iterator[Report]:
        with zipfile.ZipFile(path) as archive:
            for name, member in zip(ids, members, strict=True):
                yield name, read_member(archive, member, encoding=encoding, seen=seen)

    return Reports(_said(stream(), seen, str(path)), len(members))


def _is_report(name: str) -> bool:
    """Tells whether a file of this name holds a report; "._a.txt" is what macOS puts beside a.txt."""
    return name.lower().endswith(".txt") and not name.startswith("._")


def _ids(paths: Sequence[PurePosixPath]) -> list[str]:
    """Returns a name for each path: its stem, or the whole path where several have the same stem."""
    counts = Counter(path.stem for path in paths)
    return [path.stem if counts[path.stem] == 1 else str(path.with_suffix("")) for path in paths]
