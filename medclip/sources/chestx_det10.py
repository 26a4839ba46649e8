"""ChestX-Det10: 3,543 images of ChestX-ray14 with boxes of ten findings by radiologists (Liu et al. 2020).

Layout: https://github.com/Deepwise-AILab/ChestX-Det10-Dataset.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from labelers.errors import UserError
from labelers.observations import SYNONYMS, states_from_names
from medclip.data.csv_files import listed_paths
from medclip.data.source import Source
from medclip.data.tables import check_boxes, check_images

#: What the readers looked for.
FINDINGS = (
    "Atelectasis", "Calcification", "Consolidation", "Effusion", "Emphysema", "Fibrosis", "Fracture", "Mass", "Nodule",
    "Pneumothorax",
)  # fmt: skip


class ChestxDet10(Source):
    """The authors' download: train.json and test.json, and the images they name.

    Images and patients are NIH's and have its ids, so that leaving them out of a training with `nih` works.
    """

    name = "chestx-det10"
    folders = ("ChestX-Det10", "ChestX-Det10-Dataset", "chestx-det10")
    layout = "train.json, test.json, train_data/*.png (or train_data/train-old/*.png), test_data/*.png"
    obtain = "https://github.com/Deepwise-AILab/ChestX-Det10-Dataset, free to use; cite Liu et al. 2020"
    population = "nih"

    def images(self) -> pd.DataFrame:
        """Returns the images; a finding that no box shows is negative. The test set is the official one."""
        rows = self._rows()
        named = [set(row["syms"]) for row in rows]
        if unknown := set().union(*named) - set(FINDINGS):
            raise UserError(f"chestx-det10: unknown findings {sorted(unknown)}; known: {', '.join(FINDINGS)}.")
        names = listed_paths(pd.Series([row["file_name"] for row in rows], dtype=object), origin=self.name)
        states = states_from_names([found or {""} for found in named], FINDINGS)  # none shown is an answer, too
        folders = [self._folder(row["split"]) for row in rows]
        stem = names.str.rsplit(".", n=1).str[0]
        table = pd.DataFrame(
            {
                "image_id": names,
                "study_id": stem,
                "patient_id": stem.str.split("_").str[0].str.replace(r"^0+(?=\d)", "", regex=True),
                "path": [f"{folder}/{name}" for folder, name in zip(folders, names, strict=True)],
                "split": ["test" if row["split"] == "test" else None for row in rows],
                **states,
            }
        )
        return check_images(table, origin=self.name)

    def boxes(self) -> pd.DataFrame:
        """Returns the boxes of both sets."""
        rows = [
            (row["file_name"], SYNONYMS.get(name, name), x, y, right - x, bottom - y)
            for row in self._rows()
            for name, (x, y, right, bottom) in zip(row["syms"], row["boxes"], strict=True)
        ]
        columns = ["image_id", "observation", "x", "y", "width", "height"]
        return check_boxes(pd.DataFrame(rows, columns=columns), origin=self.name)

    def _rows(self) -> list[dict[str, Any]]:
        rows = []
        for split in ("train", "test"):
            path = self.require(f"{split}.json", f"annotations/{split}.json")
            for row in json.loads(path.read_text(encoding="utf-8")):
                if not {"file_name", "syms", "boxes"} <= set(row):
                    raise UserError(f"chestx-det10: {path} has a row without file_name, syms and boxes.")
                rows.append(row | {"split": split})
        return rows

    def _folder(self, split: str) -> Path:
        nested = self.root / f"{split}_data" / "train-old"
        return nested if split == "train" and nested.is_dir() else self.root / f"{split}_data"
