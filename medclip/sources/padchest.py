"""PadChest: 160,868 images of 67,625 patients with 174 findings, read by physicians or mined (Bustos et al. 2020)."""

from __future__ import annotations

import ast
import logging
from pathlib import Path

import pandas as pd

from labelers.errors import UserError
from labelers.observations import NO_FINDING
from medclip.data.csv_files import listed_paths, read_csv
from medclip.data.source import Source
from medclip.data.tables import check_images, check_texts

logger = logging.getLogger(__name__)

#: PadChest's names for CheXpert's observations. What is not here stays out of the table.
OBSERVATIONS = {
    "cardiomegaly": "Cardiomegaly",
    "mediastinal enlargement": "Enlarged Cardiomediastinum",
    "superior mediastinal enlargement": "Enlarged Cardiomediastinum",
    "infiltrates": "Lung Opacity",
    "alveolar pattern": "Lung Opacity",
    "interstitial pattern": "Lung Opacity",
    "reticular interstitial pattern": "Lung Opacity",
    "reticulonodular interstitial pattern": "Lung Opacity",
    "ground glass pattern": "Lung Opacity",
    "miliary opacities": "Lung Opacity",
    "air bronchogram": "Lung Opacity",
    "increased density": "Lung Opacity",
    "nodule": "Lung Lesion",
    "multiple nodules": "Lung Lesion",
    "mass": "Lung Lesion",
    "pulmonary mass": "Lung Lesion",
    "lung metastasis": "Lung Lesion",
    "pulmonary edema": "Edema",
    "consolidation": "Consolidation",
    "pneumonia": "Pneumonia",
    "atypical pneumonia": "Pneumonia",
    "atelectasis": "Atelectasis",
    "laminar atelectasis": "Atelectasis",
    "lobar atelectasis": "Atelectasis",
    "total atelectasis": "Atelectasis",
    "round atelectasis": "Atelectasis",
    "segmental atelectasis": "Atelectasis",
    "pneumothorax": "Pneumothorax",
    "hydropneumothorax": "Pneumothorax",
    "pleural effusion": "Pleural Effusion",
    "loculated fissural effusion": "Pleural Effusion",
    "loculated pleural effusion": "Pleural Effusion",
    "pleural thickening": "Pleural Other",
    "apical pleural thickening": "Pleural Other",
    "calcified pleural thickening": "Pleural Other",
    "pleural plaques": "Pleural Other",
    "calcified pleural plaques": "Pleural Other",
    "fissure thickening": "Pleural Other",
    "major fissure thickening": "Pleural Other",
    "minor fissure thickening": "Pleural Other",
    "pleural mass": "Pleural Other",
    "fracture": "Fracture",
    "rib fracture": "Fracture",
    "callus rib fracture": "Fracture",
    "clavicle fracture": "Fracture",
    "vertebral fracture": "Fracture",
    "humeral fracture": "Fracture",
    "pacemaker": "Support Devices",
    "dual chamber device": "Support Devices",
    "single chamber device": "Support Devices",
    "endotracheal tube": "Support Devices",
    "tracheostomy tube": "Support Devices",
    "nsg tube": "Support Devices",
    "gastrostomy tube": "Support Devices",
    "electrical device": "Support Devices",
    "artificial heart valve": "Support Devices",
    "catheter": "Support Devices",
    "central venous catheter via umbilical vein": "Support Devices",
    "ventriculoperitoneal drain tube": "Support Devices",
    "chest drain tube": "Support Devices",
    "central venous catheter": "Support Devices",
    "central venous catheter via subclavian vein": "Support Devices",
    "central venous catheter via jugular vein": "Support Devices",
    "reservoir central venous catheter": "Support Devices",
}
#: Images that were not to be read, or of which nothing is known.
_LEFT_OUT = ("exclude", "unchanged", "suboptimal study")
_FRONTAL = ("PA", "AP", "AP_horizontal")


