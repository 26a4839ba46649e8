"""Boxes in a table of a user's own: which of its columns say where they are, and what they are around."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from labelers.errors import UserError
from labelers.observations import CHEXPERT14, SYNONYMS
from medclip.data.csv_files import listed
from medclip.data.tables import as_ids, check_boxes, join_ids, to_numbers

logger = logging.getLogger(__name__)

#: What others call the sides of a box, in small letters and without blanks or underscores.
_SIDES = {
    "left": ("x", "x1", "xmin", "left"), "top": ("y", "y1", "ymin", "top"), "right": ("x2", "xmax", "right"),
    "bottom": ("y2", "ymax", "bottom"), "width": ("width", "w"), "height": ("height", "h"),
}  # fmt: skip
_ABOUT = {
    "observation": ("observation", "finding", "label", "findinglabel", "classname", "category"),
    "phrase": ("phrase", "labeltext", "sentence"),
}
#: What is expected, for messages and documents.
EXPECTED = (
    "x, y, width, height or x1, y1, x2, y2, in pixels of the image file from its upper left corner, and observation or "
    "phrase"
)


def plain(name: object) -> str:
    """Returns the name of a column in small letters, without what is no letter and no digit."""
    return "".join(char for char in str(name).lower() if char.isalnum())


def holds_boxes(names: Sequence[str]) -> bool:
    """Tells whether a table with these columns is one of boxes."""
    found = _found(names)
    corners = {"left", "top", "right", "bottom"} <= found.keys() or {"left", "top", "width", "height"} <= found.keys()
    return corners and bool(found.keys() & set(_ABOUT))


def read_boxes(raw: pd.DataFrame, *, origin: str) -> pd.DataFrame:
    """Returns the boxes in `raw`, which says the image of each as `image_id`, as a box table with phrases.

    Rows without a place are images without a box, and are left out. A box has an observation, a phrase or both; names
    of observations are brought to ours.

    Raises:
        UserError: A column is missing; a place is no number, a share of the image or no area; a box is of nothing.
    """
    found = _found(list(raw.columns))
    if not holds_boxes(list(raw.columns)):
        raise UserError(f"{origin}: expected columns {EXPECTED}. Found: {', '.join(map(str, raw.columns[:30]))}.")
    sides = {side: to_numbers(raw[name], origin=origin) for side, name in found.items() if side in _SIDES}
    extent = ("right", "bottom") if {"right", "bottom"} <= sides.keys() else ("width", "height")
    places = pd.DataFrame({side: sides[side] for side in ("left", "top", *extent)})
    _check_units(places, origin)
    known = places.notna().all(axis=1)
    if partly := list(raw.index[places.notna().any(axis=1) & ~known]):
        logger.warning("%s: %s left out, with a part of the box blank", origin, listed(partly))
    table = pd.DataFrame({"image_id": raw["image_id"], "x": places["left"], "y": places["top"]})
    table["width"] = places["right"] - places["left"] if extent[0] == "right" else places["width"]
    table["height"] = places["bottom"] - places["top"] if extent[0] == "right" else places["height"]
    for what in _ABOUT:
        words = raw[found[what]] if what in found else pd.Series("", index=raw.index, dtype=object)
        table[what] = words.fillna("").astype(str).str.strip()
    ours = {plain(name): SYNONYMS.get(name, name) for name in (*SYNONYMS, *CHEXPERT14)}
    table["observation"] = [ours.get(plain(name), name) for name in table["observation"]]
    table = table[known]
    if nothing := list(table.index[(table["observation"] == "") & (table["phrase"] == "")]):
        raise UserError(f"{origin}: {listed(nothing, 'have')} a box, but neither an observation nor a phrase.")
    return check_boxes(table, origin=origin)


def image_ids(raw: pd.DataFrame) -> pd.Series:
    """Returns the id of the image of each row: its `image_id`, or else its `path`."""
    return raw["image_id"] if "image_id" in raw.columns else raw["path"]


def of_images(boxes: pd.DataFrame, raw: pd.DataFrame, *, path: Path, images: str) -> pd.DataFrame:
    """Returns the rows of a table of boxes whose image is in `raw`, with that image's id.

    Args:
        boxes: What `path` holds, with a column image_id or path.
        raw: Images, with a column `path` and perhaps `image_id`.
        path: The file of the boxes, for messages.
        images: The file of the images, for messages.

    Raises:
        UserError: Neither column is there, or none of its values is that of an image.
    """
    ours = {"imageid": "image_id", "path": "path"}
    boxes = boxes.rename(columns={name: ours[plain(name)] for name in boxes.columns if plain(name) in ours})
    keys = [name for name in ("image_id", "path") if name in boxes.columns and name in raw.columns]
    if not keys:
        raise UserError(
            f"csv: {path} does not say which image a box is in. Expected a column image_id or path with the values of "
            f"{images}. Found: {', '.join(map(str, boxes.columns[:30]))}."
        )
    ids = pd.Series(image_ids(raw).to_numpy(), index=as_ids(raw[keys[0]]), name="image_id")
    keyed = boxes.assign(**{keys[0]: as_ids(boxes[keys[0]])}).rename(columns={keys[0]: "path"})
    keyed = keyed.drop(columns="image_id", errors="ignore")
    met = join_ids(keyed, ids[~ids.index.duplicated()], on="path", origin=f"csv: {path.name}", what=images)
    return met.dropna(subset=["image_id"])


def positive_where_boxed(images: pd.DataFrame, boxes: pd.DataFrame | None) -> pd.DataFrame:
    """Returns a table of images with a column for each observation of `boxes`: "1" where there is one, else blank."""
    if boxes is None:
        return images
    for name in sorted(set(boxes["observation"]) - {""}):
        boxed = image_ids(images).isin(boxes.loc[boxes["observation"] == name, "image_id"])
        images = images.assign(**{name: boxed.map({True: "1", False: None})})
    return images


def _found(names: Sequence[str]) -> dict[str, str]:
    """Returns which column is which side of a box, and which says what it is around."""
    like = {plain(name): str(name) for name in reversed(names)}
    return {
        what: next(like[alias] for alias in aliases if alias in like)
        for what, aliases in (_SIDES | _ABOUT).items()
        if any(alias in like for alias in aliases)
    }


def _check_units(places: pd.DataFrame, origin: str) -> None:
    values = places.to_numpy()
    if np.isfinite(values).any() and np.nanmax(values) <= 1:
        raise UserError(
            f"{origin}: no box reaches beyond 1, so these are shares of the image; expected pixels of the image file. "
            "Multiply by its width and height."
        )
