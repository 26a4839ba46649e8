"""Reading sources of the size of MIMIC-CXR and CheXpert: seconds and memory for tables, splits and label matrices.

PYTHONPATH=. python benchmarks/big_tables.py [ROWS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.measure import cost
from labelers.observations import CHEXPERT14
from medclip.data.tables import assign_splits, label_matrix
from medclip.data.test_sets import five_by_200
from medclip.utils.plugins import load_plugin


def write_chexpert(folder: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    patient = np.arange(rows) // 3
    states = rng.choice(["1.0", "0.0", "-1.0", ""], (rows, 14), p=[0.12, 0.1, 0.05, 0.73])
    table = pd.DataFrame(
        {
            "Path": [f"CheXpert-v1.0/train/patient{p:05d}/study{i}/view1_frontal.jpg" for i, p in enumerate(patient)],
            "Sex": "Female", "Age": 60, "Frontal/Lateral": "Frontal", "AP/PA": "AP",
            **{name: states[:, j] for j, name in enumerate(CHEXPERT14)},
        }
    )  # fmt: skip
    table.to_csv(folder / "train.csv", index=False)


def write_mimic(folder: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    subject, study = 10000000 + np.arange(rows) // 4, 50000000 + np.arange(rows) // 2
    image = [f"{i:08x}-00000000-00000000-00000000-00000000" for i in range(rows)]
    ids = pd.DataFrame({"dicom_id": image, "subject_id": subject, "study_id": study})
    ids.assign(ViewPosition=["PA", "LATERAL"] * (rows // 2)).to_csv(
        folder / "mimic-cxr-2.0.0-metadata.csv.gz", index=False
    )
    ids.assign(split="train").to_csv(folder / "mimic-cxr-2.0.0-split.csv.gz", index=False)
    states = pd.DataFrame(rng.choice([1.0, 0.0, -1.0, np.nan], (rows // 2, 14)), columns=list(CHEXPERT14))
    states.insert(0, "study_id", study[::2])
    states.to_csv(folder / "mimic-cxr-2.0.0-chexpert.csv.gz", index=False)


def given(*args: object) -> tuple[object, ...]:
    return args


def read(name: str, folder: str) -> None:
    table = load_plugin("sources", name)(Path(folder), views="all").images()
    label_matrix(assign_splits(table, seed=0), CHEXPERT14)


def choose(name: str, folder: str) -> None:
    five_by_200(load_plugin("sources", name)(Path(folder), views="all").images())


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    print(f"{'':42} {'rows':>9} {'seconds':>9} {'MiB':>7} {'bytes a row':>12}")
    for count in (rows // 4, rows):
        for name, write in (("chexpert", write_chexpert), ("mimic-cxr", write_mimic)):
            with tempfile.TemporaryDirectory() as folder:
                write(Path(folder), count)
                works = {"table, splits, label matrix": read} | ({"5x200": choose} if name == "chexpert" else {})
                for what, work in works.items():
                    found = cost(given, work, name, folder, repeats=1)
                    print(f"{name + ': ' + what:42} {count:9,} {found.seconds:9.2f} {found.mebibytes:7.0f} "
                          f"{found.mebibytes * 2**20 / count:12.0f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
