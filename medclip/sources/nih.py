"""NIH ChestX-ray14: 112,120 frontal images with 14 mined findings (Wang et al. 2017)."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from labelers.errors import UserError
from labelers.observations import SYNONYMS, states_from_names
from medclip.data.csv_files import read_csv
from medclip.data.image_files import by_name
from medclip.data.source import Source
from medclip.data.tables import check_boxes, check_images

logger = logging.getLogger(__name__)

#: What the label file looks for, as it spells it.
FINDINGS = (
    "No Finding", "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
    "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip


class Nih(Source):
    """The official download: label table, image folders 001 to 012 (or one), official lists, boxes; or the sample of
    5,606 images that Kaggle offers.

    Effusion, Infiltration, Mass or Nodule and Pleural_Thickening become the CheXpert observations Pleural Effusion,
    Lung Opacity, Lung Lesion and Pleural Other; Emphysema, Fibrosis and Hernia stay under their own names.
    """

    name = "nih"
    folders = ("CXR8", "ChestX-ray14", "NIH", "nih")
    layout = (
        "Data_Entry_2017_v2020.csv (or Data_Entry_2017.csv, sample_labels.csv), images_001/images/*.png to images_012 "
        "(or images/*.png)"
    )
    obtain = (
        "https://nihcc.app.box.com/v/ChestXray-NIHCC, free to use; cite Wang et al. 2017 and acknowledge the NIH "
        "Clinical Center"
    )
    population = "nih"

    def images(self) -> pd.DataFrame:
        """Returns every listed image that is on disk; the official test list is the test split, if there."""
        path = self.require(
            "Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv", "sample_labels.csv", "sample/sample_labels.csv"
        )
        needed = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position")
        labels = read_csv(path, origin=self.name, needed=needed)
        paths = self._paths(path.parent)
        known = labels["Image Index"].isin(paths.keys())
        if not known.any():
            raise FileNotFoundError(self.missing([self.root / "images_001" / "images", self.root / "images"]))
        labels = labels[known]
        # A row without findings says nothing; one that found none says "No Finding".
        cells = labels["Finding Labels"].fillna("")
        named = [{name.strip() for name in text.split("|") if name.strip()} for text in cells]
        if unknown := set().union(*named) - set(FINDINGS):
            raise UserError(f"nih: unknown findings {sorted(unknown)} in 'Finding Labels'.")
        sex = labels.get("Patient Sex", labels.get("Patient Gender"))
        table = pd.DataFrame(
            {
                "image_id": labels["Image Index"],
                "study_id": labels["Image Index"].str.rsplit(".", n=1).str[0],
                "patient_id": labels["Patient ID"].str.replace(
                    r"^0+(?=\d)", "", regex=True
                ),  # 00000013 in some versions, 13 in others
                "path": labels["Image Index"].map(paths),
                "view": labels["View Position"],
                "split": self._splits(labels["Image Index"]),
                "age": labels["Patient Age"],
                "sex": sex,
                **states_from_names(named, FINDINGS),
            },
            index=labels.index,
        )
        return check_images(table, origin=f"{self.name}, {path.name}")

    def boxes(self) -> pd.DataFrame | None:
        """Returns the 984 hand-drawn boxes of BBox_List_2017.csv, if it is there."""
        path = self.root / "BBox_List_2017.csv"
        if not path.exists():
            return None
        raw = read_csv(path, origin=self.name, needed=("Image Index", "Finding Label"))
        table = raw.iloc[:, :6].set_axis(["image_id", "observation", "x", "y", "width", "height"], axis=1)
        table["observation"] = table["observation"].replace("Infiltrate", "Infiltration").replace(SYNONYMS)
        return check_boxes(table, origin=f"{self.name}, {path.name}")

    def _paths(self, root: Path) -> dict[str, str]:
        folders = [
            *sorted(root.glob("images_*/images")),
            *sorted(root.glob("images_*")),
            root / "images",
            root / "sample" / "images",
        ]
        files = [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.png"))]
        return {name: str(path) for name, path in by_name(files, origin=self.name).items()}

    def _splits(self, names: pd.Series) -> list[str | None]:
        path = Path(self.root / "test_list.txt")
        if not path.exists():
            return [None] * len(names)
        test = set(path.read_text().split())
        if not names.isin(test).any():
            logger.warning(
                "nih: none of the %d images is in %s; the official test set is empty here", len(names), path.name
            )
        # The official list holds no validation patients; they are drawn from the rest by hash, in `prepare`.
        return ["test" if name in test else None for name in names]
