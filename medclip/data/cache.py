"""Resized pixels on disk, so that no epoch decodes a file twice.

A cache folder belongs to one image size. Images stand in shards: one file holds their pixels and `<name>.json`, written
last, names them by key and has the checksum of the file. A key changes with the image file, so a changed image is
simply another image. A killed run leaves complete shards, which the next one finds, and at most one that has no .json
and is ignored.

`ImageCache` is what training and evaluation ask of a cache. `PixelCache` keeps shards as .npy files;
`medclip.data.streaming` keeps them in a format that is read from object stores, too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from labelers.errors import UserError
from medclip.data.fingerprints import FINGERPRINT, fingerprint
from medclip.data.images import DICOM_RECIPES, fit_square, read_image
from medclip.data.keys import KeyIndex
from medclip.data.shards import Shards, checksum, save_npy, write_shard
from medclip.utils.io import write_atomically
from medclip.utils.parallel import run_jobs
from medclip.utils.progress import Count

logger = logging.getLogger(__name__)

SHARD_IMAGES = 256
Draw = Callable[[str], np.ndarray]
Keys = Sequence[str] | np.ndarray


class ImageCache(Protocol):
    """Square grey images of one size, by key.

    Attributes:
        size: Side of the images in pixels.
    """

    size: int

    def contains(self, keys: Keys) -> np.ndarray:
        """Returns which of `keys` (N,) are cached."""

    def get(self, keys: Keys) -> np.ndarray:
        """Returns the images called `keys`, uint8 (N, size, size).

        Raises:
            KeyError: One of them is not cached.
        """

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

    def shards(self, keys: Keys) -> np.ndarray:
        """Returns the number (N,) of the file that each image is in.

        Raises:
            KeyError: One of them is not cached.
        """

    def fingerprints(self, keys: Keys, *, progress: Count | None = None) -> np.ndarray:
        """Returns the fingerprints of images, int8 (N, 6, 63).

        Raises:
            KeyError: One of them is not cached.
        """


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
    """An `ImageCache` in a folder, its shards .npy files.

    Args:
        folder: Created when first written to.
        size: Side of the images in pixels.
        dicom: Recipe by which DICOM values become grey, see `read_image`.

    Raises:
        UserError: `dicom` is unknown.
    """

    kind: ClassVar[str] = "grey"
    suffix: ClassVar[str] = ".npy"

    def __init__(self, folder: Path, size: int, *, dicom: str = "voi") -> None:
        if dicom not in DICOM_RECIPES:
            raise UserError(f"dicom {dicom!r} is none of {', '.join(DICOM_RECIPES)}.")
        self.folder, self.size, self.dicom = Path(folder) / folder_name(self.kind, size, dicom), size, dicom
        self._look()

    def contains(self, keys: Keys) -> np.ndarray:
        """Returns which of `keys` (N,) are cached."""
        return self._index.numbers(keys) >= 0

    def get(self, keys: Keys) -> np.ndarray:
        """See `ImageCache.get`."""
        images = np.empty((len(keys), self.size, self.size), dtype=np.uint8)
        self._read(images, *self._places(keys))
        return images

    def shards(self, keys: Keys) -> np.ndarray:
        """See `ImageCache.shards`."""
        return self._places(keys)[0]

    def fill(
        self,
        paths: dict[str, str],
        *,
        draw: Draw | None = None,
        workers: int = 1,
        engine: str = "local",
        progress: Count | None = None,
    ) -> dict[str, str]:
        """See `ImageCache.fill`."""
        there = self.contains(list(paths))
        todo = [pair for pair, cached in zip(paths.items(), there, strict=True) if not cached]
        chunks = [todo[i : i + SHARD_IMAGES] for i in range(0, len(todo), SHARD_IMAGES)]
        rejected: dict[str, str] = {}
        if not chunks:
            return rejected
        self.folder.mkdir(parents=True, exist_ok=True)
        done, square = 0, partial(_square, size=self.size, dicom=self.dicom, draw=draw)
        jobs = [(chunk, self.folder, self.suffix, square, self.writer()) for chunk in chunks]
        made = run_jobs(write_shard, jobs, workers=min(workers, len(jobs)), engine=engine)
        for chunk, reasons in zip(chunks, made, strict=True):
            rejected.update(reasons)
            done += len(chunk)
            if progress is not None:
                progress(done, len(todo))
        self._look()
        return rejected

    def fingerprints(self, keys: Keys, *, progress: Count | None = None) -> np.ndarray:
        """See `ImageCache.fingerprints`; those of a shard are taken once and kept beside it."""
        shards, rows = self._places(keys)
        found, done = np.empty((len(keys), *FINGERPRINT), dtype=np.int8), 0
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            found[here] = self._shard_fingerprints(int(shard))[rows[here]]
            done += len(here)
            if progress is not None:
                progress(done, len(keys))
        return found

    def forget_damaged(self, *, progress: Count | None = None) -> int:
        """Reads every shard and forgets those whose file does not have its checksum; returns their number.

        Args:
            progress: Called with (done, total) after each shard.
        """
        found = 0
        for done, path in enumerate(self._paths, start=1):
            said = self._said(path.with_suffix(".json"))
            if said["checksum"] not in (None, checksum(path)):
                logger.warning("%s does not have its checksum; its images are cached again", path)
                path.with_suffix(".json").unlink()
                found += 1
            if progress is not None:
                progress(done, len(self._paths))
        self._look()
        return found

    @staticmethod
    def writer() -> Callable[[Path, np.ndarray], None]:
        """Returns what writes images (N, S, S) as the file of a shard; it is sent to other processes."""
        return save_npy

    def _read(self, images: np.ndarray, shards: np.ndarray, rows: np.ndarray) -> None:
        """Fills `images` (N, S, S) with rows (N,) of the shards (N,), by number."""
        for image, shard, row in zip(images, shards.tolist(), rows.tolist(), strict=True):
            _shards.read_into(image, self._paths[shard], row)

    def _places(self, keys: Keys) -> tuple[np.ndarray, np.ndarray]:
        """Returns the number of the shard and the row in it of each of `keys`.

        Raises:
            KeyError: One is not cached.
        """
        numbers = self._index.numbers(keys)
        if (numbers < 0).any():
            raise KeyError(keys[int(np.argmax(numbers < 0))])
        shards = np.searchsorted(self._starts, numbers, side="right") - 1
        return shards, numbers - self._starts[shards]

    def _look(self) -> None:
        """Finds out what the folder holds."""
        keys: list[np.ndarray] = []
        self._paths: list[Path] = []
        for path in sorted(self.folder.glob("*.json")):
            if path.name == "index.json":  # of a format that has one
                continue
            said, file = self._said(path), path.with_suffix(self.suffix)
            if self._is_whole(file, said["bytes"]):
                keys.append(np.array(said["keys"], dtype="S"))
                self._paths.append(file)
            else:
                logger.warning("%s is missing or cut off; its images are cached again", file)
        self._index = KeyIndex(keys)
        self._starts = np.concatenate([[0], np.cumsum([len(part) for part in keys])]).astype(np.int64)
        _shards.close()  # a shard that was cut off may have been written anew

    def _is_whole(self, file: Path, size: int) -> bool:
        """Tells whether the file of a shard is there and as long as it was written."""
        return file.is_file() and file.stat().st_size == size

    def _said(self, path: Path) -> dict[str, Any]:
        """Returns what the .json of a shard says; caches of version 0 list the keys alone."""
        said = json.loads(path.read_text())
        if isinstance(said, dict):
            return said
        return {"keys": said, "bytes": 128 + len(said) * self.size**2, "checksum": None}

    def _shard_fingerprints(self, shard: int) -> np.ndarray:
        kept, count = self._paths[shard].with_suffix(".fingerprints"), int(np.diff(self._starts)[shard])
        if not kept.is_file() or kept.stat().st_size != count * FINGERPRINT[0] * FINGERPRINT[1]:
            images = np.empty((count, self.size, self.size), dtype=np.uint8)
            self._read(images, np.full(count, shard), np.arange(count))
            made = np.stack([fingerprint(image) for image in images])
            write_atomically(kept, made.tofile)
        return np.fromfile(kept, dtype=np.int8).reshape(-1, *FINGERPRINT)


_shards = Shards(limit=128)


def folder_name(kind: str, size: int, dicom: str) -> str:
    """Returns the name of the folder of a cache."""
    return f"{kind}-{size}" + ("" if dicom == "voi" else f"-{dicom}")


def _square(path: str, *, size: int, dicom: str, draw: Draw | None) -> np.ndarray:
    image = read_image(path, at_least=size, dicom=dicom) if draw is None else draw(path)
    return fit_square(image, size)[0]