class Padchest(Source):
    """The official download: one table, and 16-bit PNG files in folders 0 to 54, or all in one.

    Reports are in Spanish, cut to the stems of words; the labeler does not read them, and a text tower must.
    Labels say what is present, so an observation that is not named is negative.

    Args:
        root: The folder that holds the table.
        views: "frontal", or "all".
        by: "all", or "physician" for the 27 % of the labels that were not mined.
    """

    name = "padchest"
    folders = ("PadChest", "BIMCV-PadChest", "padchest")
    layout = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv (or .csv.gz) and 0/*.png to 54/*.png (or *.png)"
    obtain = (
        "https://bimcv.cipf.es/bimcv-projects/padchest/, after accepting the PadChest Dataset Research Use Agreement"
    )
    population = "padchest"

    def __init__(self, root: Path, *, views: str = "frontal", by: str = "all") -> None:
        super().__init__(root)
        if views not in ("frontal", "all") or by not in ("all", "physician"):
            raise UserError(
                f"padchest: views must be 'frontal' or 'all' and by 'all' or 'physician', found {views!r} and {by!r}."
            )
        self.views, self.by = views, by

    def texts(self) -> pd.DataFrame:
        """Returns the reports, one a study."""
        needed = ("StudyID", "PatientID", "Report")
        raw = read_csv(self._table(), origin=self.name, needed=needed, wanted=needed).dropna(
            subset=["Report", "StudyID"]
        )
        raw = raw.drop_duplicates("StudyID")
        table = pd.DataFrame(
            {"study_id": raw["StudyID"], "patient_id": raw["PatientID"], "text": raw["Report"].str.strip()}
        )
        return check_texts(table, origin=self.name)

    def _table(self) -> Path:
        found = [*sorted(self.root.glob("PADCHEST_*.csv")), *sorted(self.root.glob("PADCHEST_*.csv.gz"))]
        return found[0] if found else self.require("PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv")

    def images(self) -> pd.DataFrame:
        """Returns the images whose labels say something."""
        path = self._table()
        needed = ("ImageID", "ImageDir", "StudyID", "PatientID", "Projection", "Labels", "MethodLabel")
        extras = ("StudyDate_DICOM", "PatientBirth", "PatientSex_DICOM")
        raw = read_csv(path, origin=self.name, needed=needed, wanted=(*needed, *extras))
        raw = raw.dropna(subset=["Labels", "ImageID"])
        named = raw["Labels"].map(_read_labels)
        if unread := int((named.map(len) == 0).sum()):
            logger.warning("padchest: %d rows are left out, whose Labels are no list of names", unread)
        kept = named.map(lambda names: bool(names) and not names & set(_LEFT_OUT))
        if self.views == "frontal":
            kept &= raw["Projection"].isin(_FRONTAL)
        if self.by == "physician":
            kept &= raw["MethodLabel"].str.strip() == "Physician"
        raw, named = raw[kept], named[kept]
        raw["ImageID"] = listed_paths(raw["ImageID"], origin=self.name)
        present = named.map(lambda names: {OBSERVATIONS[name] for name in names if name in OBSERVATIONS})
        present = present.where(named.map(lambda names: names != {"normal"}), {NO_FINDING})
        folder = "/" + raw["ImageDir"].str.replace(r"\.0$", "", regex=True)
        flat = not any((self.root / str(number)).is_dir() for number in range(55))
        return check_images(
            pd.DataFrame(
                {
                    "image_id": raw["ImageID"],
                    "study_id": raw["StudyID"],
                    "patient_id": raw["PatientID"],
                    "path": str(self.root) + ("" if flat else folder) + "/" + raw["ImageID"],
                    "view": raw["Projection"].replace("AP_horizontal", "AP"),
                    "age": _age(raw),
                    "sex": raw.get("PatientSex_DICOM"),
                    **{
                        name: present.map(lambda names, name=name: float(name in names))
                        for name in (NO_FINDING, *dict.fromkeys(OBSERVATIONS.values()))
                    },
                }
            ),
            origin=self.name,
        )


def _read_labels(text: str) -> set[str]:
    """Returns the names in "['normal', 'pleural effusion ']"; nothing where it is no such list."""
    try:
        names = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return set()
    return {str(name).strip().lower() for name in names} - {""} if isinstance(names, list) else set()


def _age(raw: pd.DataFrame) -> pd.Series | None:
    if "StudyDate_DICOM" not in raw.columns or "PatientBirth" not in raw.columns:
        return None
    taken = pd.to_numeric(raw["StudyDate_DICOM"].str[:4], errors="coerce")
    return taken - pd.to_numeric(raw["PatientBirth"].str[:4], errors="coerce")
