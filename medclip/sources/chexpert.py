"""CheXpert: 224,316 radiographs of 65,240 patients (Irvin et al. 2019), and CheXpert Plus with its reports."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from labelers.errors import UserError
from labelers.observations import CHEXPERT14
from medclip.data.csv_files import listed_paths, read_csv, require_columns
from medclip.data.source import Source
from medclip.data.tables import check_images, check_texts, join_ids

_TABLES = ("train.csv", "valid.csv", "test.csv")
_PLUS = "df_chexpert_plus_*.csv"
_TEST_LABELS = ("test_labels.csv", "CheXpert/test_labels.csv", "groundtruth.csv", "test/groundtruth.csv")


class Chexpert(Source):
    """The official downloads: CheXpert-v1.0, CheXpert-v1.0-small, and CheXpert Plus in the same folder or alone.

    Images and labels come from train.csv and valid.csv; where there is CheXpert Plus only, from its table. Reports
    come from CheXpert Plus; studies keep their names, so they are pairs of CheXpert's own images.

    The test split is the official test set (500 studies, labelled by eight radiologists) where its labels are there,
    and the official validation set (200 studies, three radiologists) otherwise, as is custom. Validation patients are
    drawn from the training set.

    Args:
        root: The folder that holds train.csv, or the table of CheXpert Plus.
        views: "frontal", or "all" with the laterals.
        plus_labels: Labels of CheXpert Plus, where there is no train.csv: "impression", "findings" or "report", the
            text that CheXbert read.
    """

    name = "chexpert"
    blank_is_negative = True
    folders = ("CheXpert-v1.0", "CheXpert-v1.0-small", "chexpert", "CheXpert", "chexpertplus")
    layout = (
        "train.csv, valid.csv, train/patient00001/study1/view1_frontal.jpg, valid/...; for reports "
        "df_chexpert_plus_240401.csv"
    )
    obtain = (
        "https://stanfordaimi.azurewebsites.net/datasets/8cbd9ed4-2eb9-4565-affc-111cf4f7ebe2 (CheXpert) and "
        "https://stanfordaimi.azurewebsites.net/datasets/5158c524-d3ab-4e02-96e9-6ee9efc110a1 (CheXpert Plus), after "
        "registering and accepting the Stanford University Dataset Research Use Agreement"
    )
    population = "chexpert"

    def __init__(self, root: Path, *, views: str = "frontal", plus_labels: str = "impression") -> None:
        super().__init__(root)
        if views not in ("frontal", "all"):
            raise UserError(f"chexpert: views must be 'frontal' or 'all', found {views!r}.")
        if plus_labels not in ("impression", "findings", "report"):
            raise UserError(f"chexpert: plus_labels must be impression, findings or report, found {plus_labels!r}.")
        self.views, self.plus_labels = views, plus_labels

    def images(self) -> pd.DataFrame:
        """Returns the images with the 14 observations."""
        plus = self._plus()
        if plus is not None and not (self.root / "train.csv").exists():
            return check_images(self._read_plus_images(plus), origin=self.name)
        tests = self._test_labels()
        parts = [self._read(self.require("train.csv"), None)]
        if (self.root / "valid.csv").exists():
            parts.append(self._read(self.root / "valid.csv", self._official()["valid"]))
        if tests is not None:
            parts.append(self._read(tests, "test"))
        return check_images(pd.concat(parts, ignore_index=True), origin=self.name)

    def texts(self) -> pd.DataFrame | None:
        """Returns the reports of CheXpert Plus, one a study; None where it is not there.

        Some studies are in it with several anonymisations of one report; the first is taken.
        """
        path = self._plus()
        if path is None:
            return None
        wanted = ["path_to_image", "section_findings", "section_impression"]
        raw = read_csv(path, origin=self.name, needed=wanted, wanted=wanted)
        parts = listed_paths(raw["path_to_image"], origin=self.name).str.split("/")
        raw = raw.fillna("")
        raw = raw.assign(study_id=parts.str[1] + "/" + parts.str[2], patient_id=parts.str[1], folder=parts.str[0])
        raw = raw.drop_duplicates("study_id").reset_index(drop=True)
        findings, impression = (
            raw[f"section_{name}"].str.strip().map(lambda text, name=name: f"{name.upper()}: {text}" if text else "")
            for name in ("findings", "impression")
        )
        text = (findings + "\n\n" + impression).str.strip()
        table = raw[["study_id", "patient_id"]].assign(text=text, split=raw["folder"].map(self._official()))
        return check_texts(table, origin=self.name)

    def _official(self) -> dict[str, str]:
        """Returns the split that each folder of the download is; the validation set tests where there is no other."""
        return {"valid": "test"} if self._test_labels() is None else {"valid": "valid", "test": "test"}

    def _plus(self) -> Path | None:
        return next(iter(sorted(self.root.glob(_PLUS))), None)

    def _test_labels(self) -> Path | None:
        return next((self.root / name for name in _TEST_LABELS if (self.root / name).exists()), None)

    def _read(self, path: Path, split: str | None) -> pd.DataFrame:
        raw = read_csv(path, origin=self.name, needed=CHEXPERT14)
        if "Path" not in raw.columns and "Study" in raw.columns:  # the test labels come by study, too
            raw = self._with_paths(raw)
        require_columns(raw, ("Path",) if split == "test" else ("Path", "Sex", "Age"), origin=self.name, path=path)
        # "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg": the download's name stands first, except
        # in the labels of the test set.
        paths = listed_paths(raw["Path"], origin=self.name).str.replace(r"^(CheXpert[^/]*)/", "", regex=True)
        return check_images(self._table(raw, paths, split), origin=f"{self.name}, {path.name}")

    def _with_paths(self, raw: pd.DataFrame) -> pd.DataFrame:
        """Returns a row for each image on disk of each study."""
        studies = listed_paths(raw["Study"], origin=self.name).str.replace(r"^(CheXpert[^/]*)/", "", regex=True)
        files = studies.map(lambda study: sorted(p.name for p in (self.root / study).glob("view*.jpg")))
        raw = raw.assign(Path=studies, _file=files).explode("_file").dropna(subset=["_file"]).reset_index(drop=True)
        return raw.assign(Path=raw["Path"] + "/" + raw["_file"])

    def _read_plus_images(self, path: Path) -> pd.DataFrame:
        raw = read_csv(path, origin=self.name, needed=("path_to_image", "frontal_lateral"))
        labels = self._plus_states()
        raw = raw.rename(columns={"frontal_lateral": "Frontal/Lateral", "ap_pa": "AP/PA", "sex": "Sex", "age": "Age"})
        raw["path_to_image"] = listed_paths(raw["path_to_image"], origin=self.name)
        raw = raw.drop_duplicates("path_to_image")
        raw = join_ids(raw, labels, on="path_to_image", origin=self.name, what=f"the {self.plus_labels} labels")
        table = self._table(raw, raw["path_to_image"], None)
        folder, suffix = self._plus_files(str(table["image_id"].iloc[0]))
        files = table["image_id"].str.replace(r"\.\w+$", suffix, regex=True)
        split = table["image_id"].str.split("/").str[0].map(self._official())
        return table.assign(path=str(folder) + "/" + files, split=split.astype(object).where(split.notna(), None))

    def _plus_files(self, example: str) -> tuple[Path, str]:
        """Returns the folder and the suffix of the images: the table names .jpg files, the download has .png."""
        for folder in ("PNG/PNG", "PNG", "PNGs", "DICOM/DICOM", "DICOM", "."):
            for suffix in (".png", ".dcm", ".jpg"):
                if (self.root / folder / example).with_suffix(suffix).exists():
                    return self.root / folder, suffix
        return self.root / "PNG", ".png"

    def _plus_states(self) -> pd.DataFrame:
        """Returns the CheXbert labels that CheXpert Plus brings, by path_to_image."""
        name = f"{self.plus_labels}_fixed.json"
        path = self.require(f"chexbert_labels/{name}", name)
        with path.open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines if line.strip()]
        table = pd.DataFrame(rows)
        if "path_to_image" not in table.columns:
            raise UserError(f"chexpert: {path} has no path_to_image; found {', '.join(map(str, table.columns[:20]))}.")
        return table.drop_duplicates("path_to_image").set_index("path_to_image")[
            [column for column in CHEXPERT14 if column in table.columns]
        ]

    def _table(self, raw: pd.DataFrame, paths: pd.Series, split: str | None) -> pd.DataFrame:
        parts = paths.str.split("/")
        frontal = paths.str.contains("frontal")
        blank = pd.Series(None, index=raw.index, dtype=object)
        table = pd.DataFrame(
            {
                "image_id": paths,
                "study_id": parts.str[1] + "/" + parts.str[2],
                "patient_id": parts.str[1],
                "path": str(self.root) + "/" + paths,
                "view": raw.get("AP/PA", blank).where(frontal, "lateral"),
                "split": split,
                "age": raw.get("Age", blank),
                "sex": raw.get("Sex", blank).map({"Female": "F", "Male": "M"}),
                "race": raw.get("race", blank),
                **{name: raw[name] for name in CHEXPERT14 if name in raw.columns},
            }
        )
        return table[frontal].reset_index(drop=True) if self.views == "frontal" else table
