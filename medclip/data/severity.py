"""Readers' severity scores of images, such as Brixia scores: a table beside the images, one column a reader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from labelers.errors import UserError
from medclip.data.csv_files import read_csv
from medclip.data.tables import to_numbers
from medclip.utils.text import suggest


def read_severity(path: Path, readers: Sequence[str], images: pd.DataFrame) -> pd.DataFrame:
    """Returns image_id and a score of each reader, for the images that the table scores.

    Args:
        path: A CSV file with a column `image_id` as the source has it, or `path`, relative to the file's folder.
        readers: Columns of scores, higher for more severe.
        images: Prepared image table, whose ids begin with their population.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: A column is missing or holds no numbers, an image is scored twice, or no image is among the scored.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--severity {path}: there is no such file.")
    raw = read_csv(path, origin="severity")
    if not readers:
        raise UserError(
            f"--severity {path.name}: name its columns of scores with --severity-readers, a column a reader."
        )
    for name in readers:
        if name not in raw.columns:
            raise UserError(
                f"--severity-readers: {path.name} has no column {name!r}.{suggest(name, list(raw.columns))} Found: "
                f"{', '.join(map(str, raw.columns[:20]))}."
            )
    scores = pd.DataFrame({name: to_numbers(raw[name], origin=path.name) for name in readers})
    ids = _ids(raw, path, images)
    table = pd.DataFrame({"image_id": ids}).join(scores)
    table = table[table["image_id"].notna()].dropna(subset=list(readers), how="all").reset_index(drop=True)
    if table["image_id"].duplicated().any():
        raise UserError(f"--severity {path.name}: {int(table['image_id'].duplicated().sum())} images are scored twice.")
    if table.empty:
        raise UserError(
            f"--severity {path.name}: none of its {len(raw)} rows is one of the {len(images)} images. Its image_id "
            "must be that of the source, or its path lead to the same file."
        )
    return table


def _ids(raw: pd.DataFrame, path: Path, images: pd.DataFrame) -> pd.Series:
    """Returns the image_id that each row means, blank where the images lack it."""
    if "image_id" in raw.columns:
        plain = images["image_id"].astype(str).str.partition("/")[2]
        known = dict(zip(plain, images["image_id"], strict=True)) | {one: one for one in images["image_id"]}
        return raw["image_id"].map(known)
    if "path" in raw.columns:
        files = {
            str(Path(str(one)).resolve()): name for one, name in zip(images["path"], images["image_id"], strict=True)
        }
        folder = path.parent
        return raw["path"].map(lambda one: files.get(str((folder / str(one)).resolve())))
    raise UserError(
        f"--severity {path.name} needs a column image_id or path; found {', '.join(map(str, raw.columns[:20]))}."
    )
