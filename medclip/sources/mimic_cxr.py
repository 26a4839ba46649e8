"""MIMIC-CXR: 377,110 radiographs of 227,835 studies, as JPEG (MIMIC-CXR-JPG) or DICOM (Johnson et al. 2019)."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from labelers.errors import UserError
from labelers.observations import CHEXPERT14, SYNONYMS
from medclip.data.csv_files import listed_paths, read_csv
from medclip.data.source import Source
from medclip.data.tables import as_ids, check_images, join_ids, joined_states
from medclip.utils.plugins import load_plugin

logger = logging.getLogger(__name__)

LABELS = ("chexpert", "negbio", "reports")
_FRONTAL = ("PA", "AP")


class MimicCxr(Source):
    """The official downloads: MIMIC-CXR-JPG 2.0.0 or 2.1.0, or the DICOM files of MIMIC-CXR 2.0.0.

    Splits are the official ones. The test split of 2.1.0 has labels by a radiologist, which are taken where their
    file is there.

    Args:
        root: The folder that holds files/ and the tables, as .csv.gz or .csv.
        views: "frontal" (PA and AP), or "all".
        labels: "chexpert" or "negbio", the published label files; or "reports", our own labels of the reports.
        reports: Folder of `mimic-reports`, for labels "reports"; by default the same folder.
    """

    name = "mimic-cxr"
    blank_is_negative = True
    folders = (
        "mimic-cxr-jpg", "mimic-cxr-jpg/2.1.0", "mimic-cxr-jpg/2.0.0", "physionet.org/files/mimic-cxr-jpg/2.1.0",
        "physionet.org/files/mimic-cxr-jpg/2.0.0", "mimic-cxr", "mimic-cxr/2.1.0", "mimic-cxr/2.0.0",
        "physionet.org/files/mimic-cxr/2.1.0", "physionet.org/files/mimic-cxr/2.0.0",
    )  # fmt: skip
    marks = ("mimic-cxr-*-metadata.csv*", "cxr-record-list.csv*")
    layout = (
        "mimic-cxr-2.0.0-metadata.csv.gz, -split.csv.gz, -chexpert.csv.gz, -negbio.csv.gz and "
        "files/p10/p10000032/s50414267/*.jpg; or cxr-record-list.csv.gz and *.dcm"
    )
    obtain = (
        "https://physionet.org/content/mimic-cxr-jpg/ or https://physionet.org/content/mimic-cxr/, as a credentialed "
        "PhysioNet user with the required training, under the PhysioNet Credentialed Health Data Use Agreement 1.5.0"
    )
    population = "mimic-cxr"

    def __init__(
        self, root: Path, *, views: str = "frontal", labels: str = "chexpert", reports: str | None = None
    ) -> None:
        super().__init__(root)
        if views not in ("frontal", "all"):
            raise UserError(f"mimic-cxr: views must be 'frontal' or 'all', found {views!r}.")
        if labels not in LABELS:
            raise UserError(f"mimic-cxr: labels must be {', '.join(LABELS)}, found {labels!r}.")
        self.views, self.labels, self.reports = views, labels, reports

    def images(self) -> pd.DataFrame:
        """Returns the images with their views, splits and the labels asked for."""
        images = self._listed()
        if self.views == "frontal" and images["view"].notna().any():
            images = images[images["view"].isin(_FRONTAL)]
        splits = split_file(self.root)
        if splits is not None:
            official = read_splits(splits).set_index("dicom_id")["split"]
            images = join_ids(images, official, on="image_id", origin=self.name, what=splits.name)
        else:
            logger.warning("mimic-cxr: no mimic-cxr-*-split.csv.gz was found, so that the official split is not known")
        if self.labels != "reports":
            what = f"the {self.labels} labels"
            images = join_ids(images, self._states(), on="study_id", origin=self.name, what=what)
        return check_images(images, origin=self.name)

    def splits(self) -> pd.DataFrame:
        """Returns patient_id and split of every row of the official split file; none where it is not there."""
        return official_splits(self.root)

    def texts(self) -> pd.DataFrame | None:
        """Returns the reports where labels are to be made of them, otherwise None; train on `mimic-reports`."""
        if self.labels != "reports":
            return None
        kind = load_plugin("sources", "mimic-reports")
        return kind(Path(self.reports) if self.reports else self.root).texts()

    def _listed(self) -> pd.DataFrame:
        """Returns ids, paths and views: from the metadata of the JPEGs, or the list of DICOM records."""
        metadata = self._table_file("metadata")
        if metadata is not None:
            needed = ("dicom_id", "subject_id", "study_id")
            raw = read_csv(metadata, origin=self.name, needed=needed, wanted=(*needed, "ViewPosition"))
            raw = with_ids(raw)
            subject, study = "p" + raw["subject_id"], "s" + raw["study_id"]
            path = "files/" + subject.str[:3] + "/" + subject + "/" + study + "/" + raw["dicom_id"] + ".jpg"
            view = raw["ViewPosition"] if "ViewPosition" in raw.columns else None
        else:
            records = self.require("cxr-record-list.csv.gz", "cxr-record-list.csv", "mimic-cxr-2.0.0-metadata.csv.gz")
            raw = read_csv(records, origin=self.name, needed=("dicom_id", "subject_id", "study_id", "path"))
            raw = with_ids(raw)
            path, view = raw["path"], None
        path = listed_paths(path, origin=self.name)
        return pd.DataFrame(
            {
                "image_id": raw["dicom_id"],
                "study_id": raw["study_id"],
                "patient_id": raw["subject_id"],
                "path": str(self.root) + "/" + path,
                "view": view,
            }
        )

    def _states(self) -> pd.DataFrame:
        path = self._table_file(self.labels)
        if path is None:
            raise FileNotFoundError(self.missing([self.root / f"mimic-cxr-2.0.0-{self.labels}.csv.gz"]))
        states = self._read_states(path)
        expert = next(iter(sorted(self.root.glob("mimic-cxr-2.1.0-test-set-labeled.csv*"))), None)
        if expert is not None:
            # The radiologist's row replaces the mined one; who is not in the file keeps theirs.
            labelled = self._read_states(expert)
            states = pd.concat([states[~states.index.isin(labelled.index)], labelled])
        return states

    def _read_states(self, path: Path) -> pd.DataFrame:
        raw = with_ids(read_csv(path, origin=self.name, needed=("study_id",)))
        raw = raw.drop_duplicates("study_id").set_index("study_id")
        states = raw[[name for name in raw.columns if SYNONYMS.get(name, name) in CHEXPERT14]]
        if states.empty:
            raise UserError(f"mimic-cxr: {path} has none of the 14 observations; found {', '.join(raw.columns[:20])}.")
        return joined_states(states, origin=f"{self.name}, {path.name}")

    def _table_file(self, kind: str) -> Path | None:
        return newest(self.root, kind)


def newest(folder: Path, kind: str) -> Path | None:
    """Returns the newest of mimic-cxr-*-KIND.csv.gz (or .csv) in `folder`, or None."""
    found = [path for end in ("csv.gz", "csv") for path in sorted(folder.glob(f"mimic-cxr-*-{kind}.{end}"))]
    return found[-1] if found else None


def with_ids(raw: pd.DataFrame) -> pd.DataFrame:
    """Returns a table with MIMIC's ids as its own tables spell them: 50414267 for s50414267 and 50414267.0."""
    for name, letter in (("study_id", "s"), ("subject_id", "p")):
        if name in raw.columns:
            raw[name] = as_ids(raw[name]).str.replace(rf"^{letter}(?=\d)|\.0$", "", regex=True)
    return raw


