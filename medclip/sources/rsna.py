"""RSNA Pneumonia Detection Challenge: 26,684 frontal DICOM files with boxes by radiologists (Shih et al. 2019)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from labelers.observations import NO_FINDING
from medclip.data.csv_files import check_inside, read_csv
from medclip.data.source import Source
from medclip.data.tables import check_boxes, check_images
from medclip.data.test_sets import balanced

_CLASSES = {"Normal": 1.0, "No Lung Opacity / Not Normal": 0.0, "Lung Opacity": 0.0}


class Rsna(Source):
    """The Kaggle download, stage 2: labels, detailed classes and training images. The test images have no labels.

    Target 1 is Pneumonia and Lung Opacity, as the challenge names it; No Finding is the class "Normal".

    Args:
        root: the folder that holds stage_2_train_labels.csv.
        test: "hash", a fifth of the patients; "medclip", the balanced test images of MedCLIP's protocol (Target 1
            against 0, equally many, of 30 % of the images; by image, since each patient has one); or "all".
    """

    name = "rsna"
    folders = ("rsna-pneumonia-detection-challenge", "RSNA", "rsna")
    layout = "stage_2_train_labels.csv, stage_2_detailed_class_info.csv, stage_2_train_images/*.dcm"
    obtain = (
        "https://www.kaggle.com/competitions/rsna-pneumonia-detection-challenge/data, with a Kaggle account and under "
        "the rules of the competition"
    )
    population = "rsna"

    def __init__(self, root: Path, *, test: str = "hash") -> None:
        super().__init__(root)
        if test not in ("hash", "medclip", "all"):
            raise ValueError(f"rsna: test must be hash, medclip or all, found {test!r}.")
        self.test = test

    def images(self) -> pd.DataFrame:
        """Returns one image a patient."""
        labels = self._labels().drop_duplicates("patientId").reset_index(drop=True)
        patient = labels["patientId"]
        table = pd.DataFrame(
            {
                "image_id": patient,
                "study_id": patient,
                "patient_id": patient,
                "path": str(self.root / "stage_2_train_images") + "/" + patient + ".dcm",
                "Pneumonia": labels["Target"].astype(float),
                "Lung Opacity": labels["Target"].astype(float),
            }
        )
        details = self.root / "stage_2_detailed_class_info.csv"
        if details.exists():
            raw = read_csv(details, origin=self.name, needed=("patientId", "class"), dtype=str)
            if unknown := set(raw["class"].dropna()) - set(_CLASSES):
                raise ValueError(
                    f"rsna: {details} has unknown classes {sorted(unknown)}; known: {', '.join(_CLASSES)}."
                )
            classes = raw.drop_duplicates("patientId").set_index("patientId")["class"]
            table[NO_FINDING] = patient.map(classes).map(_CLASSES)
        return check_images(self._split(table), origin=self.name)

    def boxes(self) -> pd.DataFrame:
        """Returns the boxes around lung opacities, as Pneumonia."""
        labels = self._labels()
        boxes = labels[labels["Target"] == 1].rename(columns={"patientId": "image_id"})
        return check_boxes(boxes.assign(observation="Pneumonia"), origin=self.name)

    def _labels(self) -> pd.DataFrame:
        path = self.require("stage_2_train_labels.csv")
        needed = ("patientId", "x", "y", "width", "height", "Target")
        labels = read_csv(path, origin=self.name, needed=needed, dtype={"patientId": str})
        check_inside(labels["patientId"], origin=self.name)
        return labels

    def _split(self, table: pd.DataFrame) -> pd.DataFrame:
        if self.test == "all":
            return table.assign(split="test")
        if self.test == "medclip":
            chosen = balanced(table, "Pneumonia", share=0.3, seed=42)
            table = table.assign(**{NO_FINDING: 1 - table["Pneumonia"]})  # its class Normal is whatever is no target
            return table[table["image_id"].isin(chosen)].assign(split="test").reset_index(drop=True)
        return table
