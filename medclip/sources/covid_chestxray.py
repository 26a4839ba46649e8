"""covid-chestxray-dataset: about 900 radiographs and CT slices from publications, with diagnoses (Cohen et al. 2020).

Layout: https://github.com/ieee8023/covid-chestxray-dataset/blob/master/SCHEMA.md.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from labelers.errors import UserError
from medclip.data.csv_files import listed_paths, read_csv
from medclip.data.source import Source
from medclip.data.tables import check_images

_COVID = ("Pneumonia", "Viral", "COVID-19")
#: Findings that say nothing yet.
_SILENT = ("", "todo", "Unknown")


class CovidChestxray(Source):
    """The repository: metadata.csv and images/. Only radiographs are taken.

    A finding is a path such as Pneumonia/Viral/COVID-19: what it names is positive, and COVID-19 is left open where it
    stops short (Pneumonia, Pneumonia/Viral).

    Args:
        root: The folder that holds metadata.csv.
        views: "frontal" (PA and AP, upright or supine), or "all".
    """

    name = "covid-chestxray"
    folders = ("covid-chestxray-dataset", "covid-chestxray-dataset-master", "covid-chestxray")
    layout = "metadata.csv and images/*"
    obtain = "https://github.com/ieee8023/covid-chestxray-dataset; each image has its own licence"
    population = "covid-chestxray"

    def __init__(self, root: Path, *, views: str = "frontal") -> None:
        super().__init__(root)
        if views not in ("frontal", "all"):
            raise UserError(f"covid-chestxray: views must be 'frontal' or 'all', found {views!r}.")
        self.views = views

    def images(self) -> pd.DataFrame:
        """Returns the radiographs."""
        path = self.require("metadata.csv")
        needed = ("patientid", "finding", "view", "modality", "filename")
        raw = read_csv(path, origin=self.name, needed=needed)
        raw = raw[raw["modality"].str.strip().str.lower() == "x-ray"]
        if self.views == "frontal":
            raw = raw[raw["view"].fillna("").str.match(r"PA|AP")]
        names = listed_paths(raw["filename"], origin=f"{self.name}, {path.name}")
        named = [[part.strip() for part in text.split("/")] for text in raw["finding"].fillna("")]
        table = pd.DataFrame(
            {
                "image_id": names,
                "study_id": names,
                "patient_id": raw["patientid"],
                "path": str(self.root / "images") + "/" + names,
                "view": raw["view"].str.slice(0, 2).where(raw["view"].fillna("").str.match(r"PA|AP"), "lateral"),
                "age": raw.get("age"),
                "sex": raw.get("sex"),
                "COVID-19": [_covid(parts) for parts in named],
                **{
                    name: [None if parts[0] in _SILENT else float(name in parts) for parts in named]
                    for name in ("No Finding", "Pneumonia", "Tuberculosis")
                },
            },
            index=raw.index,
        )
        return check_images(table, origin=f"{self.name}, {path.name}")


def _covid(parts: list[str]) -> float | None:
    open_end = len(parts) < len(_COVID) and tuple(parts) == _COVID[: len(parts)]
    return None if parts[0] in _SILENT or open_end else float(_COVID[-1] in parts)
