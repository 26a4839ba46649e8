"""Resized pixels on disk, so that no epoch decodes a file twice.

A cache folder belongs to one image size. Images stand in shards: `<name>.npy` holds their pixels and `<name>.json`,
written last, names them by key. A key changes with the file, so a changed image is simply another image. A killed
run leaves complete shards, which the next one finds, and at most one that has no .json and is ignored.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from labelers.errors import UserError
from medclip.data.fingerprints import FINGERPRINT, fingerprint
from medclip.data.images import DICOM_RECIPES, ImageError, fit_square, read_image
from medclip.utils.io import write_atomically
from medclip.utils.parallel import run_jobs
from medclip.utils.progress import Count

logger = logging.getLogger(__name__)

SHARD_IMAGES = 256
Draw = Callable[[str], np.ndarray]


def file_key(path: str, *, drawn: bool = False) -> str:
    """Returns the key of the image at `path`: its name, size and time of change; for drawn images, its name.

    Raises:
        FileNotFoundError: There is no such file.
    """
    identity = path
    if not drawn:
        status = os.stat(path)
        identity = f"{os.path.abspath(path)}\0{status.st_size}\0{status.st_mtime_ns}"
    return hashlib.blake2b(identity.encode(), digest_size=12).hexdigest()


class PixelCache:
    """Square grey images of one size, by key.

    Args:
        folder: Created when first written to.
        size: Side of the images in pixels.
        dicom: Recipe by which DICOM values become grey, see `read_image`.

    Raises:
        UserError: `dicom` is unknown.
    """

    def __init__(self, folder: Path, size: int, *, dicom: str = "voi") -> None:
        if dicom not in DICOM_RECIPES:
            raise UserError(f"dicom {dicom!r} is none of {', '.join(DICOM_RECIPES)}.")
        name = f"grey-{size}" + ("" if dicom == "voi" else f"-{dicom}")
        self.folder, self.size, self.dicom = Path(folder) / name, size, dicom
        self._places = self._read_index()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def get(self, keys: Sequence[str]) -> np.ndarray:
        """Returns the images called `keys`, uint8 (N, size, size).

        Raises:
            KeyError: one of them is not cached.
        """
        images = np.empty((len(keys), self.size, self.size), dtype=np.uint8)
        for i, key in enumerate(keys):
            shard, row = self._places[key]
            _shards.read_into(images[i], self.folder / f"{shard}.npy", row)
        return images

    def fill(
        self,
        paths: dict[str, str],
        *,
        draw: Draw | None = None,
        workers: int = 1,
        engine: str = "local",
        progress: Count | None = None,
    ) -> dict[str, str]:
        """Reads the images that are not yet cached; returns the reason for each key that could not be.

        Args:
            paths: Path by key.
            draw: Makes pixels from a path, where there are no files.
            workers: Processes.
            engine: See `medclip.utils.parallel.run_jobs`.
            progress: Called with (done, total) after each shard.
        """
        todo = [(key, path) for key, path in paths.items() if key not in self._places]
        chunks = [todo[i : i + SHARD_IMAGES] for i in range(0, len(todo), SHARD_IMAGES)]
        rejected: dict[str, str] = {}
        if not chunks:
            return rejected
        self.folder.mkdir(parents=True, exist_ok=True)
        done = 0
        jobs = [(chunk, self.folder, self.size, self.dicom, draw) for chunk in chunks]
        made = run_jobs(_write_shard, jobs, workers=min(workers, len(jobs)), engine=engine)
        for chunk, reasons in zip(chunks, made, strict=True):
            rejected.update(reasons)
            done += len(chunk)
            if progress is not None:
                progress(done, len(todo))
        self._places = self._read_index()
        _shards.close()  # a shard that was cut off has been written anew
        return rejected

    def fingerprints(self, keys: Sequence[str], *, progress: Count | None = None) -> np.ndarray:
        """Returns the fingerprints of images, int8 (N, 6, 63); those of a shard are taken once and kept beside it.

        Raises:
            KeyError: One of them is not cached.
        """
        by_shard: dict[str, list[int]] = {}
        for i, key in enumerate(keys):
            by_shard.setdefault(self._places[key][0], []).append(i)
        found = np.empty((len(keys), *FINGERPRINT), dtype=np.int8)
        done = 0
        for shard, rows in by_shard.items():
            found[rows] = self._shard_fingerprints(shard)[[self._places[keys[i]][1] for i in rows]]
            done += len(rows)
            if progress is not None:
                progress(done, len(keys))
        return found

    def _shard_fingerprints(self, shard: str) -> np.ndarray:
        kept = self.folder / f"{shard}.fingerprints"
        images = np.load(self.folder / f"{shard}.npy", mmap_mode="r")
        size = len(images) * FINGERPRINT[0] * FINGERPRINT[1]
        if not kept.is_file() or kept.stat().st_size != size:
            made = np.stack([fingerprint(image) for image in images])
            write_atomically(kept, made.tofile)
        return np.fromfile(kept, dtype=np.int8).reshape(-1, *FINGERPRINT)

    def _read_index(self) -> dict[str, tuple[str, int]]:
        places: dict[str, tuple[str, int]] = {}
        for path in sorted(self.folder.glob("*.json")):
            keys = json.loads(path.read_text())
            if _is_whole(path.with_suffix(".npy"), len(keys) * self.size**2):
                places |= {key: (path.stem, row) for row, key in enumerate(keys)}
            else:
                logger.warning("%s is missing or cut off; its images are cached again", path.with_suffix(".npy"))
        return places


def _is_whole(path: Path, pixels: int) -> bool:
    """Tells whether a shard is there and as long as its pixels and a heading."""
    return path.is_file() and pixels < path.stat().st_size <= pixels + 1024


class _Shards:
    """Reads rows of shards with at most `limit` files open, whatever their number.

    A memory map of each shard would keep a file descriptor each, and the usual limit is 1,024 a process. A positioned
    read moves no file offset, so processes that inherit a descriptor do not disturb each other.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._open = limit, OrderedDict[Path, tuple[BinaryIO, int]]()

    def read_into(self, image: np.ndarray, path: Path, row: int) -> None:
        """Fills `image` (S, S) with a row of the shard at `path`.

        Raises:
            OSError: The shard is shorter than its row.
        """
        file, start = self._opened(path)
        if _read_at(file, start + row * image.nbytes, image) != image.nbytes:
            raise OSError(f"{path} is cut off at image {row}. Remove it, and prepare the images again.")

    def _opened(self, path: Path) -> tuple[BinaryIO, int]:
        found = self._open.pop(path, None)
        if found is None:
            file = path.open("rb", buffering=0)
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            found = file, file.tell()
            while len(self._open) >= self._limit:
                self._open.popitem(last=False)[1][0].close()
        self._open[path] = found
        return found

    def close(self) -> None:
        """Closes all files."""
        while self._open:
            self._open.popitem()[1][0].close()


def _read_at(file: BinaryIO, position: int, image: np.ndarray) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(file.fileno(), [image.data], position)
    file.seek(position)  # Windows: processes do not inherit open files there
    return file.readinto(image.data)  # type: ignore[attr-defined, no-any-return]


_shards = _Shards(limit=128)


def _write_shard(
    chunk: list[tuple[str, str]], folder: Path, size: int, dicom: str, draw: Draw | None
) -> dict[str, str]:
    """Writes one shard; returns the reasons of the images that it lacks."""
    keys, images, rejected = [], [], {}
    for key, path in chunk:
        try:
            image = read_image(path, at_least=size, dicom=dicom) if draw is None else draw(path)
            images.append(fit_square(image, size)[0])
            keys.append(key)
        except (ImageError, OSError) as error:
            rejected[key] = str(error)
    if keys:
        name = hashlib.blake2b("".join(keys).encode(), digest_size=8).hexdigest()
        write_atomically(folder / f"{name}.npy", lambda path: _save(path, np.stack(images)))
        write_atomically(folder / f"{name}.json", lambda path: path.write_text(json.dumps(keys)))
    return rejected


def _save(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, array)
