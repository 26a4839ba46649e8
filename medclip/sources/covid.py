"""COVID-19 Radiography Database: 21,165 frontal PNG files (Chowdhury et al. 2020, Rahman et al. 2021)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from labelers.errors import UserError
from labelers.observations import NO_FINDING
from medclip.data.source import Source
from medclip.data.tables import check_images
from medclip.data.test_sets import balanced

#: Folders of earlier releases, in lower case, by what they are called now.
_EARLIER = {"covid-19": "COVID", "covid": "COVID", "normal": "Normal"}
#: What a folder says about an image.
FOLDERS = {
    "COVID": {"COVID-19": 1.0, NO_FINDING: 0.0},
    "Normal": {"COVID-19": 0.0, NO_FINDING: 1.0, "Lung Opacity": 0.0, "Pneumonia": 0.0},
    "Lung_Opacity": {"COVID-19": 0.0, NO_FINDING: 0.0, "Lung Opacity": 1.0},
    "Viral Pneumonia": {"COVID-19": 0.0, NO_FINDING: 0.0, "Pneumonia": 1.0},
}


class Covid(Source):
    """The Kaggle download: a folder a class, with images/ (and masks/, not read) inside, or images at once.

    The classes come from different collections, so that a model can tell them apart by how an image was made. Patients
    are not known; every image counts as its own.

    Args:
        root: The folder that holds COVID, Normal, Lung_Opacity and Viral Pneumonia.
        test: "hash", a fifth of the images; "medclip", the 3,000 balanced test images of MedCLIP's protocol (COVID
            against Normal, Lung_Opacity and Viral Pneumonia left out); or "all".
    """

    name = "covid"
    folders = ("COVID-19_Radiography_Dataset", "COVID-19_Radiography_Database", "covid")
    layout = "COVID/images/COVID-1.png, Normal/images/*.png, Lung_Opacity/images/*.png, Viral Pneumonia/images/*.png"
    obtain = "https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database, with a Kaggle account"
    population = "covid"
    holds_images_of = ("rsna", "nih", "covid-chestxray", "padchest")  # its page lists RSNA, Cohen's and BIMCV's images

    def __init__(self, root: Path, *, test: str = "hash") -> None:
        super().__init__(root)
        if test not in ("hash", "medclip", "all"):
            raise UserError(f"covid: test must be hash, medclip or all, found {test!r}.")
        self.test = test

    def images(self) -> pd.DataFrame:
        """Returns the images of all four folders, or of those that are there."""
        here = {path.name.lower(): path for path in sorted(self.root.iterdir()) if path.is_dir()}
        named = {_EARLIER.get(name, path.name): path for name, path in here.items()}
        parts = [_folder(named[name], states) for name, states in FOLDERS.items() if name in named]
        table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
        if len(table) and table["image_id"].duplicated().any():  # numbered from 1 in every folder
            ids = table["path"].map(lambda path: Path(path).relative_to(self.root).with_suffix("").as_posix())
            table = table.assign(image_id=ids, study_id=ids, patient_id=ids)
        if table.empty:
            raise FileNotFoundError(self.missing([self.root / name for name in FOLDERS]))
        if self.test == "all":
            table = table.assign(split="test")
        elif self.test == "medclip":
            table = table[table["image_id"].str.match("(?i)covid|normal")]
            chosen = balanced(table, "COVID-19", rows=3000, seed=42)
            table = table[table["image_id"].isin(chosen)].assign(split="test")
        return check_images(table.reset_index(drop=True), origin=self.name)


def _folder(root: Path, states: dict[str, float]) -> pd.DataFrame:
    folder = root / "images" if (root / "images").is_dir() else root
    files = sorted(folder.glob("*.png"), key=lambda path: (len(path.stem), path.stem))
    ids = [path.stem for path in files]
    table = pd.DataFrame({"image_id": ids, "study_id": ids, "patient_id": ids, "path": [str(f) for f in files]})
    return table.assign(**states)
