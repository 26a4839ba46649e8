"""RSNA Pneumonia Detection Challenge: 26,684 frontal DICOM files with boxes by radiologists (Shih et al. 2019)."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pandas as pd

from labelers.errors import UserError
from labelers.observations import NO_FINDING
from medclip.data.csv_files import listed_paths, read_csv
from medclip.data.source import Source
from medclip.data.tables import check_boxes, check_images, join_ids, to_numbers
from medclip.data.test_sets import balanced

logger = logging.getLogger(__name__)

_MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
_CLASSES = {"Normal": 1.0, "No Lung Opacity / Not Normal": 0.0, "Lung Opacity": 0.0}


class Rsna(Source):
    """The Kaggle download, stage 2: labels, detailed classes and training images. The test images have no labels.

    Target 1 is Pneumonia and Lung Opacity, as the challenge names it; No Finding is the class "Normal".

    The images are NIH's, under new ids. RSNA published which are which; where that file lies beside the labels,
    patients and studies have NIH's ids, so that leaving RSNA's patients out of a training with NIH's images works.

    Args:
        root: The folder that holds stage_2_train_labels.csv.
        test: "hash", a fifth of the patients; "medclip", the balanced test images of MedCLIP's protocol (Target 1
            against 0, equally many, of 30 % of the images; by image, since each patient has one); or "all".
    """

    name = "rsna"
    folders = ("rsna-pneumonia-detection-challenge", "RSNA", "rsna")
    layout = (
        "stage_2_train_labels.csv, stage_2_detailed_class_info.csv, stage_2_train_images/*.dcm; "
        "pneumonia-challenge-dataset-mappings_2018.json, if there"
    )
    obtain = (
        "https://www.kaggle.com/competitions/rsna-pneumonia-detection-challenge/data, with a Kaggle account and under "
        "the rules of the competition"
    )
    population = "rsna"
    holds_images_of = ("nih",)

    def __init__(self, root: Path, *, test: str = "hash") -> None:
        super().__init__(root)
        self._mapping = next(
            (folder / _MAPPING for folder in (self.root, self.root.parent) if (folder / _MAPPING).is_file()), None
        )
        if self._mapping is not None:
            self.population = "nih"
        if test not in ("hash", "medclip", "all"):
            raise UserError(f"rsna: test must be hash, medclip or all, found {test!r}.")
        self.test = test

    def images(self) -> pd.DataFrame:
        """Returns one image a patient."""
        labels = self._labels().drop_duplicates("patientId")
        patient = labels["patientId"]
        study, person = self._ids(patient)
        table = pd.DataFrame(
            {
                "image_id": patient,
                "study_id": study,
                "patient_id": person,
                "path": str(self.root / "stage_2_train_images") + "/" + patient + ".dcm",
                "Pneumonia": labels["Target"].astype(float),
                "Lung Opacity": labels["Target"].astype(float),
            }
        )
        details = self.root / "stage_2_detailed_class_info.csv"
        if details.exists():
            raw = read_csv(details, origin=self.name, needed=("patientId", "class"))
            if unknown := set(raw["class"].dropna()) - set(_CLASSES):
                raise UserError(f"rsna: {details} has unknown classes {sorted(unknown)}; known: {', '.join(_CLASSES)}.")
            classes = raw.drop_duplicates("patientId").set_index("patientId")["class"].map(_CLASSES).rename(NO_FINDING)
            table = join_ids(table, classes, on="image_id", origin=self.name, what=details.name)
        return check_images(self._split(table), origin=self.name)

    def boxes(self) -> pd.DataFrame:
        """Returns the boxes around lung opacities, as Pneumonia."""
        labels = self._labels()
        boxes = labels[labels["Target"] == 1].rename(columns={"patientId": "image_id"})
        return check_boxes(boxes.assign(observation="Pneumonia"), origin=self.name)

    def _ids(self, patient: pd.Series) -> tuple[pd.Series, pd.Series]:
        """Returns study and patient ids: NIH's where it is known which image is which, else RSNA's."""
        if self._mapping is None:
            return patient, patient
        rows = json.loads(self._mapping.read_text(encoding="utf-8"))
        try:
            names = {row["subset_img_id"]: Path(row["img_id"]).stem for row in rows}
        except (KeyError, TypeError) as error:
            raise UserError(f"rsna: {self._mapping} has no rows with subset_img_id and img_id ({error}).") from error
        study = patient.map(names)
        if unknown := int(study.isna().sum()):
            logger.warning("rsna: %d of %d images are not in %s", unknown, len(patient), _MAPPING)
        person = study.str.split("_").str[0].str.replace(r"^0+(?=\d)", "", regex=True)
        return study.fillna("rsna/" + patient), person.fillna("rsna/" + patient)

    def _labels(self) -> pd.DataFrame:
        path = self.require("stage_2_train_labels.csv")
        needed = ("patientId", "x", "y", "width", "height", "Target")
        labels = read_csv(path, origin=self.name, needed=needed)
        labels["patientId"] = listed_paths(labels["patientId"], origin=self.name)
        return labels.assign(Target=to_numbers(labels["Target"], origin=f"{self.name}, {path.name}"))

    def _split(self, table: pd.DataFrame) -> pd.DataFrame:
        if self.test == "all":
            return table.assign(split="test")
        if self.test == "medclip":
            chosen = balanced(table, "Pneumonia", share=0.3, seed=42)
            table = table.assign(**{NO_FINDING: 1 - table["Pneumonia"]})  # its class Normal is whatever is no target
            return table[table["image_id"].isin(chosen)].assign(split="test").reset_index(drop=True)
        return table
