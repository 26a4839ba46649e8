"""ReXGradient-160K: 273,004 radiographs and 160,000 reports of three US health systems (Zhang et al. 2025).

Layout: https://huggingface.co/datasets/rajpurkarlab/ReXGradient-160K.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from labelers.errors import UserError
from medclip.data.csv_files import listed_paths
from medclip.data.source import Source
from medclip.data.tables import check_images, check_texts

logger = logging.getLogger(__name__)

_FIELDS = ("PatientID", "StudyInstanceUid", "ImagePath")
_SECTIONS = ("Indication", "Comparison", "Findings", "Impression")
#: What the table calls views.
_VIEWS = {"PA": "PA", "POSTERO_ANTERIOR": "PA", "AP": "AP", "ANTERO_POSTERIOR": "AP", "AP AXIAL": "AP"}


class Rexgradient(Source):
    """The download: a JSON file of studies for each official split, and deid_png/ (unpacked from its parts).

    Labels are not part of it; `prepare` labels the reports, and images get the labels of their report.

    Args:
        root: The folder that holds metadata/ and deid_png/.
        views: "frontal" (PA and AP), or "all".
    """

    name = "rexgradient"
    folders = ("ReXGradient-160K", "rexgradient", "ReXGradient")
    layout = "metadata/{train,valid,test}_metadata_view_position.json and deid_png/"
    obtain = (
        "https://huggingface.co/datasets/rajpurkarlab/ReXGradient-160K, after accepting its terms; then "
        "cat deid_png.part* > deid_png.tar and tar -xf deid_png.tar"
    )
    population = "rexgradient"

    def __init__(self, root: Path, *, views: str = "frontal") -> None:
        super().__init__(root)
        if views not in ("frontal", "all"):
            raise UserError(f"rexgradient: views must be 'frontal' or 'all', found {views!r}.")
        self.views = views

    def images(self) -> pd.DataFrame:
        """Returns the images of the official train, validation and public test sets."""
        rows = [
            (_below(path), study, view, row.get("PatientAge"), row.get("PatientSex"), row["PatientID"], split)
            for split, study, row in self._studies()
            for path, view in _views_of(row)
        ]
        columns = ["image_id", "study_id", "view", "age", "sex", "patient_id", "split"]
        table = pd.DataFrame(rows, columns=columns)
        table["image_id"] = listed_paths(table["image_id"], origin=self.name)
        table["view"] = table["view"].map(_VIEWS).fillna("other")
        if self.views == "frontal":
            frontal = table["view"] != "other"
            logger.info("rexgradient: %d of %d images are PA or AP", int(frontal.sum()), len(table))
            table = table[frontal]
        return check_images(table.assign(path=str(self.root / "deid_png") + "/" + table["image_id"]), origin=self.name)

    def texts(self) -> pd.DataFrame:
        """Returns one report a study, its sections under their headings."""
        rows = [
            {"study_id": study, "patient_id": row["PatientID"], "text": _report(row), "split": split}
            for split, study, row in self._studies()
        ]
        return check_texts(pd.DataFrame(rows), origin=self.name)

    def _studies(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for split in ("train", "valid", "test"):
            path = self.require(f"metadata/{split}_metadata_view_position.json")
            for row in json.loads(path.read_text(encoding="utf-8")).values():
                if missing := [name for name in _FIELDS if name not in row]:
                    raise UserError(f"rexgradient: {path} has a study without {', '.join(missing)}.")
                yield split, str(row["StudyInstanceUid"]), row


def _below(path: str) -> str:
    """Returns a path relative to deid_png/; the file gives it relative to metadata/."""
    return path.removeprefix("../").removeprefix("deid_png/")


def _views_of(row: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    views = row.get("ImageViewPosition") or []
    for i, path in enumerate(row["ImagePath"]):
        yield path, str(views[i]).strip().upper() if i < len(views) and views[i] else None


def _report(row: dict[str, Any]) -> str:
    parts = [(name, str(row.get(name) or "").strip()) for name in _SECTIONS]
    return "\n\n".join(
        f"{name.upper()}: {text}" for name, text in parts if text and text.lower() not in ("none", "nan")
    )
