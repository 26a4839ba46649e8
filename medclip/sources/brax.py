"""BRAX: 40,967 radiographs of a Brazilian hospital, labels mined from Portuguese reports (Reis et al. 2022).

Layout: https://physionet.org/content/brax/1.1.0/. Reports are not part of it.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from labelers.errors import UserError
from labelers.observations import CHEXPERT14
from medclip.data.csv_files import listed_paths, read_csv
from medclip.data.source import Source
from medclip.data.tables import check_images

_FRONTAL = ("PA", "AP")


class Brax(Source):
    """The PhysioNet download: one table, and the images as PNG or DICOM.

    Args:
        root: The folder that holds master_spreadsheet_update.csv.
        views: "frontal" (PA and AP), or "all".
    """

    name = "brax"
    blank_is_negative = True
    folders = ("brax", "brax/1.1.0", "physionet.org/files/brax/1.1.0", "BRAX")
    marks = ("master_spreadsheet*.csv",)
    layout = "master_spreadsheet_update.csv and images/id_*/Study_*/Series_*/*.png (or Anonymized_DICOMs/.../*.dcm)"
    obtain = (
        "https://physionet.org/content/brax/, as a credentialed PhysioNet user, under the PhysioNet Credentialed "
        "Health Data Use Agreement 1.5.0"
    )
    population = "brax"

    def __init__(self, root: Path, *, views: str = "frontal") -> None:
        super().__init__(root)
        if views not in ("frontal", "all"):
            raise UserError(f"brax: views must be 'frontal' or 'all', found {views!r}.")
        self.views = views

    def images(self) -> pd.DataFrame:
        """Returns the images with the 14 observations; ages are the lower ends of groups of five years."""
        path = self.require("master_spreadsheet_update.csv", "master_spreadsheet.csv")
        needed = ("PngPath", "PatientID", "AccessionNumber", "ViewPosition", *CHEXPERT14)
        raw = read_csv(path, origin=self.name, needed=needed)
        if self.views == "frontal":
            raw = raw[raw["ViewPosition"].isin(_FRONTAL)]
        png = listed_paths(raw["PngPath"], origin=f"{self.name}, {path.name}")
        files = png if (self.root / "images").is_dir() or "DicomPath" not in raw.columns else raw["DicomPath"]
        files = listed_paths(files, origin=f"{self.name}, {path.name}")
        table = pd.DataFrame(
            {
                "image_id": png,
                "study_id": raw["AccessionNumber"],
                "patient_id": raw["PatientID"],
                "path": str(self.root) + "/" + files,
                "view": raw["ViewPosition"],
                "age": raw["PatientAge"].str.extract(r"^(\d+)")[0] if "PatientAge" in raw.columns else None,
                "sex": raw.get("PatientSex"),
                **{name: raw[name] for name in CHEXPERT14},
            }
        )
        return check_images(table, origin=f"{self.name}, {path.name}")
