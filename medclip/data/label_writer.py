"""Labels to files: rows as they come, so that memory does not grow and a killed run can go on."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from medclip.data.report_files import Report
from medclip.utils.io import write_atomically

logger = logging.getLogger(__name__)


class LabelWriter:
    """Writes CSV rows as they come, so that a killed run can go on.

    Rows go to `<file>.part`; a note beside the first says how many reports and bytes are complete. The files get their
    names, and become Parquet where their names say so, when everything is done.

    Args:
        heads: Columns by file, none for a file of JSON lines; no file for a writer that only counts.
        settings: What the rows depend on; a run with others starts again.
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
