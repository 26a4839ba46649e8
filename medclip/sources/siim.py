"""SIIM-ACR Pneumothorax Segmentation: 12,047 frontal DICOM files with run-length masks (2019)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from labelers.errors import UserError
from medclip.data.csv_files import read_csv
from medclip.data.image_files import by_name
from medclip.data.source import Source
from medclip.data.tables import check_boxes, check_images

_SIDE = 1024  # of every image of the challenge


class Siim(Source):
    """The Kaggle download: a table of masks and folders of DICOM files, in either of its two stages.

    A mask is the only label: an image with one is positive for Pneumothorax, an image with "-1" negative.
    """

    name = "siim"
    folders = ("siim-acr-pneumothorax-segmentation", "siim-acr-pneumothorax", "SIIM", "siim")
    layout = "train-rle.csv (or stage_2_train.csv) and dicom-images-train/*/*/*.dcm (or any folders of *.dcm)"
    obtain = (
        "https://www.kaggle.com/competitions/siim-acr-pneumothorax-segmentation, with a Kaggle account and under the "
        "rules of the competition"
    )
    population = "siim"
    holds_images_of = ("nih",)  # the challenge took them from ChestX-ray14, under new ids

    def images(self) -> pd.DataFrame:
        """Returns one image a patient, for every mask whose file is on disk."""
        found = by_name(sorted(self.root.rglob("*.dcm")), origin=self.name, key=lambda path: path.stem)
        files = {name: str(path) for name, path in found.items()}
        masks = self._masks()
        present = masks["EncodedPixels"].str.strip().ne("-1").groupby(masks["ImageId"], sort=False).any()
        known = present[present.index.isin(files.keys())]
        if known.empty:
            raise FileNotFoundError(self.missing([self.root / "dicom-images-train"]))
        ids = known.index.to_series().reset_index(drop=True)
        table = pd.DataFrame({"image_id": ids, "study_id": ids, "patient_id": ids, "path": ids.map(files)})
        return check_images(table.assign(Pneumothorax=known.to_numpy(dtype=float)), origin=self.name)

    def boxes(self) -> pd.DataFrame:
        """Returns the box around each mask."""
        masks = self._masks()
        rows = [
            (image, "Pneumothorax", *box_of(decode_mask(runs)))
            for image, runs in zip(masks["ImageId"], masks["EncodedPixels"], strict=True)
            if runs.strip() != "-1"
        ]
        columns = ["image_id", "observation", "x", "y", "width", "height"]
        return check_boxes(pd.DataFrame(rows, columns=columns), origin=self.name)

    def _masks(self) -> pd.DataFrame:
        path = self.require("train-rle.csv", "stage_2_train.csv")
        return read_csv(path, origin=self.name, needed=("ImageId", "EncodedPixels")).dropna()


def decode_mask(runs: str, *, width: int = _SIDE, height: int = _SIDE) -> np.ndarray:
    """Returns a mask (height, width) of booleans.

    As in the challenge: pixels are numbered down the columns, and pairs say how many to skip since the end of the
    last run and how many follow.

    Raises:
        UserError: The numbers are no pairs, or lead beyond the image.
    """
    try:
        pairs = np.array(runs.split(), dtype=np.int64).reshape(-1, 2)
    except ValueError as error:
        raise UserError(f"siim: a mask is no list of pairs of numbers ({error}).") from error
    ends = pairs.sum(axis=1).cumsum()
    if (pairs < 0).any() or (len(ends) and ends[-1] > width * height):
        raise UserError(f"siim: a mask leads beyond its {width}x{height} pixels.")
    flat = np.zeros(width * height, dtype=bool)
    for end, length in zip(ends, pairs[:, 1], strict=True):
        flat[end - length : end] = True
    return flat.reshape(width, height).T


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Returns x, y, width and height of the smallest box around a mask; all 0 for an empty one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)
