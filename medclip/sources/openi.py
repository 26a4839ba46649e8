"""Open-i / IU X-ray: the National Library of Medicine's chest X-ray reports and images (Demner-Fushman et al. 2016)."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pandas as pd

from medclip.sources import Source
from medclip.tables import check_images, check_texts

_SECTIONS = ("COMPARISON", "INDICATION", "FINDINGS", "IMPRESSION")


class Openi(Source):
    """The official download: one XML file a report, and PNG images named in it where they were unpacked too.

    Every report is of another patient, as its publishers state. Labels are not part of it; `prepare` labels the
    reports, and images get the labels of their report.
    """

    name = "openi"
    folders = ("openi", "OpenI", "NLMCXR", "iu-xray")
    layout = "ecgen-radiology/*.xml (from NLMCXR_reports.tgz) and, for images, NLMCXR_png/*.png (from NLMCXR_png.tgz)"
    obtain = "https://openi.nlm.nih.gov/faq, free download under CC BY-NC-ND 4.0"
    population = "openi"

    def texts(self) -> pd.DataFrame:
        """Returns one report a study, its sections under their headings."""
        rows = [
            {"study_id": report, "patient_id": report, "text": text, "split": None}
            for report, text, _ in self._reports()
        ]
        return check_texts(pd.DataFrame(rows), origin=self.name)

    def images(self) -> pd.DataFrame | None:
        """Returns the images that are on disk, or None where only reports are."""
        folder = next(
            (self.root / name for name in ("NLMCXR_png", "images", "png") if (self.root / name).is_dir()), None
        )
        if folder is None:
            return None
        present = {path.stem: str(path) for path in folder.glob("*.png")}
        rows = [
            {"image_id": image, "study_id": report, "patient_id": report, "path": present[image]}
            for report, _, images in self._reports()
            for image in images
            if image in present
        ]
        if not rows:
            raise FileNotFoundError(self.missing([folder / "CXR1_1_IM-0001-3001.png"]))
        return check_images(pd.DataFrame(rows), origin=self.name)

    def _reports(self) -> list[tuple[str, str, list[str]]]:
        """Returns (report id, text, image ids) of every XML file, in order of their numbers."""
        folder = self.root if self.root.name == "ecgen-radiology" else self.require("ecgen-radiology")
        paths = sorted(folder.glob("*.xml"), key=lambda path: (len(path.stem), path.stem))
        if not paths:
            raise FileNotFoundError(self.missing([folder / "1.xml"]))
        return [_read(path) for path in paths]


def _read(path: Path) -> tuple[str, str, list[str]]:
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(
            f"openi: {path.name} is no readable XML ({error}). Unpack NLMCXR_reports.tgz again."
        ) from error
    sections = {element.get("Label"): (element.text or "").strip() for element in root.iter("AbstractText")}
    text = "\n\n".join(f"{name}: {sections[name]}" for name in _SECTIONS if sections.get(name))
    unique = root.find("uId")
    report = unique.get("id", path.stem) if unique is not None else path.stem
    return report, text, [image.get("id", "") for image in root.iter("parentImage")]
