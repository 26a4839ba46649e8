"""MIMIC 5x200: MedCLIP's second test set, 1,000 images of MIMIC-CXR with one of five observations each."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from labelers.errors import UserError
from medclip.data.source import Source
from medclip.data.test_sets import DEFINITIONS, five_by_200
from medclip.utils.plugins import load_plugin


class Mimic5x200(Source):
    """Chosen from MIMIC-CXR as MedCLIP's authors did, by NegBio's labels; see `medclip.data.test_sets`.

    Their order of rows is not published, so the images are not the same ones. Leave its patients out when training:
    `medclip-train --exclude mimic-5x200`.

    Args:
        root: Folder, as for `mimic-cxr`.
        definition: "mgca", "gloria" or "medclip".
        per_class: Images of each observation.
        labels: "negbio" as in MedCLIP, or "chexpert".
    """

    name = "mimic-5x200"
    folders = load_plugin("sources", "mimic-cxr").folders
    layout = load_plugin("sources", "mimic-cxr").layout
    obtain = load_plugin("sources", "mimic-cxr").obtain
    population = "mimic-cxr"

    def __init__(
        self, root: Path, *, definition: str = "medclip", labels: str = "negbio", per_class: int = 200
    ) -> None:
        super().__init__(root)
        if definition not in DEFINITIONS or labels not in ("negbio", "chexpert"):
            raise UserError(
                f"mimic-5x200: definition must be {', '.join(DEFINITIONS)} and labels negbio or chexpert, found "
                f"{definition!r} and {labels!r}."
            )
        self.definition, self.labels, self.per_class = definition, labels, per_class

    def images(self) -> pd.DataFrame:
        """Returns the images, all of them in the test split."""
        views = "all" if self.definition == "medclip" else "frontal"
        table = load_plugin("sources", "mimic-cxr")(self.root, views=views, labels=self.labels).images()
        return (
            five_by_200(table, definition=self.definition, per_class=self.per_class)
            .assign(split="test")
            .reset_index(drop=True)
        )
