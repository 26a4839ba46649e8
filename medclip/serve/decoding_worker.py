"""What a decoding process does: one file after another, from pipe to pipe. Imports neither torch nor a server."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

#: Memory that a worker may take, in bytes: a file that unfolds to more is none that a radiograph comes in.
MEMORY = 3 << 30
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


def serve_files(connection: Connection) -> None:
    """Answers until the other end of the pipe is closed."""
    _limit_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the service, which ends this
    # Messages of libraries quote what is in a file, which may be a patient's name.
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    while True:
        try:
            question, content = json.loads(connection.recv_bytes()), connection.recv_bytes()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        facts, pixels = answer(question, content)
        connection.send_bytes(json.dumps(facts).encode())
        connection.send_bytes(pixels)


def answer(question: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
    """Returns facts and pixels of a file, or facts with an `error`."""
    from medclip.data.grey import ImageError

    try:
        with file_of(content) as path:
            facts, array = _decode(path, question)
    except ImageError as error:
        return {"error": re.sub(r"'?/proc/self/fd/\d+'?", "it", str(error))}, b""
    except MemoryError:
        return {"error": "it needs more memory than a radiograph does"}, b""
    except Exception as error:  # whatever a broken file does to a library, it is the file's fault, and only its own
        return {"error": f"not readable as an image ({type(error).__name__})"}, b""
    height, width = array.shape
    return facts | {"height": height, "width": width, "type": array.dtype.str}, np.ascontiguousarray(array).tobytes()


@contextmanager
def file_of(content: bytes) -> Iterator[Path]:
    """Yields the path of a file that holds `content` and is gone afterwards; where the system can, it is in memory."""
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        descriptor = os.memfd_create("film")
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(content)
            yield Path(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory(prefix="medclip-") as folder:
        path = Path(folder) / "film"
        path.write_bytes(content)
        yield path


def _decode(path: Path, question: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray]:
    from medclip.data.dicom_values import read_values
    from medclip.data.grey import ImageError
    from medclip.data.image_files import is_dicom
    from medclip.data.images import image_shape, read_image

    if not path.stat().st_size:
        raise ImageError("the file is empty")
    dicom = is_dicom(path)
    if not dicom and not _begins(path).startswith(_SIGNATURES):
        raise ImageError("it is none of JPEG, PNG and DICOM")
    if dicom:
        _check_unfolding(path, limit=4 * question["pixels"])
    width, height = image_shape(path)
    if width * height > question["pixels"]:
        raise ImageError(f"{width}x{height} pixels are more than this service takes, {question['pixels']:,}")
    if question["want"] == "values":
        if not dicom:
            raise ImageError("it is no DICOM file; windows are for DICOM")
        found = read_values(path)
        return {
            "lowest": found.lowest, "step": found.step, "low": found.low, "high": found.high,
            "inverted": found.inverted,
        }, found.levels  # fmt: skip
    facts = {"dicom": dicom, "full_width": width, "full_height": height}
    return facts, read_image(path, at_least=question["at_least"], dicom=question["dicom"])


def _check_unfolding(path: Path, *, limit: int) -> None:
    """Refuses a deflated DICOM file that is larger than `limit` bytes, before a library unfolds it all at once."""
    from medclip.data.grey import ImageError

    content = path.read_bytes()
    if _DEFLATED not in content[:2048] or content[132:138] != b"\x02\0\0\0UL":
        return
    start = 144 + int.from_bytes(content[140:144], "little")
    packed = zlib.decompressobj(wbits=-15)
    try:
        found = len(packed.decompress(content[start:], limit + 1))
    except zlib.error as error:
        raise ImageError(f"its deflated content is broken ({error})") from error
    if found > limit:
        raise ImageError(f"it unfolds to more than {limit / 1e6:.0f} MB")


def _begins(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits; that of pixels holds there too
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    least = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (least, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would keep the film
