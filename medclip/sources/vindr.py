"""VinDr-CXR: 18,000 frontal DICOM files with boxes and global labels by radiologists (Nguyen et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pandas as pd

from labelers.errors import UserError
from labelers.observations import NO_FINDING
from medclip.data.csv_files import listed_paths, read_csv
from medclip.data.source import Source
from medclip.data.tables import check_boxes, check_images, joined_states, to_numbers

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
_CORNERS = ("x_min", "y_min", "x_max", "y_max")


class Vindr(Source):
    """The PhysioNet download: train/ and test/ with DICOM files, and annotations/ with labels and boxes; or the one of
    the VinBigData challenge, whose training images have boxes only and whose test images have nothing.

    Three radiologists read each training image independently, five agreed on each test image.

    Args:
        root: The folder that holds annotations/.
        votes: Number of the three readers of a training image make an observation positive; 1 or more below that
            make it uncertain.
    """

    name = "vindr"
    folders: ClassVar[tuple[str, ...]] = (
        "vindr-cxr", "vindr-cxr/1.0.0", "physionet.org/files/vindr-cxr/1.0.0", "VinDr-CXR",
        "vinbigdata-chest-xray-abnormalities-detection",
    )  # fmt: skip
    marks: ClassVar[tuple[str, ...]] = ("annotations/image_labels_t*.csv", "train.csv")
    layout = (
        "train/*.dicom, test/*.dicom, annotations/image_labels_train.csv, image_labels_test.csv, "
        "annotations_train.csv, annotations_test.csv; or train.csv of the VinBigData challenge"
    )
    obtain = (
        "https://physionet.org/content/vindr-cxr/, as a credentialed PhysioNet user, under the PhysioNet Credentialed "
        "Health Data Use Agreement 1.5.0"
    )
    population = "vindr"
    observations: ClassVar[Mapping[str, str]] = OBSERVATIONS

    def __init__(self, root: Path, *, votes: int = 2) -> None:
        super().__init__(root)
        if votes not in (1, 2, 3):
            raise UserError(f"vindr: votes must be 1, 2 or 3, found {votes}.")
        self.votes = votes

    def images(self) -> pd.DataFrame:
        """Returns one image a patient, as far as is known: patients are not named."""
        if self._is_challenge():
            return check_images(self._challenge(), origin=f"{self.name}, train.csv")
        parts = [self._part(split) for split in ("train", "test") if self._labels(split).is_file()]
        if not parts:
            raise FileNotFoundError(self.missing([self._labels("train"), self._labels("test")]))
        return check_images(pd.concat(parts, ignore_index=True), origin=self.name)

    def boxes(self) -> pd.DataFrame:
        """Returns the boxes of every reader; of an observation that several names stand for, all."""
        files = [self._box_file(split) for split in ("train", "test")]
        files = [path for path in [self.root / "train.csv"] if self._is_challenge()] or files
        parts = [self._box_rows(path).dropna(subset=["x_min"]) for path in files if path.is_file()]
        if not parts:
            raise FileNotFoundError(self.missing([self._box_file("test")]))
        raw = pd.concat(parts, ignore_index=True)
        left, top, right, bottom = (to_numbers(raw[name], origin=self.name) for name in _CORNERS)
        table = pd.DataFrame(
            {
                "image_id": raw["image_id"],
                "observation": raw["class_name"].replace(dict(self.observations)),
                "x": left,
                "y": top,
                "width": right - left,
                "height": bottom - top,
            }
        )
        return check_boxes(table, origin=self.name)

    def _labels(self, split: str) -> Path:
        return self.root / "annotations" / f"image_labels_{split}.csv"

    def _box_file(self, split: str) -> Path:
        return self.root / "annotations" / f"annotations_{split}.csv"

    def _is_challenge(self) -> bool:
        """Tells whether this is VinBigData's challenge: train.csv with boxes, and no labels of whole images."""
        return (self.root / "train.csv").is_file() and not (self.root / "annotations").is_dir()

    def _box_rows(self, path: Path) -> pd.DataFrame:
        return read_csv(path, origin=self.name, needed=("image_id", "class_name", *_CORNERS))

    def _challenge(self) -> pd.DataFrame:
        """Returns the images of the challenge: a reader says of an image what he draws a box around."""
        raw = read_csv(self.root / "train.csv", origin=self.name, needed=("image_id", "class_name", "rad_id"))
        raw["image_id"] = listed_paths(raw["image_id"], origin=self.name)
        said = raw.assign(name=raw["class_name"].replace(dict(self.observations)))[["image_id", "rad_id", "name"]]
        votes = said.drop_duplicates().groupby(["image_id", "name"], sort=False).size().unstack(fill_value=0)
        return self._table(self._states(votes.loc[raw["image_id"].unique()], self.votes), "train")

    def _part(self, split: str) -> pd.DataFrame:
        path = self._labels(split)
        raw = read_csv(path, origin=self.name, needed=("image_id", "No finding"))
        raw["image_id"] = listed_paths(raw["image_id"], origin=f"{self.name}, {path.name}")
        # One column may stand for several names of VinDr's: a reader says it if one of them is said.
        named = raw[[name for name in raw.columns if name.lower() not in ("image_id", "rad_id")]]
        renamed = named.set_axis([self.observations.get(name, name) for name in named.columns], axis=1)
        votes = joined_states(renamed, origin=f"{self.name}, {path.name}").groupby(raw["image_id"], sort=False).sum()
        return self._table(self._states(votes, self.votes if split == "train" else 1), split)

    def _states(self, votes: pd.DataFrame, needed: int) -> pd.DataFrame:
        return (votes >= needed).astype(float).mask((votes >= 1) & (votes < needed), -1.0)

    def _table(self, states: pd.DataFrame, split: str) -> pd.DataFrame:
        """Returns images with `states`, whose index is their ids; files may be called .dicom or .dcm."""
        ids = states.index.to_series().reset_index(drop=True)
        table = pd.DataFrame({"image_id": ids, "study_id": ids, "patient_id": ids})
        suffix = ".dcm" if (self.root / split / f"{ids.iloc[0]}.dcm").is_file() else ".dicom"
        path = str(self.root / split) + "/" + ids + suffix
        return pd.concat([table, states.reset_index(drop=True)], axis=1).assign(
            path=path, split="test" if split == "test" else None
        )
