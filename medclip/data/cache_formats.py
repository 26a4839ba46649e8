"""The formats in which cached images are kept, and which of them a prepared folder has.

Besides .npy files there is LitData's format, an optional extra: one file a shard with an index of all, which is read in
place on shared file systems, and from object stores (s3://, gs://, azure://) once its files were copied there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from labelers.errors import UserError
from medclip.data.cache import SHARD_IMAGES, PixelCache, folder_name
from medclip.data.samplers import TOGETHER
from medclip.utils.extras import install
from medclip.utils.io import write_atomically

FORMATS = ("npy", "litdata")
_INDEX = "index.json"


def open_cache(prepared: Path, size: int, *, dicom: str = "voi", kind: str = "", url: str = "") -> PixelCache:
    """Returns the image cache of a prepared folder.

    Args:
        prepared: The prepared folder.
        size: Side of the images in pixels.
        dicom: Recipe by which DICOM values become grey, see `medclip.data.images.read_image`.
        kind: One of `FORMATS`; by default the one that is there, or npy where there is none yet.
        url: Where the files of the shards are, if not in the folder; for litdata.

    Raises:
        UserError: The format or `dicom` is unknown, or the package of the format is not here.
    """
    folder = prepared / "cache"
    streamed = (folder / folder_name(StreamedCache.kind, size, dicom)).is_dir()
    if kind not in ("", *FORMATS):
        raise UserError(f"--cache-format {kind}: choose from {', '.join(FORMATS)}.")
    if kind == "litdata" or (not kind and (streamed or url)):
        return StreamedCache(folder, size, dicom=dicom, url=url)
    return PixelCache(folder, size, dicom=dicom)


class StreamedCache(PixelCache):
    """An image cache whose shards are files of LitData's format, under the names and numbers of one index.

    Args:
        folder: Created when first written to.
        size: Side of the images in pixels.
        dicom: Recipe by which DICOM values become grey.
        url: Where the files of the shards are, if not in the folder: what they were copied to, index and all. The
            folder then needs the .json files only.

    Raises:
        UserError: LitData is not installed, or the folder lacks what is asked of it.
    """

    kind = "litdata"
    suffix = ".bin"

    def __init__(self, folder: Path, size: int, *, dicom: str = "voi", url: str = "") -> None:
        _litdata()
        self._url = url
        self._opened: tuple[int, Any, dict[str, int]] | None = None
        super().__init__(folder, size, dicom=dicom)

    def fill(self, paths: dict[str, str], **how: Any) -> dict[str, str]:
        """See `ImageCache.fill`.

        Raises:
            UserError: The files are elsewhere, and some are missing.
        """
        if self._url and not self.contains(list(paths)).all():
            raise UserError(
                f"{self._url} lacks images that are asked for. Prepare them in {self.folder} first, without "
                "--cache-url, and copy its files there again."
            )
        rejected = super().fill(paths, **how)
        if not self._url:
            self._write_index()
        return rejected

    @staticmethod
    def writer() -> Callable[[Path, np.ndarray], None]:
        """Returns what writes images (N, S, S) as the file of a shard."""
        return write_chunk

    def _is_whole(self, file: Path, size: int) -> bool:
        return bool(self._url) or super()._is_whole(file, size)

    def _read(self, images: np.ndarray, shards: np.ndarray, rows: np.ndarray) -> None:
        dataset, starts = self._dataset()
        for i in np.argsort(shards, kind="stable"):  # the reader keeps few files at hand
            pixels = dataset[starts[self._paths[shards[i]].name] + int(rows[i])]
            images[i] = np.frombuffer(pixels, dtype=np.uint8).reshape(images[i].shape)

    def _look(self) -> None:
        super()._look()
        self._opened = None

    def _dataset(self) -> tuple[Any, dict[str, int]]:
        """Returns the reader of this process, and the number of the first image of each shard."""
        if self._opened is None or self._opened[0] != os.getpid():
            dataset = _litdata().StreamingDataset(self._url or str(self.folder), max_pre_download=TOGETHER)
            chunks = json.loads((self.folder / _INDEX).read_text())["chunks"]
            starts = np.cumsum([0, *(chunk["chunk_size"] for chunk in chunks)]).tolist()
            names = dict(zip((chunk["filename"] for chunk in chunks), starts, strict=False))
            self._opened = os.getpid(), dataset, names
        return self._opened[1], self._opened[2]

    def _write_index(self) -> None:
        """Writes the index of all shards, where it is not there."""
        sizes, path = np.diff(self._starts).tolist(), self.folder / _INDEX
        chunks = [
            {"chunk_bytes": file.stat().st_size, "chunk_size": size, "dim": None, "filename": file.name}
            for file, size in zip(self._paths, sizes, strict=True)
        ]
        if not chunks or (path.is_file() and json.loads(path.read_text())["chunks"] == chunks):
            return
        text = json.dumps({"chunks": chunks, "config": _chunk_config(self.folder), "updated_at": "0"})
        write_atomically(path, lambda part: part.write_text(text))


def write_chunk(path: Path, images: np.ndarray) -> None:
    """Writes images (N, S, S) as one file of LitData's format."""
    made, _ = _written(path.with_name(f"{path.name}.d"), images)
    os.replace(made, path)
    shutil.rmtree(made.parent)


def _chunk_config(folder: Path) -> dict[str, Any]:
    """Returns what LitData's index says of all files alike."""
    made, said = _written(folder / f".config.{os.getpid()}.d", np.zeros((1, 1, 1), dtype=np.uint8))
    shutil.rmtree(made.parent)
    return said["config"]


def _written(folder: Path, images: np.ndarray) -> tuple[Path, dict[str, Any]]:
    """Returns the one file that LitData writes into `folder` for some images, and what its index says."""
    from litdata.streaming.writer import BinaryWriter

    shutil.rmtree(folder, ignore_errors=True)
    writer = BinaryWriter(str(folder), chunk_size=max(SHARD_IMAGES, len(images)))
    for row, image in enumerate(images):
        writer[row] = image.tobytes()
    writer.done()
    said = json.loads(next(folder.glob(f"*{_INDEX}")).read_text())
    return folder / said["chunks"][0]["filename"], said


def _litdata() -> Any:
    """Returns the package.

    Raises:
        UserError: It is not installed.
    """
    # Films of a batch come from many shards, so reading ahead would read what is not asked for.
    os.environ.setdefault("LITDATA_POSIX_WILLNEED", "0")
    try:
        import litdata
    except ModuleNotFoundError as error:
        raise UserError(f"--cache-format litdata needs a package: {install('stream')}") from error
    return litdata
