"""Our parsers, splits and published test sets on label tables of full size, which the torchxrayvision wheel holds.

    pip install --target FOLDER --no-deps torchxrayvision
    PYTHONPATH=. python benchmarks/full_tables.py FOLDER/torchxrayvision

Tables are unpacked into a temporary folder in their owners' layout. Images are not there: where a source looks for
files, empty ones stand for them. Nothing of the package is kept.
"""

from __future__ import annotations

import gzip
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from medclip.data.csv_files import read_csv
from medclip.data.splits import assign_splits, declared_splits, split_origins, split_table
from medclip.utils.plugins import load_plugin


def unpack(data: Path, name: str, target: Path) -> Path:
    """Writes the gzipped table `name` of the package to `target`, and returns the folder it is in."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(data / name) as packed, target.open("wb") as file:
        shutil.copyfileobj(packed, file)
    return target.parent


def touch(folder: Path, names: Iterable[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()


def chexpert(data: Path, root: Path) -> Path:
    return unpack(data, "chexpert_train.csv.gz", root / "train.csv")


def nih(data: Path, root: Path) -> Path:
    unpack(data, "BBox_List_2017.csv.gz", root / "BBox_List_2017.csv")
    unpack(data, "Data_Entry_2017_v2020.csv.gz", root / "Data_Entry_2017_v2020.csv")
    table = read_csv(root / "Data_Entry_2017_v2020.csv", origin="benchmark", wanted=("Image Index",))
    touch(root / "images", table["Image Index"])
    return root


def padchest(data: Path, root: Path) -> Path:
    name = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
    return unpack(data, f"{name}.gz", root / name)


def rsna(data: Path, root: Path) -> Path:
    root.mkdir()
    with zipfile.ZipFile(data / "kaggle_stage_2_train_labels.csv.zip") as archive:
        archive.extract("stage_2_train_labels.csv", root)
    return root


def siim(data: Path, root: Path) -> Path:
    unpack(data, "siim-pneumothorax-train-rle.csv.gz", root / "train-rle.csv")
    table = read_csv(root / "train-rle.csv", origin="benchmark", wanted=("ImageId",))
    touch(root / "dicom-images-train", [f"{name}.dcm" for name in table["ImageId"].unique()])
    return root


def vindr(data: Path, root: Path) -> Path:
    return unpack(data, "vinbigdata-train.csv.gz", root / "train.csv")


#: Source, what lays out its tables, and options.
CASES: list[tuple[str, Callable[[Path, Path], Path], dict[str, Any]]] = [
    ("chexpert", chexpert, {}),
    ("chexpert", chexpert, {"views": "all"}),
    ("chexpert-5x200", chexpert, {"definition": "mgca"}),
    ("chexpert-5x200", chexpert, {"definition": "gloria"}),
    ("chexpert-5x200", chexpert, {"definition": "medclip"}),
    ("nih", nih, {}),
    ("padchest", padchest, {}),
    ("padchest", padchest, {"views": "all"}),
    ("padchest", padchest, {"by": "physician"}),
    ("rsna", rsna, {}),
    ("rsna", rsna, {"test": "medclip"}),
    ("siim", siim, {}),
    ("vindr", vindr, {}),
]


def measure(data: Path, name: str, lay: Callable[[Path, Path], Path], options: dict[str, Any]) -> pd.DataFrame:
    """Returns the counts of one source by split, with the seconds that reading took."""
    with tempfile.TemporaryDirectory() as folder:
        source = load_plugin("sources", name)(lay(data, Path(folder) / name), **options)
        start = time.perf_counter()
        images = source.images()
        seconds = time.perf_counter() - start
        boxes = source.boxes()
    declared = declared_splits([images])
    table = assign_splits(images, seed=0, declared=declared)
    torn = int((table.groupby("patient_id")["split"].nunique() > 1).sum())
    label = " ".join([name, *(f"{key}={value}" for key, value in options.items())])
    counts = split_table(label, "images", table, split_origins(table, declared))
    return counts.assign(torn=torn, boxes=0 if boxes is None else len(boxes), seconds=round(seconds, 1))


def main(package: Path) -> None:
    data = package / "data"
    rows = [measure(data, *case) for case in CASES]
    print(pd.concat(rows).rename(columns={"torn": "patients in two splits"}).to_string(index=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
