"""Images per second from files and from our cache into training batches, beside a plain torchvision data set.

    PYTHONPATH=. python benchmarks/data_path.py [IMAGES]

Makes synthetic radiographs as NIH (PNG, 1024 x 1024), as CheXpert (JPEG, 2048 x 2048) and as DICOM (16 bits stored in
12, 2048 x 2048), one process, 224-pixel batches with the augmentation of MedCLIP.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import torch
from PIL import Image
from torchvision import transforms

from medclip.data.cache import PixelCache, file_key
from medclip.data.images import fit_square, read_image
from medclip.data.preprocessing import MEAN, STD, normalise
from medclip.data.transforms import Augmentation, apply, train_pipeline
from medclip.sources.phantom.radiograph import draw_radiograph

BATCH, SIZE = 32, 224
PUBLISHED = Augmentation(crop=0.875, flip=0.5, jitter=0.2, rotate=10.0, shift=0.0625, scale=(0.8, 1.1))


def write_dicom(path: Path, pixels: np.ndarray) -> None:
    """Writes 12-bit grey pixels under the header of an image that pydicom brings."""
    data = pydicom.examples.ct
    data.Modality, data.RescaleIntercept = "DX", 0
    data.set_pixel_data(pixels, "MONOCHROME2", bits_stored=12)
    data.save_as(path)


def write(folder: Path, kind: str, count: int) -> list[str]:
    side = 1024 if kind == "PNG" else 2048
    paths = []
    for i in range(count):
        pixels = draw_radiograph(0, i, size=side)
        path = folder / f"{i}.{kind.lower()}"
        if kind == "DICOM":
            path = path.with_suffix(".dcm")
            write_dicom(path, pixels.astype(np.uint16) * 16)
        else:
            Image.fromarray(pixels).save(path, **({"quality": 90} if kind == "JPEG" else {}))
        paths.append(str(path))
    return paths


def rate(work: Callable[[], object], images: int, *, seconds: float = 4.0) -> float:
    """Returns images per second, of at least two goes and so many seconds."""
    work()
    start, goes = time.perf_counter(), 0
    while goes < 2 or time.perf_counter() - start < seconds:
        work()
        goes += 1
    return goes * images / (time.perf_counter() - start)


def plain(paths: list[str]) -> Callable[[], torch.Tensor]:
    """A data set as it is usually written: open, convert, torchvision's transforms one by one, stack."""
    steps = transforms.Compose(
        [
            transforms.Resize((256, 256)),
            transforms.RandomAffine(10, translate=(0.0625, 0.0625), scale=(0.8, 1.1)),
            transforms.RandomCrop(SIZE),
            transforms.RandomHorizontalFlip(),
            transforms.ColorJitter(0.2, 0.2),
            transforms.ToTensor(),
            transforms.Normalize([MEAN], [STD]),
        ]
    )

    def opened(path: str) -> Image.Image:
        if path.endswith(".dcm"):
            values = pydicom.dcmread(path).pixel_array.astype(np.float32)
            return Image.fromarray((values / values.max() * 255).astype(np.uint8))
        return Image.open(path).convert("L")

    return lambda: torch.stack([steps(opened(path)) for path in paths])


def scaling(kind: str, count: int = 1024) -> None:
    """Prints how fast files are prepared by one process and by two."""
    with tempfile.TemporaryDirectory() as name:
        originals, rates = write(Path(name), kind, 6), []
        paths = [f"{name}/copy{i}{Path(originals[0]).suffix}" for i in range(count)]
        for i, path in enumerate(paths):
            shutil.copy(originals[i % 6], path)
        for workers in (1, 2):
            start = time.perf_counter()
            PixelCache(Path(name) / f"{workers}", 256).fill({file_key(path): path for path in paths}, workers=workers)
            rates.append(count / (time.perf_counter() - start))
        print(f"preparing {kind}: {rates[0]:.0f} a second with one process, {rates[1]:.0f} with two")


def main() -> None:
    torch.set_num_threads(1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 96
    pipeline = train_pipeline(SIZE, PUBLISHED)
    print(f"{'':8} {'plain':>9} {'ours, from files':>17} {'ours, from cache':>17} {'cache / plain':>14} {'prepare':>9}")
    print(f"{'':8}" + f" {'images a second, one process':>45}")
    for kind in ("PNG", "JPEG", "DICOM"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            paths = write(folder, kind, count)
            part = paths[:BATCH]

            def from_files(part: list[str] = part) -> np.ndarray:
                return apply(
                    pipeline, np.stack([fit_square(read_image(p, at_least=256), 256)[0] for p in part]), seed=1
                )

            cache = PixelCache(folder / "cache", 256)
            start = time.perf_counter()
            cache.fill({file_key(path): path for path in paths})
            prepared = count / (time.perf_counter() - start)
            keys = [file_key(path) for path in part]
            usual = rate(plain(part), BATCH)
            files = rate(from_files, BATCH)
            cached = rate(lambda cache=cache, keys=keys: apply(pipeline, cache.get(keys), seed=1), BATCH)
            line = f"{usual:9.1f} {files:17.1f} {cached:17.1f} {cached / usual:13.1f}x {prepared:9.1f}"
            print(f"{kind:8} {line}", flush=True)
    for kind in ("PNG", "JPEG", "DICOM"):
        scaling(kind)
    pixels = cache.get(keys)
    copying = rate(pixels.copy, BATCH, seconds=1)
    getting = rate(lambda: cache.get(keys), BATCH, seconds=1)
    augmenting = rate(lambda: [pipeline(image=image)["image"] for image in pixels], BATCH)
    normalising = rate(lambda: normalise(pixels[:, :SIZE, :SIZE]), BATCH, seconds=1)
    limit = 1 / (1 / copying + 1 / augmenting + 1 / normalising)
    print(f"\nfrom cache, microseconds an image: cache {1e6 / getting:.0f} (copying memory {1e6 / copying:.0f}), "
          f"augmentation {1e6 / augmenting:.0f}, normalisation {1e6 / normalising:.0f}")  # fmt: skip
    print(f"limit, copying memory and the transforms' own cost: {limit:.0f} images/s; ours {cached / limit:.2f} of it")


if __name__ == "__main__":
    main()
