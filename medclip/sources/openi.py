"""Open-i / IU X-ray: the National Library of Medicine's chest X-ray reports and images (Demner-Fushman et al. 2016)."""

from __future__ import annotations

import logging
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd

from labelers.errors import UserError
from medclip.data.csv_files import listed_paths, read_csv
from medclip.data.source import Source
from medclip.data.tables import check_images, check_texts, join_ids

logger = logging.getLogger(__name__)

_IMAGE_FOLDERS = ("NLMCXR_png", "images/images_normalized", "images_normalized", "images", "png")
_PROJECTIONS = "indiana_projections.csv"
_SHOWN = 5
_SECTIONS = ("COMPARISON", "INDICATION", "FINDINGS", "IMPRESSION")


class Openi(Source):
    """The official download: one XML file a report, and PNG images named in it where they were unpacked too; or the
    widely used form of two tables, indiana_reports.csv and indiana_projections.csv.

    Every report is of another patient, as its publishers state. Labels are not part of it; `prepare` labels the
    reports, and images get the labels of their report.

    Args:
        root: The folder.
        views: "frontal", or "all" with the laterals; told apart by indiana_projections.csv.
    """

    name = "openi"
    folders = ("openi", "OpenI", "NLMCXR", "iu-xray")
    layout = (
        "ecgen-radiology/*.xml (from NLMCXR_reports.tgz) and, for images, NLMCXR_png/*.png (from NLMCXR_png.tgz); or "
        "indiana_reports.csv, indiana_projections.csv and images/images_normalized/*.png"
    )
    obtain = "https://openi.nlm.nih.gov/faq, free download under CC BY-NC-ND 4.0"
    population = "openi"

    def __init__(self, root: Path, *, views: str = "frontal") -> None:
        super().__init__(root)
        if views not in ("frontal", "all"):
            raise UserError(f"openi: views must be 'frontal' or 'all', found {views!r}.")
        self.views = views

    def texts(self) -> pd.DataFrame:
        """Returns one report a study, its sections under their headings."""
        rows = [
            {"study_id": report, "patient_id": report, "text": text, "split": None}
            for report, text, _ in self._reports()
        ]
        return check_texts(pd.DataFrame(rows), origin=self.name)

    def images(self) -> pd.DataFrame | None:
        """Returns the images that are on disk, or None where only reports are.

        What is frontal and what lateral only the table of projections says; without it all are kept, which is said.
        """
        folder = next((self.root / name for name in _IMAGE_FOLDERS if (self.root / name).is_dir()), None)
        if folder is None:
            return None
        if self._has_tables():
            return self._listed_images(folder)
        present = {path.stem: str(path) for path in folder.glob("*.png")}
        rows = [
            {"image_id": image, "study_id": report, "patient_id": report, "path": present[image]}
            for report, _, images in self._reports()
            for image in images
            if image in present
        ]
        if not rows:
            raise FileNotFoundError(self.missing([folder / "CXR1_1_IM-0001-3001.png"]))
        table = pd.DataFrame(rows)
        if (self.root / _PROJECTIONS).is_file():
            listed = self._projections()
            names = "CXR" + listed["uid"] + "_" + listed["filename"].str.removesuffix(".png").str.removesuffix(".dcm")
            view = listed["projection"].str.lower().set_axis(names).groupby(level=0).first()
            table = join_ids(table, view.rename("view"), on="image_id", origin=self.name, what=_PROJECTIONS)
        elif self.views == "frontal":
            logger.warning("openi: laterals cannot be told from frontal images without %s; all are kept", _PROJECTIONS)
        return check_images(self._of_views(table), origin=self.name)

    def _of_views(self, table: pd.DataFrame) -> pd.DataFrame:
        if self.views == "all" or "view" not in table.columns:
            return table
        return table[table["view"] != "lateral"]

    def _projections(self) -> pd.DataFrame:
        path = self.require(_PROJECTIONS)
        raw = read_csv(path, origin=self.name, needed=("uid", "filename", "projection"))
        return raw.assign(filename=listed_paths(raw["filename"], origin=f"{self.name}, {path.name}"))

    def _has_tables(self) -> bool:
        return (self.root / "indiana_reports.csv").is_file()

    def _listed_images(self, folder: Path) -> pd.DataFrame:
        raw = self._projections()
        report = "CXR" + raw["uid"]
        view = raw["projection"].str.lower()
        table = pd.DataFrame(
            {"image_id": raw["filename"].str.removesuffix(".dcm.png"), "study_id": report, "patient_id": report,
             "path": str(folder) + "/" + raw["filename"], "view": view}
        )  # fmt: skip
        return check_images(self._of_views(table), origin=f"{self.name}, {_PROJECTIONS}")

    def _reports(self) -> list[tuple[str, str, list[str]]]:
        """Returns (report id, text, image ids) of every report, in order of their numbers."""
        if self._has_tables():
            path = self.root / "indiana_reports.csv"
            sections = [name.lower() for name in _SECTIONS]
            raw = read_csv(path, origin=self.name, needed=("uid", "findings", "impression"))
            raw = raw.reindex(columns=["uid", *sections]).fillna("")
            rows: list[dict[str, str]] = raw.to_dict("records")  # type: ignore[assignment]
            return [("CXR" + row["uid"], _join(row), []) for row in rows]
        folder = self.root if self.root.name == "ecgen-radiology" else self.require("ecgen-radiology")
        paths = sorted(folder.glob("*.xml"), key=lambda path: (len(path.stem), path.stem))
        if not paths:
            raise FileNotFoundError(self.missing([folder / "1.xml"]))
        read, broken = [], []
        for path in paths:
            try:
                read.append(_read(path))
            except ElementTree.ParseError as error:
                broken.append(f"{path.name} ({error})")
        if not read:
            raise UserError(f"openi: {broken[0]} is no readable XML, as all others. Unpack NLMCXR_reports.tgz again.")
        if broken:
            logger.warning(
                "openi: %d of %d reports are left out, being no readable XML: %s. Unpack NLMCXR_reports.tgz again.",
                len(broken), len(paths), ", ".join(broken[:_SHOWN]),
            )  # fmt: skip
        return read


def _read(path: Path) -> tuple[str, str, list[str]]:
    root = ElementTree.parse(path).getroot()
    sections = {element.get("Label"): (element.text or "").strip() for element in root.iter("AbstractText")}
    text = _join({name.lower(): sections.get(name) or "" for name in _SECTIONS})
    unique = root.find("uId")
    report = unique.get("id", path.stem) if unique is not None else path.stem
    return report, text, [image.get("id", "") for image in root.iter("parentImage")]


def _join(sections: dict[str, str]) -> str:
    return "\n\n".join(
        f"{name}: {sections[name.lower()].strip()}" for name in _SECTIONS if sections[name.lower()].strip()
    )
