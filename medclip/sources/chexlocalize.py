"""CheXlocalize: outlines of ten observations by radiologists on CheXpert's validation and test images (Saporta 2022).

Layout: https://github.com/rajpurkarlab/cheXlocalize and its download page. Masks are run lengths as COCO packs them.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from labelers.errors import UserError
from labelers.observations import CHEXPERT14, SYNONYMS
from medclip.data.csv_files import listed_paths, read_csv
from medclip.data.source import Source
from medclip.data.tables import check_boxes, check_images, joined_states
from medclip.sources.siim import box_of

#: Our split of each set.
_SETS = {"val": "valid", "test": "test"}


class Chexlocalize(Source):
    """The download: CheXpert's validation and test images with their labels, and a JSON file of masks for each.

    Patients and images have CheXpert's ids.
    """

    name = "chexlocalize"
    folders = ("chexlocalize", "CheXlocalize", "chexlocalize_dataset")
    marks = ("CheXlocalize/gt_segmentations_*.json",)
    layout = (
        "CheXpert/val_labels.csv, CheXpert/test_labels.csv, CheXpert/val/*/*/*.jpg, CheXpert/test/*/*/*.jpg, "
        "CheXlocalize/gt_segmentations_val.json, CheXlocalize/gt_segmentations_test.json"
    )
    obtain = (
        "https://stanfordaimi.azurewebsites.net/datasets/23c56a0d-15de-405b-87c8-99c30138950c, after registering and "
        "accepting the Stanford University Dataset Research Use Agreement"
    )
    population = "chexpert"

    def images(self) -> pd.DataFrame:
        """Returns the frontal images of both sets, with their radiologists' labels."""
        parts = [self._part(name) for name in _SETS if (self.root / "CheXpert" / f"{name}_labels.csv").is_file()]
        if not parts:
            raise FileNotFoundError(self.missing([self.root / "CheXpert" / f"{name}_labels.csv" for name in _SETS]))
        return check_images(pd.concat(parts, ignore_index=True), origin=self.name)

    def boxes(self) -> pd.DataFrame:
        """Returns the box around each mask, on frontal images."""
        rows = []
        for name, split in _SETS.items():
            path = self.root / "CheXlocalize" / f"gt_segmentations_{name}.json"
            masks = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            for key, found in masks.items():
                if key.endswith("frontal"):
                    image = f"{split}/{_file_of(key)}"
                    rows += [(image, SYNONYMS.get(what, what), *box_of(decode_coco(**m))) for what, m in found.items()]
        table = pd.DataFrame(rows, columns=["image_id", "observation", "x", "y", "width", "height"])
        if table.empty:
            raise FileNotFoundError(self.missing([self.root / "CheXlocalize" / "gt_segmentations_test.json"]))
        return check_boxes(table[table["width"] > 0], origin=self.name)  # an empty mask: not there

    def _part(self, name: str) -> pd.DataFrame:
        path = self.root / "CheXpert" / f"{name}_labels.csv"
        raw = read_csv(path, origin=self.name, needed=("Path",))
        # "CheXpert-v1.0/valid/patient64541/study1/view1_frontal.jpg" or "test/patient64741/study1/view1_frontal.jpg"
        files = listed_paths(raw["Path"], origin=f"{self.name}, {path.name}").str.split("/").str[-3:].str.join("/")
        raw, files = raw[files.str.contains("frontal")], files[files.str.contains("frontal")]
        parts = files.str.split("/")
        states = joined_states(raw[[c for c in raw.columns if SYNONYMS.get(c, c) in CHEXPERT14]], origin=self.name)
        table = pd.DataFrame(
            {
                "image_id": _SETS[name] + "/" + files,
                "study_id": parts.str[0] + "/" + parts.str[1],
                "patient_id": parts.str[0],
                "path": str(self.root / "CheXpert" / name) + "/" + files,
                "split": _SETS[name],
            }
        )
        return check_images(pd.concat([table, states], axis=1), origin=f"{self.name}, {path.name}")


def _file_of(key: str) -> str:
    """Returns "patient64622/study1/view1_frontal.jpg" for "patient64622_study1_view1_frontal"."""
    return "/".join(key.split("_", 2)) + ".jpg"


def decode_coco(size: tuple[int, int], counts: str) -> np.ndarray:
    """Returns a mask (height, width) of booleans from COCO's packed run lengths.

    Each number is five bits a character above "0", lowest first, a sixth bit where more follow; from the fourth on, it
    is the difference to the one before the last. Runs of no and yes alternate down the columns.

    Raises:
        UserError: The runs do not fill the mask.
    """
    runs: list[int] = []
    value = shift = 0
    for char in counts:
        bits = ord(char) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    height, width = size
    if sum(runs) != height * width or min(runs, default=0) < 0:
        raise UserError(f"chexlocalize: a mask's runs fill {sum(runs)} of its {height}x{width} pixels.")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T
