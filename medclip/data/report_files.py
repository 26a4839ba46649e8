"""Reports from wherever people keep them, and labels to files: one after the other, so that memory does not grow."""

from __future__ import annotations

import json
import logging
import os
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from medclip.utils.io import write_atomically
from medclip.utils.text import suggest

logger = logging.getLogger(__name__)

ID_COLUMNS = ("study_id", "id", "report_id", "uid")
TEXT_COLUMNS = ("text", "report", "findings", "impression")
KINDS = ".csv, .parquet or .jsonl, a folder or .zip of .txt files, or - for texts on stdin, one a line"
_ROWS = 5000

#: A report: its id and its text.
Report = tuple[str, str]


@dataclass(frozen=True)
class Reports:
    """A stream of reports.

    Attributes:
        stream: the reports, to be read once.
        total: how many there are, 0 where that is not known beforehand.
    """

    stream: Iterator[Report]
    total: int


def read_reports(path: str, *, id_column: str = "", text_columns: Sequence[str] = ()) -> Reports:
    """Returns the reports of a file, a folder or stdin (`-`).

    Args:
        path: see `KINDS`.
        id_column: of a table; by default the first of `ID_COLUMNS` there is, else the row.
        text_columns: of a table, joined by blank lines; by default those of `TEXT_COLUMNS` there are.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: it is of another kind, or a column is missing.
    """
    if path == "-":
        return Reports(((f"line{i}", line) for i, line in enumerate(sys.stdin, start=1) if line.strip()), 0)
    place = Path(path)
    if place.is_dir():
        files = sorted(place.rglob("*.txt"))
        if not files:
            raise FileNotFoundError(f"{place} holds no .txt files.")
        return Reports(((file.stem, file.read_text(encoding="utf-8", errors="replace")) for file in files), len(files))
    if not place.is_file():
        raise FileNotFoundError(f"There is no {place}. Name a {KINDS}.")
    if place.suffix == ".txt":
        return Reports(iter([(place.stem, place.read_text(encoding="utf-8", errors="replace"))]), 1)
    if place.suffix == ".zip":
        return _read_zip(place)
    readers = {".csv": _csv_rows, ".parquet": _parquet_rows, ".jsonl": _jsonl_rows}
    if place.suffix not in readers:
        raise ValueError(f"{place} is no {KINDS}.")
    return Reports(_table(place, readers[place.suffix](place), id_column, list(text_columns)), 0)


def _read_zip(path: Path) -> Reports:
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".txt"))
    if not names:
        raise FileNotFoundError(f"{path} holds no .txt files.")

    def stream() -> Iterator[Report]:
        with zipfile.ZipFile(path) as archive:
            for name in names:
                yield PurePosixPath(name).stem, archive.read(name).decode("utf-8", errors="replace")

    return Reports(stream(), len(names))


def _table(path: Path, tables: Iterable[pd.DataFrame], id_column: str, text_columns: list[str]) -> Iterator[Report]:
    """Returns the reports of the pieces of a table; its columns are checked before the first is asked for."""
    pieces = iter(tables)
    first = next(pieces, None)
    if first is None:
        return iter(())
    names = [str(name) for name in first.columns]
    texts = text_columns or [name for name in TEXT_COLUMNS if name in names]
    identity = id_column or next((name for name in ID_COLUMNS if name in names), "")
    for wanted in (*texts, *([identity] if identity else [])):
        if wanted not in names:
            raise ValueError(
                f"{path} has no column {wanted!r}.{suggest(wanted, names)} Found: {', '.join(names[:30])}."
            )
    if not texts:
        raise ValueError(
            f"{path}: which column holds the text? Name it with --text-column. Found: {', '.join(names[:30])}."
        )

    def stream() -> Iterator[Report]:
        row = 0
        for piece in _chain(first, pieces):
            columns = [piece[name].fillna("").astype(str) for name in texts]
            ids = piece[identity].astype(str) if identity else [f"row{row + i}" for i in range(len(piece))]
            row += len(piece)
            for name, *parts in zip(ids, *columns, strict=True):
                yield name, "\n\n".join(part for part in parts if part)

    return stream()


