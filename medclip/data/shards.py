"""Files that hold many images each: reading rows with few files open, whatever their number, and writing them."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from medclip.data.images import ImageError
from medclip.utils.io import write_atomically


class Shards:
    """Reads rows of .npy files with at most `limit` files open.

    A memory map of each shard would keep a file descriptor each, and the usual limit is 1,024 a process. A positioned
    read moves no file offset, so processes that inherit a descriptor do not disturb each other.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._open = limit, OrderedDict[str, BinaryIO]()
        self._starts: dict[str, int] = {}

    def read_into(self, image: np.ndarray, path: Path, row: int) -> None:
        """Fills `image` (S, S) with a row of the shard at `path`.

        Raises:
            OSError: The shard is shorter than its row.
        """
        file = self._opened(name := str(path))
        if _read_at(file, self._starts[name] + row * image.nbytes, image) != image.nbytes:
            raise OSError(f"{path} is cut off at image {row}. Remove it, and prepare the images again.")

    def _opened(self, name: str) -> BinaryIO:
        if (file := self._open.get(name)) is not None:
            self._open.move_to_end(name)
            return file
        file = open(name, "rb", buffering=0)  # noqa: SIM115
        if name not in self._starts:  # parsing a header takes longer than reading a small image
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            self._starts[name] = file.tell()
        while len(self._open) >= self._limit:
            self._open.popitem(last=False)[1].close()
        self._open[name] = file
        return file

    def close(self) -> None:
        """Closes all files, and forgets what they were like."""
        while self._open:
            self._open.popitem()[1].close()
        self._starts.clear()


def _read_at(file: BinaryIO, position: int, image: np.ndarray) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(file.fileno(), [image.data], position)
    file.seek(position)  # Windows: processes do not inherit open files there
    return file.readinto(image.data)  # type: ignore[attr-defined, no-any-return]


def checksum(path: Path) -> int:
    """Returns the CRC-32 of a file."""
    found = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found = zlib.crc32(block, found)
    return found


def write_shard(
    chunk: list[tuple[str, str]],
    folder: Path,
    suffix: str,
    square: Callable[[str], np.ndarray],
    save: Callable[[Path, np.ndarray], None],
) -> dict[str, str]:
    """Writes one shard; returns the reasons of the images that it lacks.

    Args:
        chunk: Key and path of each image.
        folder: Where it is written.
        suffix: That of its file.
        square: Returns the pixels of a path.
        save: Writes images (N, S, S) as a file.
    """
    keys, images, rejected = [], [], {}
    for key, path in chunk:
        try:
            images.append(square(path))
            keys.append(key)
        except (ImageError, OSError) as error:
            rejected[key] = str(error)
    if keys:
        name = hashlib.blake2b("".join(keys).encode(), digest_size=8).hexdigest()
        file, said = folder / f"{name}{suffix}", dict[str, Any](keys=keys)

        def write(part: Path) -> None:
            save(part, np.stack(images))
            said.update(bytes=part.stat().st_size, checksum=checksum(part))

        write_atomically(file, write)
        write_atomically(folder / f"{name}.json", lambda part: part.write_text(json.dumps(said)))
    return rejected


def save_npy(path: Path, images: np.ndarray) -> None:
    """Writes images (N, S, S) as an .npy file."""
    with path.open("wb") as file:
        np.save(file, images)
