"""CheXpert: 224,316 radiographs of 65,240 patients with labels mined from reports (Irvin et al. 2019)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from labelers.observations import CHEXPERT14
from medclip.sources import Source
from medclip.tables import check_images


class Chexpert(Source):
    """The official download, full (`CheXpert-v1.0`) or small: train.csv, valid.csv and their folders of JPEGs.

    The official validation set (200 studies, labelled by radiologists) is the test split, as is custom where the
    500 hidden test studies are not at hand; validation patients are drawn from the training set.

    Args:
        root: the folder that holds train.csv.
        views: "frontal", or "all" with the laterals.
    """

    name = "chexpert"
    folders = ("CheXpert-v1.0", "CheXpert-v1.0-small", "chexpert", "CheXpert")
    layout = "train.csv, valid.csv, train/patient00001/study1/view1_frontal.jpg, valid/..."
    obtain = (
        "https://stanfordaimi.azurewebsites.net/datasets/8cbd9ed4-2eb9-4565-affc-111cf4f7ebe2, after registering and "
        "accepting the Stanford University Dataset Research Use Agreement"
    )
    population = "chexpert"

    def __init__(self, root: Path, *, views: str = "frontal") -> None:
        super().__init__(root)
        if views not in ("frontal", "all"):
            raise ValueError(f"chexpert: views must be 'frontal' or 'all', found {views!r}.")
        self.views = views

    def images(self) -> pd.DataFrame:
        """Returns the images of train.csv and valid.csv with the 14 observations."""
        parts: list[tuple[Path, str | None]] = [(self.require("train.csv"), None)]
        if (self.root / "valid.csv").exists():
            parts.append((self.root / "valid.csv", "test"))
        table = pd.concat([self._read(path, split) for path, split in parts], ignore_index=True)
        return check_images(table, origin=self.name)

    def _read(self, path: Path, split: str | None) -> pd.DataFrame:
        raw = pd.read_csv(path)
        if missing := {"Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT14} - set(raw.columns):
            raise ValueError(f"chexpert: {path} lacks columns {sorted(missing)}; found {list(raw.columns)}.")
        if self.views == "frontal":
            raw = raw[raw["Frontal/Lateral"] == "Frontal"].reset_index(drop=True)
        # "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg": the first part is the download's name.
        parts = raw["Path"].str.split("/", n=1).str[1]
        split_path = parts.str.split("/")
        return pd.DataFrame(
            {
                "image_id": parts,
                "study_id": split_path.str[1] + "/" + split_path.str[2],
                "patient_id": split_path.str[1],
                "path": str(self.root) + "/" + parts,
                "view": raw["AP/PA"].where(raw["Frontal/Lateral"] == "Frontal", "lateral"),
                "split": split,
                "age": raw["Age"],
                "sex": raw["Sex"].map({"Female": "F", "Male": "M"}),
                **{name: raw[name] for name in CHEXPERT14},
            }
        )
