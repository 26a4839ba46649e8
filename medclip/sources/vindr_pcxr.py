"""VinDr-PCXR: 9,125 radiographs of children under 10, with boxes and labels by radiologists (Pham et al. 2023).

Layout: https://physionet.org/content/vindr-pcxr/1.0.0/.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from medclip.sources.vindr import OBSERVATIONS, Vindr


class VindrPcxr(Vindr):
    """The PhysioNet download: like VinDr-CXR, with the tables beside train/ and test/, and one reader an image.

    Kinds of pneumonia are Pneumonia, kinds of opacity Lung Opacity; other names stay as they are.

    Args:
        root: The folder that holds image_labels_train.csv.
    """

    name = "vindr-pcxr"
    folders = ("vindr-pcxr", "vindr-pcxr/1.0.0", "physionet.org/files/vindr-pcxr/1.0.0", "VinDr-PCXR")
    marks = ("image_labels_t*.csv",)
    layout = (
        "train/*.dicom, test/*.dicom, image_labels_train.csv, image_labels_test.csv, annotations_train.csv, "
        "annotations_test.csv"
    )
    obtain = (
        "https://physionet.org/content/vindr-pcxr/, as a credentialed PhysioNet user, under the PhysioNet Credentialed "
        "Health Data Use Agreement 1.5.0"
    )
    population = "vindr-pcxr"
    observations: ClassVar[Mapping[str, str]] = OBSERVATIONS | {
        "Brocho-pneumonia": "Pneumonia",
        "Pleuro-pneumonia": "Pneumonia",
        "Other opacity": "Lung Opacity",
        "Reticulonodular opacity": "Lung Opacity",
        "Peribronchovascular interstitial opacity": "Lung Opacity",
        "Diffuse aveolar opacity": "Lung Opacity",
        "Interstitial lung disease - ILD": "Lung Opacity",
    }

    def __init__(self, root: Path) -> None:
        super().__init__(root, votes=1)

    def _labels(self, split: str) -> Path:
        return self.root / f"image_labels_{split}.csv"

    def _box_file(self, split: str) -> Path:
        return self.root / f"annotations_{split}.csv"

    def _is_challenge(self) -> bool:
        return False
