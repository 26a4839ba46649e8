"""VinDr-CXR: 18,000 frontal DICOM files with boxes and global labels by radiologists (Nguyen et al. 2022)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from labelers.observations import NO_FINDING
from medclip.data.csv_files import check_inside, read_csv
from medclip.data.source import Source
from medclip.data.tables import check_boxes, check_images

#: VinDr's names for CheXpert's observations; its other names stay as they are.
OBSERVATIONS = {
    "No finding": NO_FINDING,
    "Pleural effusion": "Pleural Effusion",
    "Lung Opacity": "Lung Opacity",
    "Infiltration": "Lung Opacity",
    "ILD": "Lung Opacity",
    "Nodule/Mass": "Lung Lesion",
    "Lung tumor": "Lung Lesion",
    "Pleural thickening": "Pleural Other",
    "Rib fracture": "Fracture",
    "Clavicle fracture": "Fracture",
    "Other diseases": "Other disease",  # one table says it so, the other so
}


class Vindr(Source):
    """The PhysioNet download: train/ and test/ with DICOM files, and annotations/ with labels and boxes.

    Three radiologists read each training image independently, five agreed on each test image.

    Args:
        root: the folder that holds annotations/.
        votes: how many of the three readers of a training image make an observation positive; 1 or more below that
            make it uncertain.
    """

    name = "vindr"
    folders = ("vindr-cxr", "vindr-cxr/1.0.0", "physionet.org/files/vindr-cxr/1.0.0", "VinDr-CXR")
    layout = (
        "train/*.dicom, test/*.dicom, annotations/image_labels_train.csv, image_labels_test.csv, "
        "annotations_train.csv, annotations_test.csv"
    )
    obtain = (
        "https://physionet.org/content/vindr-cxr/, as a credentialed PhysioNet user, under the PhysioNet Credentialed "
        "Health Data Use Agreement 1.5.0"
    )
    population = "vindr"

    def __init__(self, root: Path, *, votes: int = 2) -> None:
        super().__init__(root)
        if votes not in (1, 2, 3):
            raise ValueError(f"vindr: votes must be 1, 2 or 3, found {votes}.")
        self.votes = votes

    def images(self) -> pd.DataFrame:
        """Returns one image a patient, as far as is known: patients are not named."""
        parts = [self._part(split) for split in ("train", "test") if self._labels(split).is_file()]
        if not parts:
            raise FileNotFoundError(self.missing([self._labels("train"), self._labels("test")]))
        return check_images(pd.concat(parts, ignore_index=True), origin=self.name)

    def boxes(self) -> pd.DataFrame:
        """Returns the boxes of every reader; of an observation that several names stand for, all."""
        parts = []
        for split in ("train", "test"):
            path = self.root / "annotations" / f"annotations_{split}.csv"
            if path.is_file():
                needed = ("image_id", "class_name", "x_min", "y_min", "x_max", "y_max")
                parts.append(read_csv(path, origin=self.name, needed=needed).dropna(subset=["x_min"]))
        if not parts:
            raise FileNotFoundError(self.missing([self.root / "annotations" / "annotations_test.csv"]))
        raw = pd.concat(parts, ignore_index=True)
        table = pd.DataFrame(
            {
                "image_id": raw["image_id"],
                "observation": raw["class_name"].replace(OBSERVATIONS),
                "x": raw["x_min"],
                "y": raw["y_min"],
                "width": raw["x_max"] - raw["x_min"],
                "height": raw["y_max"] - raw["y_min"],
            }
        )
        return check_boxes(table, origin=self.name)

    def _labels(self, split: str) -> Path:
        return self.root / "annotations" / f"image_labels_{split}.csv"

    def _part(self, split: str) -> pd.DataFrame:
        raw = read_csv(
            self._labels(split), origin=self.name, needed=("image_id", "No finding"), dtype={"image_id": str}
        )
        check_inside(raw["image_id"], origin=self.name)
        names = [name for name in raw.columns if name not in ("image_id", "rad_id")]
        # One column may stand for several names of VinDr's: a reader says it if one of them is said.
        renamed: pd.DataFrame = raw[names].set_axis([OBSERVATIONS.get(name, name) for name in names], axis=1)
        said = renamed.T.groupby(level=0, sort=False).max().T
        votes = said.groupby(raw["image_id"], sort=False).sum()
        needed = self.votes if split == "train" else 1
        states = (votes >= needed).astype(float).mask((votes >= 1) & (votes < needed), -1.0)
        ids = states.index.to_series().reset_index(drop=True)
        table = pd.DataFrame({"image_id": ids, "study_id": ids, "patient_id": ids})
        path = str(self.root / split) + "/" + ids + ".dicom"
        return pd.concat([table, states.reset_index(drop=True)], axis=1).assign(
            path=path, split="test" if split == "test" else None
        )