def split_file(root: Path) -> Path | None:
    """Returns the official split file, which ships with the JPEGs: in `root`, or where PhysioNet's wget puts it.

    Below physionet.org/files, or any folder that stands for it, mimic-cxr/2.1.0 holds the reports, and
    mimic-cxr-jpg/2.1.0 the file.
    """
    folder = root if root.is_dir() else root.parent
    for above in (folder, *list(folder.absolute().parents)[:4]):
        for place in (above, *(above / name for name in MimicCxr.folders)):
            if place.is_dir() and (found := newest(place, "split")) is not None:
                return found
    return None


def read_splits(path: Path) -> pd.DataFrame:
    """Returns dicom_id, study_id, subject_id and split (train, valid, test) of the official split file."""
    needed = ("dicom_id", "study_id", "subject_id", "split")
    raw = with_ids(read_csv(path, origin=MimicCxr.name, needed=needed, wanted=needed))
    return raw.assign(split=raw["split"].str.strip().replace("validate", "valid"))


def official_splits(root: Path) -> pd.DataFrame:
    """Returns patient_id and split of the official split file that belongs to `root`; no rows where there is none."""
    path = split_file(root)
    if path is None:
        return pd.DataFrame(columns=["patient_id", "split"])
    rows = read_splits(path).rename(columns={"subject_id": "patient_id"})
    return rows[["patient_id", "split"]].drop_duplicates().reset_index(drop=True)
