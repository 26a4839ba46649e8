"""Any table of a user's own: image paths with labels, or texts, as CSV or Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from labelers.observations import SYNONYMS, states_from_names
from medclip.data.csv_files import read_csv
from medclip.data.source import Source
from medclip.data.tables import IMAGE_EXTRAS, check_images, check_texts
from medclip.utils.text import suggest

_IDS = ("image_id", "study_id", "patient_id")
_KNOWN = (*_IDS, "path", "text", *IMAGE_EXTRAS)


class Csv(Source):
    """A table with a `path` column (images) or a `text` column (texts), one row each.

    `image_id`, `study_id`, `patient_id`, `view`, `split`, `age` and `sex` are taken where they exist. Without a
    study or patient id, each row is its own. Labels are either one column per observation, holding 1, 0, -1 or
    blank, or one column of names (`labels_in`). Paths are relative to the table's folder.

    Args:
        root: the table, a .csv or .parquet file.
        columns: your column names for ours, such as `{path: file, patient_id: subject}`.
        labels: the columns that hold one observation each; without it, every column named like an observation of
            `medclip`'s 14 or a known synonym.
        labels_in: a column that lists the names of what is present, such as ChestX-ray14's "Finding Labels".
        separator: between the names in `labels_in`.
        select: keep rows whose column holds one of the values, such as `{view: [PA, AP]}`.
        outside: allow paths that lead out of the table's folder.
    """

    name = "csv"
    layout = "a .csv or .parquet file with a header and a column 'path' (images) or 'text' (texts)"
    obtain = "your own data"

    def __init__(
        self,
        root: Path,
        *,
        columns: Mapping[str, str] | None = None,
        labels: Sequence[str] | None = None,
        labels_in: str | None = None,
        separator: str = "|",
        select: Mapping[str, Sequence[object]] | None = None,
        outside: bool = False,
    ) -> None:
        super().__init__(root)
        self.columns, self.labels, self.labels_in = dict(columns or {}), labels, labels_in
        self.separator, self.select, self.outside = separator, dict(select or {}), outside
        self.population = self.root.stem
        for ours in self.columns:
            if ours not in _KNOWN:
                raise ValueError(
                    f"csv: columns maps {ours!r}.{suggest(ours, list(_KNOWN))} Known: {', '.join(_KNOWN)}."
                )

    def images(self) -> pd.DataFrame | None:
        """Returns the image table, or None where there is no `path` column."""
        raw = self._read()
        if "path" not in raw.columns:
            return None
        table = raw[[name for name in _KNOWN if name in raw.columns and name != "text"]].copy()
        table["path"] = [None if pd.isna(path) else self._inside(str(path)) for path in raw["path"]]
        if "image_id" not in table.columns:
            table.insert(0, "image_id", raw["path"])
        table = self._with_ids(table, table["image_id"])
        return check_images(table.assign(**self._states(raw)), origin=str(self.root.name))

    def texts(self) -> pd.DataFrame | None:
        """Returns the text table, or None where there is no `text` column."""
        raw = self._read()
        if "text" not in raw.columns:
            return None
        table = raw[[name for name in ("study_id", "patient_id", "text", "split") if name in raw.columns]].copy()
        rows = pd.Series([f"row{i}" for i in range(len(raw))])
        return check_texts(self._with_ids(table, rows), origin=str(self.root.name))

    def _read(self) -> pd.DataFrame:
        if self.root.suffix == ".parquet":
            raw = pd.read_parquet(self.root)
        elif self.root.is_file():
            raw = read_csv(self.root, origin=self.name)
        else:
            raise FileNotFoundError(self.missing([self.root]))
        for theirs in self.columns.values():
            if theirs not in raw.columns:
                raise self._unknown(theirs, raw)
        # A column whose name is ours but which is not meant gives way to the one that is.
        taken = [name for name in self.columns if name in raw.columns and self.columns[name] != name]
        raw = raw.drop(columns=taken).rename(columns={theirs: ours for ours, theirs in self.columns.items()})
        for column, values in self.select.items():
            if column not in raw.columns:
                raise self._unknown(column, raw)
            raw = raw[raw[column].isin(list(values))]
        if raw.empty:
            raise ValueError(f"csv: {self.root} has no rows{' left after select' if self.select else ''}.")
        return raw.reset_index(drop=True)

    def _unknown(self, column: str, raw: pd.DataFrame) -> ValueError:
        names = [str(name) for name in raw.columns]
        return ValueError(
            f"csv: {self.root} has no column {column!r}.{suggest(column, names)} Found: {', '.join(names[:30])}."
        )

    def _with_ids(self, table: pd.DataFrame, default: pd.Series) -> pd.DataFrame:
        study = table["study_id"] if "study_id" in table.columns else default
        patient = table["patient_id"] if "patient_id" in table.columns else study
        return table.assign(study_id=study, patient_id=patient)

    def _states(self, raw: pd.DataFrame) -> dict[str, pd.Series]:
        if self.labels_in is not None:
            if self.labels_in not in raw.columns:
                raise self._unknown(self.labels_in, raw)
            listed = raw[self.labels_in].fillna("").astype(str)
            named = [{name.strip() for name in text.split(self.separator) if name.strip()} for text in listed]
            return {name: pd.Series(column) for name, column in states_from_names(named).items()}
        from labelers.observations import CHEXPERT14

        wanted = self.labels or [name for name in raw.columns if name in CHEXPERT14 or name in SYNONYMS]
        for name in wanted:
            if name not in raw.columns:
                raise self._unknown(name, raw)
        return {SYNONYMS.get(name, name): raw[name] for name in wanted}

    def _inside(self, path: str) -> str:
        folder = self.root.parent.resolve()
        if "\0" in path:
            raise ValueError(f"csv: {self.root.name} lists {path!r}, which is no path.")
        full = (folder / path).resolve()
        if not self.outside and not full.is_relative_to(folder):
            raise ValueError(
                f"csv: {self.root.name} lists {path!r}, which leads out of {folder}. "
                "Set the source option outside to true if that is meant."
            )
        return str(full)