def _chain(first: pd.DataFrame, rest: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    yield first
    yield from rest


def _csv_rows(path: Path) -> Iterator[pd.DataFrame]:
    try:
        with pd.read_csv(path, dtype=str, keep_default_na=False, chunksize=_ROWS) as pieces:
            yield from pieces
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}). Save it as UTF-8.") from error
    except pd.errors.ParserError as error:
        raise ValueError(f"{path} is no well-formed CSV: {error}") from error


def _parquet_rows(path: Path) -> Iterator[pd.DataFrame]:
    import pyarrow.parquet

    for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=_ROWS):
        yield batch.to_pandas()


def _jsonl_rows(path: Path) -> Iterator[pd.DataFrame]:
    rows: list[dict[str, object]] = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line) if line.strip() else None
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number}: no JSON ({error.msg}). Write one object a line.") from error
            if isinstance(row, dict):
                rows.append(row)
            if len(rows) == _ROWS:
                yield pd.DataFrame(rows)
                rows = []
    if rows:
        yield pd.DataFrame(rows)


class LabelWriter:
    """Writes CSV rows as they come, so that a killed run can go on.

    Rows go to `<file>.part`; a note beside the first says how many reports and bytes are complete. The files get their
    names, and become Parquet where their names say so, when everything is done.

    Args:
        heads: columns by file, none for a file of JSON lines; no file for a writer that only counts.
        settings: what the rows depend on; a run with others starts again.
    """

    def __init__(self, heads: Mapping[str, Sequence[str]], *, settings: Mapping[str, object]) -> None:
        self.done = 0
        self._settings = dict(settings)
        self._parts = {name: Path(f"{name}.part") for name in heads}
        self._note = Path(f"{next(iter(heads), '')}.part.json")
        note = json.loads(self._note.read_text()) if heads and self._note.is_file() else {}
        if note.get("settings") == self._settings and all(part.is_file() for part in self._parts.values()):
            self.done = note["done"]
            for name, part in self._parts.items():
                os.truncate(part, note["bytes"][name])
            logger.info("Going on after %d reports", self.done)
            return
        for name, part in self._parts.items():
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(",".join(heads[name]) + "\n" if heads[name] else "", encoding="utf-8")

    def remaining(self, chunks: Iterable[list[Report]]) -> Iterator[list[Report]]:
        """Yields those chunks that are not yet written."""
        seen = 0
        for chunk in chunks:
            seen += len(chunk)
            if seen > self.done:
                yield chunk

    def append(self, count: int, *rows: str) -> None:
        """Adds the rows of one chunk of `count` reports to each file and notes that they are complete."""
        self.done += count
        if not self._parts:
            return
        sizes = {}
        for (name, part), lines in zip(self._parts.items(), rows, strict=False):
            with part.open("a", encoding="utf-8", newline="") as file:
                file.write(lines)
            sizes[name] = part.stat().st_size
        note = json.dumps({"settings": self._settings, "done": self.done, "bytes": sizes})
        write_atomically(self._note, lambda path: path.write_text(note))

    def finish(self) -> int:
        """Gives the files their names; returns how many reports there were."""
        for name, part in self._parts.items() if self.done else ():
            if name.endswith(".parquet"):
                _to_parquet(part, Path(name))
                part.unlink()
            else:
                os.replace(part, name)
        if self._parts:
            self._note.unlink(missing_ok=True)
        return self.done


def _to_parquet(part: Path, target: Path) -> None:
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    names = part.open(encoding="utf-8").readline().strip().split(",")
    texts = ("id", "section", "text")
    types = {name: pyarrow.string() if name in texts else pyarrow.int32() for name in names}
    convert = pyarrow.csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=False)
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)

    def write(path: Path) -> None:
        with (
            pyarrow.csv.open_csv(part, convert_options=convert, parse_options=parse) as rows,
            pyarrow.parquet.ParquetWriter(path, rows.schema) as writer,
        ):
            for batch in rows:
                writer.write_batch(batch)

    write_atomically(target, write)
