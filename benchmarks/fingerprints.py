"""How well fingerprints find copies of real chest X-rays: python benchmarks/fingerprints.py FOLDER [FOLDER ...]

Each FOLDER holds images.csv (columns path, patient_id). Copies are re-encoded (0.25 to 2 times the size, JPEG of
quality 30 to 95 or PNG, 8, 12 or 16 bits, windows, gamma, black frames, some inverted) or, besides, cropped on each
side. Thresholds were chosen on one half of the patients; what is printed is of the other half. Wrong matches are
counted among all pairs of films of different patients. At the end: time and memory for 400,000 against 25,000 images.
"""

from __future__ import annotations

import argparse
import io
import resource
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from medclip.data.fingerprints import candidates, detail_correlation, fingerprint, is_same
from medclip.data.images import fit_square, read_image

SIDE = 256
CROPS = {"re-encoded": 0.0, "and cropped up to 3 %": 0.03, "and cropped up to 6 %": 0.06}


def copy_of(image: np.ndarray, rng: np.random.Generator, crop: float) -> np.ndarray:
    """Returns a copy as another data set might hold it."""
    height, width = image.shape
    left, right, top, bottom = rng.uniform(0, crop, 4) if crop else np.zeros(4)
    image = image[int(top * height) : height - int(bottom * height), int(left * width) : width - int(right * width)]
    factor = max(rng.uniform(0.25, 2), 64 / min(image.shape))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    values = cv2.resize(image, None, fx=factor, fy=factor, interpolation=how).astype(np.float32) / 255
    low, high = np.percentile(values, (rng.uniform(0, 3), 100 - rng.uniform(0, 3)))
    values = np.clip((values - low) / max(high - low, 1e-3), 0, 1) ** rng.uniform(0.7, 1.4)
    values = 1 - values if rng.random() < 0.15 else values
    levels = 2 ** int(rng.choice([8, 12, 16])) - 1
    grey = np.round(np.round(values * levels) / levels * 255).astype(np.uint8)
    if rng.random() < 0.3:
        edges = (rng.uniform(0, 0.05, 4) * len(grey)).astype(int).tolist()
        grey = cv2.copyMakeBorder(grey, *edges, cv2.BORDER_CONSTANT, value=0)
    if rng.random() < 0.8:
        packed = io.BytesIO()
        Image.fromarray(grey).save(packed, "JPEG", quality=int(rng.integers(30, 96)))
        grey = np.asarray(Image.open(packed))
    return grey


def films(folders: list[Path], half: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns the films of every other patient, and whose they are."""
    tables = [pd.read_csv(folder / "images.csv").assign(folder=str(folder)) for folder in folders]
    table = pd.concat(tables, ignore_index=True)
    order = {patient: i for i, patient in enumerate(sorted(table["patient_id"].astype(str).unique()))}
    table = table[[order[str(patient)] % 2 == half for patient in table["patient_id"]]]
    squares = [read_image(str(Path(row.folder) / row.path)) for row in table.itertuples()]
    return squares, table["patient_id"].astype(str).to_numpy()


def detail(squares: list[np.ndarray], others: list[np.ndarray], i: int, j: int) -> float:
    return detail_correlation(squares[i], others[j])


def report(folders: list[Path], half: int, copies: int) -> None:
    originals, patients = films(folders, half)
    squares = [fit_square(image, SIDE)[0] for image in originals]
    prints = np.stack([fingerprint(square) for square in squares])
    print(f"{len(squares)} films of {len(set(patients))} patients (half {half})")
    for name, crop in CROPS.items():
        rng = np.random.default_rng(half)
        made = [fit_square(copy_of(image, rng, crop), SIDE)[0] for image in originals for _ in range(copies)]
        theirs = np.stack([fingerprint(square) for square in made])
        cosines = [max((c for *_, c in candidates(theirs[k : k + 1], prints[k // copies][None], least=-1)), default=0)
                   for k in range(len(made))]  # fmt: skip
        alone = np.mean([is_same(c, float("nan")) for c in cosines])
        found = [c >= 0.92 and is_same(c, detail(made, squares, k, k // copies)) for k, c in enumerate(cosines)]
        print(f"  copies {name}: {np.mean(found):.4f} of {len(made)} found, by fingerprints alone {alone:.4f}")
    pairs = [(i, j, c) for i, j, c in candidates(prints, prints) if i < j and patients[i] != patients[j]]
    wrong = [(i, j, c, d) for i, j, c in pairs if is_same(c, d := detail(squares, squares, i, j))]
    every = sum((patients[i] != patients[i + 1 :]).sum() for i in range(len(patients)))
    alone = sum(is_same(c, float("nan")) for *_, c in pairs)
    print(f"  of {every:,} pairs of different patients {len(pairs)} are candidates, {len(wrong)} called the same, "
          f"by fingerprints alone {alone}")  # fmt: skip
    for i, j, c, d in wrong:
        print(f"    {patients[i]} and {patients[j]}: cosine {c:.3f}, details {d:.3f}")


def scale(first: int, second: int) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-127, 128, (count, 6, 63), dtype=np.int8) for count in (first, second))
    since = time.perf_counter()
    found = sum(1 for _ in candidates(a, b))
    seconds = time.perf_counter() - since
    square = rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    begun = time.perf_counter()
    for _ in range(200):
        fingerprint(square)
    each = (time.perf_counter() - begun) / 200
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{first:,} against {second:,}: {seconds:.0f} s, {found} found, {a.nbytes / 1e6:.0f} MB of fingerprints, "
          f"peak {peak:.2f} GB; a fingerprint takes {1000 * each:.2f} ms")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--copies", type=int, default=2)
    parser.add_argument("--half", type=int, default=1, help="0 for the films that thresholds were chosen on")
    parser.add_argument("--first", type=int, default=400_000)
    parser.add_argument("--second", type=int, default=25_000)
    arguments = parser.parse_args()
    if arguments.folders:
        report(arguments.folders, arguments.half, arguments.copies)
    if arguments.first:
        scale(arguments.first, arguments.second)


if __name__ == "__main__":
    main()
