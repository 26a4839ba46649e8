"""Any table of a user's own: image paths with labels, or texts, as CSV, Excel workbook or Parquet."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import pandas as pd

from labelers.errors import UserError
from labelers.observations import CHEXPERT14, SYNONYMS, states_from_names
from medclip.data.box_tables import EXPECTED, holds_boxes, image_ids, of_images, plain, positive_where_boxed, read_boxes
from medclip.data.columns import as_option, by_name, holding, refuse
from medclip.data.csv_files import files_below, listed, read_table
from medclip.data.source import Source
from medclip.data.tables import IMAGE_EXTRAS, as_ids, check_images, check_texts, joined_states
from medclip.utils.text import suggest

logger = logging.getLogger(__name__)

_IDS = ("image_id", "study_id", "patient_id")
_KNOWN = (*_IDS, "path", "text", *IMAGE_EXTRAS)
#: Sections that are joined where a table has no column of whole texts.
_SECTIONS = ("findings", "impression")
#: What was said, by table.
_SAID: set[tuple[Path, str]] = set()


class Csv(Source):
    """A table with a `path` column (images) or a `text` column (texts), one row each.

    `image_id`, `study_id`, `patient_id`, `view`, `split`, `age`, `sex` and `race` are taken where they exist, in
    capitals and under common other names, too (`Path`, `PatientID`, `MRN`, `report`); a column of image files or of
    reports under any name is told by what it holds. Which were taken is logged, and a choice between several refused.
    Without a study or patient id, each row is its own, which is said. Columns `findings` and `impression` are joined
    where there is no text. Labels are either one column per observation, holding 1, 0, -1 or blank, or one column of
    names (`labels_in`); of several columns that mean one observation, see `medclip.data.tables.joined_states`. Paths
    are relative to the table's folder. Rows without a path, with a blank id, or of a study that is of several patients,
    are left out and listed.

    Args:
        root: The table: a text file of columns with any common separator, gzipped or not, an Excel workbook (.xlsx; its
            first sheet) or a .parquet file.
        columns: Your column names for ours, such as `{path: file, patient_id: subject}`; several for text, such as
            `{text: [findings, impression]}` or findings+impression. The option `--columns` says the same.
        labels: The columns that hold one observation each; without it, every column named like an observation of
            `medclip`'s 14 or a known synonym.
        labels_in: A column that lists the names of what is present, such as ChestX-ray14's "Finding Labels".
        separator: Separator between the names in `labels_in`.
        select: Keep rows whose column holds one of the values, such as `{view: [PA, AP]}`.
        outside: Allow paths that lead out of the table's folder.
        population: Tables with the same one share their patients and studies; by default each has its own.
        text_labels: Whether the labels are those of the texts, too, which are then not read by a labeler; by default
            only where the table has no paths, so that they cannot be those of images.
        boxes: A table of boxes for the evaluator `grounding`, beside this table or by its full path. Its columns are
            image_id or path, called as here; x, y, width, height or x1, y1, x2, y2, in pixels of the image file; and
            observation, phrase or both. Without it, this table is one of boxes where it has such columns: rows with the
            same path (or image_id) are then boxes of one image, and without other labels their observations are
            positive.
        encoding: Encoding of a text file, such as cp1252, where it is neither UTF-8 nor UTF-16.
    """

    name = "csv"
    layout = "a .csv, .xlsx or .parquet file with a header and a column 'path' (images) or 'text' (texts)"
    obtain = "your own data"

    def __init__(
        self,
        root: Path,
        *,
        columns: Mapping[str, str | Sequence[str]] | None = None,
        labels: Sequence[str] | None = None,
        labels_in: str | None = None,
        separator: str = "|",
        select: Mapping[str, Sequence[object]] | None = None,
        outside: bool = False,
        population: str = "",
        text_labels: bool | None = None,
        boxes: str = "",
        encoding: str = "",
    ) -> None:
        super().__init__(root)
        self.columns, self.labels, self.labels_in = dict(columns or {}), labels, labels_in
        self.separator, self.select, self.outside = separator, dict(select or {}), outside
        self.population, self.text_labels = population or self.root.stem, text_labels
        self.encoding, self.box_file = encoding, boxes
        self._unsettled: dict[str, list[str]] = {}
        for ours, theirs in self.columns.items():
            if ours not in _KNOWN:
                raise UserError(f"csv: columns maps {ours!r}.{suggest(ours, list(_KNOWN))} Known: {', '.join(_KNOWN)}.")
            if ours != "text" and not isinstance(theirs, str):
                raise UserError(f"csv: columns maps {ours!r} to {theirs!r}; only text can be of several columns.")

    def images(self) -> pd.DataFrame | None:
        """Returns the image table, or None where there is no `path` column but one of texts."""
        raw = self._raw
        if "path" not in raw.columns:
            self._check_other("text", "path", raw)
            return None
        raw = self._complete(raw, ("path", *_IDS))
        if self._is_of_boxes(raw):
            raw = self._one_row_an_image(raw)
        table = raw[[name for name in _KNOWN if name in raw.columns and name != "text"]].copy()
        folder = self.root.parent.resolve()
        table["path"] = files_below(
            folder, raw["path"].astype(str).tolist(), origin=f"csv: {self.root.name}", outside=self.outside
        )
        if "image_id" not in table.columns:
            table.insert(0, "image_id", raw["path"])
        table = self._with_ids(table, _rows(raw) if "text" in raw.columns else table["image_id"])
        return check_images(pd.concat([table, self._states(raw)], axis=1), origin=str(self.root.name))

    def texts(self) -> pd.DataFrame | None:
        """Returns the text table, or None where there is no `text` column but one of paths."""
        raw = self._raw
        if "text" not in raw.columns:
            self._check_other("path", "text", raw)
            return None
        raw = self._complete(raw, ("study_id", "patient_id"))
        table = raw[[name for name in ("study_id", "patient_id", "text", "split") if name in raw.columns]].copy()
        table = self._with_ids(table, _rows(raw))
        labelled = "path" not in raw.columns if self.text_labels is None else self.text_labels
        if labelled:
            table = pd.concat([table, self._states(raw)], axis=1)
        return check_texts(table, origin=str(self.root.name))

    def splits(self) -> pd.DataFrame:
        """Returns what the table declares; without a column of splits nothing, and rows are not looked at."""
        return super().splits() if "split" in self._raw.columns else pd.DataFrame(columns=["patient_id", "split"])

    def boxes(self) -> pd.DataFrame | None:
        """Returns the boxes of the table named with the option `boxes`, or of this one; None where there are none."""
        raw = self._complete(self._raw, [name for name in ("path", *_IDS) if name in self._raw.columns])
        if not self.box_file:
            whole = raw.assign(image_id=image_ids(raw)) if self._is_of_boxes(raw) else None
            return None if whole is None else read_boxes(whole, origin=f"csv: {self.root.name}")
        path = self.root.parent / self.box_file
        if not path.is_file():
            raise FileNotFoundError(f"csv: there is no table of boxes {path}. Expected are columns {EXPECTED}.")
        read = read_table(path, origin=self.name)
        keys = {theirs: ours for ours, theirs in self.columns.items() if ours in ("path", "image_id")}
        read = read.rename(columns=keys)  # type: ignore[arg-type]
        return read_boxes(of_images(read, raw, path=path, images=self.root.name), origin=f"csv: {path.name}")

    def _is_of_boxes(self, raw: pd.DataFrame) -> bool:
        return not self.box_file and "path" in raw.columns and holds_boxes([str(name) for name in raw.columns])

    def _one_row_an_image(self, raw: pd.DataFrame) -> pd.DataFrame:
        """Returns the first row of each image of a table of boxes; without other labels, what is boxed is positive."""
        ids = image_ids(raw)
        first = raw.loc[~ids.duplicated()]
        if self.labels_in is not None or self._label_columns(raw):
            return first
        return positive_where_boxed(first, self.boxes())

    @cached_property
    def _raw(self) -> pd.DataFrame:
        """The table with our names for its columns; read once."""
        if not self.root.is_file():
            raise FileNotFoundError(self.missing([self.root]))
        raw = self._joined_text(self._named(read_table(self.root, origin=self.name, encoding=self.encoding)))
        for column, values in self.select.items():
            if column not in raw.columns:
                raise self._unknown(column, raw)
            raw = raw[_is_one_of(raw[column], values)]
        if raw.empty:
            raise UserError(f"csv: {self.root} has no rows{' left after select' if self.select else ''}.")
        return raw

    def _named(self, raw: pd.DataFrame) -> pd.DataFrame:
        """Returns the table with our names for its columns: those mapped, and others that are known."""
        mapped = self._mapped(raw)
        for theirs in mapped.values():
            if theirs not in raw.columns:
                raise self._unknown(theirs, raw)
        # A column whose name is ours but which is not meant gives way to the one that is.
        raw = raw.drop(columns=[name for name in self.columns if name in raw.columns and mapped.get(name) != name])
        raw = raw.rename(columns={theirs: ours for ours, theirs in mapped.items()})
        asked = {self.labels_in, *(self.labels or ()), *self.select, *self._several(), *mapped}
        missing = [ours for ours in _KNOWN if ours not in raw.columns and ours not in self.columns]
        free = [str(name) for name in raw.columns if name not in asked and name not in _KNOWN]
        found = by_name(raw, missing, free, origin=f"csv: {self.root.name}")
        found |= self._guessed(raw, [name for name in missing if name not in found.values()], found, free)
        if found:
            sections = [] if self._several() else self._sections([*raw.columns, *found.values()])
            said = found | ({"+".join(sections): "text"} if sections else {})
            read = [*self._label_columns(raw), *sections]
            left = [name for name in free if name not in found and name not in read]
            taken = ", ".join(f"{name} as {ours}" for name, ours in said.items())
            option = as_option({theirs: ours for ours, theirs in mapped.items()} | said)
            self._say(
                f"taken from the table: {taken}; not used: {', '.join(left[:30]) or 'nothing'}. To say it yourself: "
                f"{option}", level=logging.INFO,
            )  # fmt: skip
        return raw.rename(columns=found)

    def _guessed(
        self, raw: pd.DataFrame, missing: Sequence[str], found: Mapping[str, str], free: Sequence[str]
    ) -> dict[str, str]:
        """Returns the columns of paths and of texts by what they hold, where no name says it.

        Texts are looked for where a table has neither labels nor sections of reports nor boxes: a remark is no report.
        """
        labels, guessed = self._label_columns(raw), dict[str, str]()
        free = [name for name in free if name not in found and name not in labels]
        sections = any(name.lower() in _SECTIONS for name in free)
        no_text = labels or self.labels_in or sections or holds_boxes([str(name) for name in raw.columns])
        for ours in ("path", *(() if no_text else ("text",))):
            like = holding(raw, ours, [name for name in free if name not in guessed]) if ours in missing else []
            if len(like) == 1:
                guessed[like[0]] = ours
            elif like:
                self._unsettled[ours] = like  # refused where it is asked for
        return guessed

    def _several(self) -> Sequence[str]:
        """Returns the columns that the text is to be made of, where it is to be made of several."""
        theirs = self.columns.get("text", ())
        return () if isinstance(theirs, str) else theirs

    def _mapped(self, raw: pd.DataFrame) -> dict[str, str]:
        """Returns the columns that are mapped by ours; A+B of no column of that name is taken apart first."""
        text = self.columns.get("text")
        if isinstance(text, str) and text not in raw.columns and "+" in text:
            self.columns["text"] = [name.strip() for name in text.split("+")]
        return {ours: theirs for ours, theirs in self.columns.items() if isinstance(theirs, str)}

    def _joined_text(self, raw: pd.DataFrame) -> pd.DataFrame:
        """Returns the table with a text made of several columns, where that is asked for or there is no other."""
        asked = self._several()
        if "text" in raw.columns and not asked:
            return raw
        for name in asked:
            if name not in raw.columns:
                raise self._unknown(name, raw)
        parts = list(asked) or self._sections(raw.columns)
        if not parts:
            return raw
        texts = pd.Series("", index=raw.index, dtype=object)
        for name in parts:
            part = raw[name].fillna("").astype(str).str.strip()
            texts = texts + part.map(lambda text, name=name: f"{name.upper()}: {text}\n\n" if text else "")
        return raw.assign(text=texts.str.strip())

    def _sections(self, names: Iterable[str]) -> list[str]:
        """Returns the columns of sections that make the text, in their order; none where there is a text."""
        return [] if "text" in names else [name for name in names if str(name).lower() in _SECTIONS]

    def _check_other(self, other: str, column: str, raw: pd.DataFrame) -> None:
        """Says which column is looked for where several could be it, or the table has neither images nor texts."""
        if column in self._unsettled:
            refuse(column, self._unsettled[column], origin=f"csv: {self.root.name}")
        if other in raw.columns:
            return
        names = [str(name) for name in raw.columns]
        if len(names) == 1:
            raise UserError(
                f"csv: {self.root} has one column, {names[0]!r}, and needs {column!r}. If that is a title, remove it: "
                "the first line must be the names of the columns."
            )
        raise UserError(
            f"csv: {self.root} has no column {column!r}.{suggest(column, names)} Found: {', '.join(names[:30])}. Name "
            f"yours with --columns {column}=COLUMN, and others there too: "
            f"{', '.join(name for name in ('path', 'text', 'study_id', 'patient_id') if name != column)}."
        )

    def _complete(self, raw: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
        """Returns the rows that have what they need; the others are listed."""
        for name in columns:
            if name in raw.columns:
                raw = raw.assign(**{name: as_ids(raw[name])})
                blank = raw[name].isna() | (raw[name] == "")
                if blank.all():
                    raise UserError(f"csv: {self.root}: {name} is blank in every row.")
                if blank.any():
                    rows = list(raw.index[blank])
                    of = " of the images" if name == "path" else ""
                    self._say(f"{listed(rows)} left out{of}, whose {name} is blank")
                    raw = raw[~blank]
        return self._one_patient_a_study(raw)

    def _one_patient_a_study(self, raw: pd.DataFrame) -> pd.DataFrame:
        """Returns the rows whose study is of one patient; others would be paired and split with a stranger's."""
        if not {"study_id", "patient_id"} <= set(raw.columns):
            return raw
        several = raw.groupby("study_id")["patient_id"].transform("nunique") > 1
        if several.any():
            self._say(f"{listed(list(raw.index[several]))} left out, whose study_id is that of several patients")
        return raw[~several]

    def _unknown(self, column: str, raw: pd.DataFrame) -> UserError:
        names = [str(name) for name in raw.columns]
        return UserError(
            f"csv: {self.root} has no column {column!r}.{suggest(column, names)} Found: {', '.join(names[:30])}."
        )

    def _say(self, message: str, *, level: int = logging.WARNING) -> None:
        """Logs what is to be known of the table, once, also where it is read for images and again for texts."""
        if (self.root.absolute(), message) not in _SAID:
            _SAID.add((self.root.absolute(), message))
            logger.log(level, "csv: %s: %s", self.root.name, message)

    def _with_ids(self, table: pd.DataFrame, default: pd.Series) -> pd.DataFrame:
        if "patient_id" not in table.columns:
            each = "study" if "study_id" in table.columns else "row"
            self._say(
                f"no column of patient ids was found, so each {each} counts as a patient of its own, and one patient "
                "may be trained on and tested. Name it: --columns patient_id=COLUMN"
            )
        study = table["study_id"] if "study_id" in table.columns else default
        patient = table["patient_id"] if "patient_id" in table.columns else study
        return table.assign(study_id=study, patient_id=patient)

    def _states(self, raw: pd.DataFrame) -> pd.DataFrame:
        if self.labels_in is not None:
            if self.labels_in not in raw.columns:
                raise self._unknown(self.labels_in, raw)
            cells = raw[self.labels_in].fillna("").astype(str)
            named = [{name.strip() for name in text.split(self.separator) if name.strip()} for text in cells]
            return pd.DataFrame(states_from_names(named), index=raw.index)
        known = {plain(name): name for name in (*CHEXPERT14, *SYNONYMS)}
        wanted = self._label_columns(raw)
        for name in wanted:
            if name not in raw.columns:
                raise self._unknown(name, raw)
        states = raw[wanted].rename(columns=lambda name: known.get(plain(name), name))
        return joined_states(states, origin=f"{self.root.name}")

    def _label_columns(self, raw: pd.DataFrame) -> list[str]:
        known = {plain(name) for name in (*CHEXPERT14, *SYNONYMS)}
        return list(self.labels or [name for name in raw.columns if name not in _KNOWN and plain(name) in known])


def _rows(raw: pd.DataFrame) -> pd.Series:
    """Returns a name for each row, from its number in the file."""
    return pd.Series([f"row{number}" for number in raw.index], index=raw.index)


def _is_one_of(column: pd.Series, values: Sequence[object]) -> pd.Series:
    """Tells which rows hold one of `values`, as text or as the same number."""
    numbers = pd.to_numeric(pd.Series(list(values), dtype=object).astype(str), errors="coerce").dropna()
    as_text = column.astype(str).str.strip().isin([str(value) for value in values])
    return as_text | pd.to_numeric(column, errors="coerce").isin(numbers)
