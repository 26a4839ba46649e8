"""PadChest: 160,868 images of 67,625 patients with 174 findings, read by physicians or mined (Bustos et al. 2020)."""

from __future__ import annotations

import ast
import logging
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from labelers.errors import UserError
from labelers.observations import NO_FINDING, SUPPORT_DEVICES
from medclip.data.csv_files import listed_paths, read_csv
from medclip.data.source import Source
from medclip.data.tables import check_images, check_texts
from medclip.sources._cxr_lt import LABELS

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
#: What the option `labels` may be.
LABEL_SETS = ("chexpert14", "cxr-lt-2026")
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
        labels: Columns: "chexpert14", or "cxr-lt-2026" for the observations of that challenge.
    """

    name = "padchest"
    folders = ("PadChest", "BIMCV-PadChest", "padchest")
    layout = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv (or .csv.gz) and 0/*.png to 54/*.png (or *.png)"
    obtain = (
        "https://bimcv.cipf.es/bimcv-projects/padchest/, after accepting the PadChest Dataset Research Use Agreement"
    )
    population = "padchest"

    def __init__(self, root: Path, *, views: str = "frontal", by: str = "all", labels: str = "chexpert14") -> None:
        super().__init__(root)
        if views not in ("frontal", "all") or by not in ("all", "physician"):
            raise UserError(
                f"padchest: views must be 'frontal' or 'all' and by 'all' or 'physician', found {views!r} and {by!r}."
            )
        self.views, self.by, self.observations = views, by, observations_by_label(labels, origin=self.name)

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
        present = named.map(lambda names: observations_in(names, self.observations))
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
                        for name in (NO_FINDING, *columns_of(self.observations))
                    },
                }
            ),
            origin=self.name,
        )


def observations_by_label(labels: str, *, origin: str) -> dict[str, tuple[str, ...]]:
    """Returns the observations of each of PadChest's labels, under the option `labels`.

    Raises:
        UserError: There is no such set.
    """
    if labels not in LABEL_SETS:
        raise UserError(f"{origin}: labels must be one of {', '.join(LABEL_SETS)}, found {labels!r}.")
    if labels == "chexpert14":
        return {label: (name,) for label, name in OBSERVATIONS.items()}
    found: dict[str, tuple[str, ...]] = {
        label: (SUPPORT_DEVICES,) for label, name in OBSERVATIONS.items() if name == SUPPORT_DEVICES
    }
    for name, known in LABELS.items():
        found |= {label: (*found.get(label, ()), name) for label in known}
    return found


def observations_in(names: Collection[str], known: Mapping[str, tuple[str, ...]]) -> set[str]:
    """Returns the observations that labels say are there."""
    return {observation for name in names for observation in known.get(name, ())}


def columns_of(known: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Returns the observations that labels can say, each once."""
    return list(dict.fromkeys(observation for names in known.values() for observation in names))


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
