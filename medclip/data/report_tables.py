"""Tables of reports, one row a report, its text in one column or several; in pieces, so that memory does not grow."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from labelers.errors import UserError
from medclip.data.csv_files import csv_pieces
from medclip.data.tables import as_ids
from medclip.data.text_files import open_text
from medclip.utils.text import suggest

logger = logging.getLogger(__name__)

ID_COLUMNS = ("study_id", "id", "report_id", "uid", "study", "accession_number", "accession")
TEXT_COLUMNS = ("text", "report", "findings", "impression")
_ROWS = 5000
_SHOWN = 30

#: A report: its id and its text.
Report = tuple[str, str]


def kind_of(path: Path) -> str:
    """Returns the suffix that says how to read `path`, in lower case, without that of gzip."""
    name = path.name.lower().removesuffix(".gz")
    return f".{name.rpartition('.')[2]}" if "." in name else ""


def read_table(path: Path, *, id_column: str, text_columns: Sequence[str], encoding: str = "") -> Iterator[Report]:
    """Returns the reports of a table; its columns are checked before the first is asked for.

    Args:
        path: The file.
        id_column: The column that names a report; "" for the first of `ID_COLUMNS` there is, else the row.
        text_columns: The columns with the text; none for those of `TEXT_COLUMNS` there are.
        encoding: The encoding, where that is neither UTF-8 nor UTF-16.

    Raises:
        UserError: A column is missing, or the file cannot be read as what its name says.
    """
    pieces = iter(TABLES[kind_of(path)](path, encoding))
    first = next(pieces, None)
    if first is None:
        return iter(())
    identity, texts = _columns(path, [str(name) for name in first.columns], id_column, text_columns)
    return _reports(path, chain([first], pieces), identity, texts)


def _columns(
    path: Path, names: Sequence[str], id_column: str, text_columns: Sequence[str]
) -> tuple[str, Sequence[str]]:
    """Returns the column of the ids, "" where there is none, and those of the text."""
    like = {name.lower().replace(" ", "_"): name for name in reversed(names)}
    texts = text_columns or [like[name] for name in TEXT_COLUMNS if name in like]
    identity = id_column or next((like[name] for name in ID_COLUMNS if name in like), "")
    for wanted in (*texts, *([identity] if identity else [])):
        if wanted not in names:
            raise UserError(
                f"{path} has no column {wanted!r}.{suggest(wanted, names)} Found: {', '.join(names[:_SHOWN])}."
            )
    if not texts:
        raise UserError(
            f"{path}: which column holds the text? Name it with --text-column. Found: {', '.join(names[:_SHOWN])}."
        )
    return identity, texts


def _reports(path: Path, pieces: Iterable[pd.DataFrame], identity: str, texts: Sequence[str]) -> Iterator[Report]:
    row = unnamed = 0
    for piece in pieces:
        columns = [_texts(piece, name, path) for name in texts]
        rows = [f"row{row + i}" for i in range(len(piece))]
        ids = (
            as_ids(piece[identity]).fillna("").tolist() if identity and identity in piece.columns else [""] * len(rows)
        )
        row += len(piece)
        unnamed += ids.count("")
        for number, name, *parts in zip(rows, ids, *columns, strict=True):
            yield name or number, "\n\n".join(part for part in parts if part)
    if identity and unnamed:
        logger.warning("%s: %d of %d reports have no %s; they are named by their row", path, unnamed, row, identity)


def _texts(piece: pd.DataFrame, name: str, path: Path) -> list[str]:
    """Returns a column as texts; a piece of JSON lines may lack a column that others have."""
    if name not in piece.columns:
        return [""] * len(piece)
    values = piece[name].tolist()
    if any(isinstance(value, list | dict) for value in values):
        raise UserError(f"{path}: column {name!r} holds lists or objects; expected text.")
    return ["" if pd.isna(value) else str(value) for value in values]


def _csv(path: Path, encoding: str) -> Iterator[pd.DataFrame]:
    return csv_pieces(path, origin="reports", rows=_ROWS, encoding=encoding)


def _parquet(path: Path, _encoding: str) -> Iterator[pd.DataFrame]:
    import pyarrow
    import pyarrow.parquet

    try:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=_ROWS):
            yield batch.to_pandas()
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"{path} is no Parquet file, or damaged ({error}).") from error


def _json_lines(path: Path, encoding: str) -> Iterator[pd.DataFrame]:
    rows: list[dict[str, Any]] = []
    with open_text(path, "reports", encoding=encoding) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{path}, line {number}: no JSON ({error.msg}). Write one object a line.") from error
            if not isinstance(row, dict):
                raise UserError(f"{path}, line {number}: found {type(row).__name__}; expected an object.")
            rows.append(row)
            if len(rows) == _ROWS:
                yield pd.DataFrame(rows)
                rows = []
    if rows:
        yield pd.DataFrame(rows)


def _json(path: Path, encoding: str) -> Iterator[pd.DataFrame]:
    """Yields the table of a JSON file: a list of objects, or an object of texts or objects by id; or JSON lines."""
    with open_text(path, "reports", encoding=encoding) as file:
        text = file.read()
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            yield from _json_lines(path, encoding)
            return
        raise UserError(f"{path}, line {error.lineno}: no JSON ({error.msg}).") from error
    if isinstance(content, dict) and any(name in TEXT_COLUMNS for name in content):
        content = [content]
    elif isinstance(content, dict) and all(isinstance(value, str) for value in content.values()):
        content = [{"id": name, "text": value} for name, value in content.items()]
    elif isinstance(content, dict) and all(isinstance(value, dict) for value in content.values()):
        content = [{"id": name, **value} for name, value in content.items()]
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise UserError(f"{path}: expected a list of objects, one a report, or an object of texts by id.")
    if content:
        yield pd.DataFrame(content)


#: The kinds of tables, by suffix, and what reads them.
TABLES: dict[str, Callable[[Path, str], Iterator[pd.DataFrame]]] = {
    ".csv": _csv, ".tsv": _csv, ".xlsx": _csv, ".xlsm": _csv, ".xls": _csv,
    ".parquet": _parquet, ".jsonl": _json_lines, ".ndjson": _json_lines, ".json": _json,
}  # fmt: skip
