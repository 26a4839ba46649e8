"""Boxes of observations, brought from the pixels of files to the squares that models see."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from medclip.data.images import image_shape, square_geometry
from medclip.data.prepared import qualified
from medclip.data.source import Source
from medclip.data.tables import BOX_EXTRAS

logger = logging.getLogger(__name__)

#: Side of a square so fine that whole pixels of it are shares of the side.
_FINE = 2**24


def prepare_boxes(source: Source, images: pd.DataFrame) -> pd.DataFrame | None:
    """Returns the boxes of prepared images as shares of the side of the square they became; None if there are none.

    Columns: image_id, observation, phrase if there are any, left, top, width, height, and where the image itself lies
    in the square: image_left, image_top, image_width, image_height. Boxes of images that are not among `images` are
    left out, and, with a warning, those that reach out of theirs.
    """
    boxes = source.boxes()
    if boxes is None:
        return None
    boxes = qualified(boxes, source)
    paths = images.set_index("image_id")["path"]
    boxes = boxes[boxes["image_id"].isin(paths.index)].reset_index(drop=True)
    sizes = {}
    for image in boxes["image_id"].unique():
        path = paths[image]
        width, height = image_shape(path) if source.draw is None else source.draw(path).shape[::-1]
        sizes[image] = (float(width), float(height))
    size = np.array([sizes[image] for image in boxes["image_id"]]).reshape(-1, 2)
    ends = boxes[["x", "y"]].to_numpy(dtype=float) + boxes[["width", "height"]].to_numpy(dtype=float)
    within = (boxes[["x", "y"]].to_numpy() >= -1).all(axis=1) & (ends <= size + 1).all(axis=1)
    if not within.all():
        logger.warning(
            "%s: %d of %d boxes reach out of their image and are left out; are these the images they were drawn on?",
            source.name, int((~within).sum()), len(boxes),
        )  # fmt: skip
        boxes, size = boxes[within], size[within]
    places = [square_geometry(int(width), int(height), _FINE) for width, height in size]
    unit = np.array([place.scale / _FINE for place in places])
    left, top = (np.array([getattr(place, side) / _FINE for place in places]) for side in ("left", "top"))
    shares = size * unit[:, None]
    return boxes[[name for name in ("image_id", "observation", *BOX_EXTRAS) if name in boxes.columns]].assign(
        left=left + boxes["x"] * unit, top=top + boxes["y"] * unit,
        width=boxes["width"] * unit, height=boxes["height"] * unit,
        image_left=left, image_top=top, image_width=shares[:, 0], image_height=shares[:, 1],
    )  # fmt: skip
