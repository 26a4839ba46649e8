"""A folder of images: one folder a class, or images alone."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from labelers.errors import UserError
from labelers.observations import CHEXPERT14, SYNONYMS
from medclip.data.image_files import find_images
from medclip.data.source import Source
from medclip.data.splits import SPLITS
from medclip.data.tables import check_images
from medclip.utils.text import suggest

logger = logging.getLogger(__name__)


class Folder(Source):
    """Images in folders named after what they show: `Pneumonia/1.png`, `Normal/2.png`, or `train/Pneumonia/1.png`.

    A folder named like one of the 14 observations, or a known synonym, means it; "normal" means No Finding. An image
    is positive for its own folder and negative for the others. Images without a class folder have no labels.

    Args:
        root: The folder.
        patient: A regular expression whose first group, searched in the file's name, is the patient; by default every
            file is a patient of its own.
        classes: Your folder names for observations, such as `{PNA: Pneumonia}`.
    """

    name = "folder"
    layout = (
        "images (.jpg, .png, DICOM with or without .dcm) in one folder a class, perhaps below train/, valid/, test/"
    )
    obtain = "your own data"

    def __init__(self, root: Path, *, patient: str = "", classes: dict[str, str] | None = None) -> None:
        super().__init__(root)
        self.patient, self.classes = patient, dict(classes or {})
        self.population, self._said = self.root.name, set[str]()

    def images(self) -> pd.DataFrame:
        """Returns every image below the folder, see `medclip.data.image_files.find_images`."""
        files = list(find_images(self.root))
        if not files:
            raise FileNotFoundError(self.missing([self.root / "Pneumonia" / "1.png"]))
        names = pd.Series([path.relative_to(self.root).as_posix() for path in files])
        parts = names.str.split("/")
        depth = parts.map(len)
        split = parts.str[0].where((depth > 1) & parts.str[0].isin(SPLITS), None)
        folder = parts.str[-2].where((depth - split.notna()) > 1, None)
        patient = names
        if self.patient:
            patient = parts.str[-1].str.extract(self.patient, expand=False)
            if patient.isna().any():
                raise UserError(f"folder: {self.patient!r} finds no patient in {names[patient.isna()].iloc[0]!r}.")
        table = pd.DataFrame(
            {"image_id": names, "study_id": names, "patient_id": patient, "path": list(map(str, files)), "split": split}
        )
        return check_images(table.assign(**self._states(folder)), origin=f"folder, {self.root.name}")

    def _states(self, folder: pd.Series) -> dict[str, pd.Series]:
        known = {name.lower(): name for name in (*CHEXPERT14, *SYNONYMS)} | {"normal": CHEXPERT14[0]}
        observation = folder.map(lambda name: self._observation(name, known), na_action="ignore")
        if others := sorted(set(observation.dropna()) - set(known.values()) - set(self.classes.values())):
            self._say_others(others)
        return {
            name: (observation == name).astype(float).where(observation.notna())
            for name in sorted(observation.dropna().unique())
        }

    def _say_others(self, names: list[str]) -> None:
        """Says once which folders become observations that no prompt set may know."""
        if self._said != set(names):
            self._said = set(names)
            logger.warning(
                "folder: %s: taken as observations of their own, since no usual name: %s.%s Say what they are: "
                "--source-options '{folder: {classes: {%s: OBSERVATION}}}'", self.root.name, ", ".join(names),
                suggest(names[0], CHEXPERT14), names[0],
            )  # fmt: skip

    def _observation(self, folder: str, known: dict[str, str]) -> str:
        if folder in self.classes:
            return self.classes[folder]
        found = known.get(folder.replace("_", " ").lower(), folder)
        return SYNONYMS.get(found, found)
