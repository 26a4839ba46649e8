"""PadChest-GR: 4,555 studies of PadChest with sentences in two languages and boxes (Castro et al. 2024).

Layout: https://bimcv.cipf.es/bimcv-projects/padchest-gr/ and https://arxiv.org/abs/2411.05085.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from labelers.errors import UserError
from labelers.observations import NO_FINDING
from medclip.data.csv_files import listed_paths, read_csv
from medclip.data.images import image_shape
from medclip.data.source import Source
from medclip.data.tables import check_boxes, check_images, check_texts, join_ids
from medclip.sources.padchest import OBSERVATIONS, columns_of, observations_by_label, observations_in

_IMAGES = ("Padchest_GR_files/PadChest_GR", "PadChest_GR", "Padchest_GR_files")


class PadchestGr(Source):
    """The download: one JSON file of studies, the table with the official splits, and the images.

    Patients and images have PadChest's ids. A study's sentences are its report.

    Args:
        root: The folder that holds grounded_reports_20240819.json and master_table.csv.
        language: "en" or "es", of the texts.
        labels: Columns: "chexpert14", or "cxr-lt-2026" for the observations of that challenge.
    """

    name = "padchest-gr"
    folders = ("PadChest-GR", "BIMCV-Padchest-GR", "padchest-gr", "PadChest_GR")
    marks = ("grounded_reports_*.json",)
    layout = "grounded_reports_20240819.json, master_table.csv (unpacked) and Padchest_GR_files/PadChest_GR/*.png"
    obtain = "https://bimcv.cipf.es/bimcv-projects/padchest-gr/, on request and under its Research Use Agreement"
    population = "padchest"

    def __init__(self, root: Path, *, language: str = "en", labels: str = "chexpert14") -> None:
        super().__init__(root)
        if language not in ("en", "es"):
            raise UserError(f"padchest-gr: language must be 'en' or 'es', found {language!r}.")
        self.language, self.observations = language, observations_by_label(labels, origin=self.name)

    def images(self) -> pd.DataFrame:
        """Returns the images; what no sentence finds is negative, since sentences list all that is there."""
        studies = self._studies()
        found = [observations_in(_labels(study), self.observations) for study in studies]
        names = listed_paths(pd.Series([study["ImageID"] for study in studies], dtype=object), origin=self.name)
        table = pd.DataFrame({"image_id": names, "study_id": [str(study["StudyID"]) for study in studies]})
        table["path"] = str(self._folder()) + "/" + names
        table[NO_FINDING] = [float(not any(row.get("abnormal") for row in study["findings"])) for study in studies]
        for name in columns_of(self.observations):
            table[name] = [float(name in row) for row in found]
        return check_images(self._with_patients(table), origin=self.name)

    def texts(self) -> pd.DataFrame:
        """Returns the sentences of each study, positive and negative, as one report."""
        studies = self._studies()
        key = f"sentence_{self.language}"
        text = [" ".join(str(row[key]).strip() for row in s["findings"] if row.get(key)) for s in studies]
        table = pd.DataFrame({"study_id": [str(study["StudyID"]) for study in studies], "text": text})
        return check_texts(self._with_patients(table), origin=self.name)

    def boxes(self) -> pd.DataFrame:
        """Returns the first reader's boxes, in pixels; labels without a counterpart of ours keep PadChest's name."""
        rows = []
        for study in self._studies():
            boxed = [row for row in study["findings"] if row.get("boxes")]
            width, height = image_shape(self._folder() / study["ImageID"]) if boxed else (0, 0)
            for row in boxed:
                for name in dict.fromkeys(OBSERVATIONS.get(label, label) for label in row.get("labels") or []):
                    rows += [
                        (study["ImageID"], name, x * width, y * height, (right - x) * width, (bottom - y) * height)
                        for x, y, right, bottom in row["boxes"]
                    ]
        columns = ["image_id", "observation", "x", "y", "width", "height"]
        return check_boxes(pd.DataFrame(rows, columns=columns), origin=self.name)

    def _studies(self) -> list[dict[str, Any]]:
        path = next(iter(sorted(self.root.glob("grounded_reports_*.json"))), None)
        path = path or self.require("grounded_reports_20240819.json")
        studies: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        if not studies or not {"StudyID", "ImageID", "findings"} <= set(studies[0]):
            raise UserError(f"padchest-gr: {path} is no list of studies with StudyID, ImageID and findings.")
        return studies

    def _with_patients(self, table: pd.DataFrame) -> pd.DataFrame:
        path = self.require("master_table.csv")
        needed = ("StudyID", "PatientID", "split")
        raw = read_csv(path, origin=self.name, needed=needed, wanted=needed).drop_duplicates("StudyID")
        raw = raw.set_index("StudyID")[["PatientID", "split"]].set_axis(["patient_id", "split"], axis=1)
        raw["split"] = raw["split"].replace("validation", "valid")
        return join_ids(table, raw, on="study_id", origin=self.name, what=path.name)

    def _folder(self) -> Path:
        return next((self.root / name for name in _IMAGES if (self.root / name).is_dir()), self.root / _IMAGES[0])


def _labels(study: dict[str, Any]) -> set[str]:
    return {str(label).strip().lower() for row in study["findings"] for label in row.get("labels") or []}
