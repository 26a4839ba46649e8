"""CheXpert 5x200: 1,000 training images of CheXpert with one of five observations each; three definitions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from labelers.errors import UserError
from medclip.data.source import Source
from medclip.data.test_sets import DEFINITIONS, five_by_200
from medclip.utils.plugins import load_plugin


class Chexpert5x200(Source):
    """The test set of GLoRIA, MGCA and MedCLIP, chosen again from train.csv; see `medclip.data.test_sets`.

    Its patients are in CheXpert's training set. Leave them out when training: `medclip-train --exclude chexpert-5x200`.

    Args:
        root: Folder, as for `chexpert`.
        definition: "mgca", "gloria" or "medclip".
        per_class: Images of each observation.
    """

    name = "chexpert-5x200"
    folders = load_plugin("sources", "chexpert").folders
    layout = load_plugin("sources", "chexpert").layout
    obtain = load_plugin("sources", "chexpert").obtain
    population = "chexpert"

    def __init__(self, root: Path, *, definition: str = "mgca", per_class: int = 200) -> None:
        super().__init__(root)
        if definition not in DEFINITIONS:
            raise UserError(f"chexpert-5x200: definition must be {', '.join(DEFINITIONS)}, found {definition!r}.")
        self.definition, self.per_class = definition, per_class

    def images(self) -> pd.DataFrame:
        """Returns the images, all of them in the test split."""
        table = load_plugin("sources", "chexpert")(self.root, views="all").images()
        train = table[table["image_id"].str.startswith("train/")]
        return (
            five_by_200(train, definition=self.definition, per_class=self.per_class)
            .assign(split="test")
            .reset_index(drop=True)
        )
