"""Uploaded files to images, in processes of their own: a file that crashes, hangs or fills memory ends one of those.

The parent sends bytes and gets bytes back, so that nothing of a file is ever unpickled. A worker that does not answer
in time is ended and replaced; the file gets an error, and no other file does.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np

from medclip.data.grey import ImageError
from medclip.serve.decoding_worker import serve_files

#: Seconds that one file may take; the largest radiographs take one or two.
SECONDS = 20.0
_CRASHED = "the file ends the program that decodes it, or needs more memory than a radiograph does"


@dataclass(frozen=True)
class Decoded:
    """What a worker made of a file.

    Attributes:
        array: uint8 (height, width) grey, or uint16 levels of a DICOM file.
        facts: What else is known: `width`, `height`, `dicom`; of levels `lowest`, `step`, `low`, `high`, `inverted`.
    """

    array: np.ndarray
    facts: dict[str, Any]


class Decoder:
    """Worker processes that decode files.

    Args:
        workers: Files decoded at once.
        megapixels: Size of the largest image, in millions of pixels.
        dicom: Recipe by which DICOM values become grey.
        seconds: Seconds that one file may take.
    """

    def __init__(self, *, workers: int = 2, megapixels: int = 50, dicom: str = "voi", seconds: float = SECONDS) -> None:
        self._limits = {"pixels": megapixels * 1_000_000, "dicom": dicom}
        self._seconds = seconds
        self._free: queue.Queue[_Worker] = queue.Queue()
        for _ in range(workers):
            self._free.put(_Worker())

    def grey(self, content: bytes, *, at_least: int | None = None) -> Decoded:
        """Returns the image in a file as grey.

        Args:
            content: Of a JPEG, PNG or DICOM file.
            at_least: See `medclip.data.images.read_image`.

        Raises:
            ImageError: It cannot be read as one grey image, within the limits.
        """
        return self._ask({"want": "grey", "at_least": at_least}, content)

    def values(self, content: bytes) -> Decoded:
        """Returns the levels of a DICOM file, see `medclip.data.dicom_values`.

        Raises:
            ImageError: It is no DICOM file, or its values cannot be read.
        """
        return self._ask({"want": "values"}, content)

    def close(self) -> None:
        """Ends the workers."""
        while not self._free.empty():
            self._free.get().end()

    def _ask(self, question: dict[str, Any], content: bytes) -> Decoded:
        with self._worker() as worker:
            answer = worker.ask(question | self._limits, content, seconds=self._seconds)
        if "error" in answer.facts:
            raise ImageError(answer.facts["error"])
        return answer

    @contextmanager
    def _worker(self) -> Iterator[_Worker]:
        worker = self._free.get()
        try:
            yield worker
        finally:
            self._free.put(worker)


class _Worker:
    """One process, started when it is first needed, and again after it was ended."""

    def __init__(self) -> None:
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def ask(self, question: dict[str, Any], content: bytes, *, seconds: float) -> Decoded:
        connection = self._start()
        try:
            connection.send_bytes(json.dumps(question).encode())
            connection.send_bytes(content)
            if not connection.poll(seconds):
                self.end()
                raise ImageError(f"it takes more than {seconds:g} seconds to decode")
            facts = json.loads(connection.recv_bytes())
            pixels = connection.recv_bytes()
        except (EOFError, OSError):
            self.end()
            raise ImageError(_CRASHED) from None
        if "error" in facts:
            return Decoded(np.empty((0, 0), dtype=np.uint8), facts)
        shape, kind = (facts["height"], facts["width"]), np.dtype(facts.pop("type"))
        return Decoded(np.frombuffer(pixels, dtype=kind).reshape(shape), facts)

    def end(self) -> None:
        if self._process is not None and self._connection is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
        self._process = self._connection = None

    def _start(self) -> Connection:
        if self._process is None or self._connection is None or not self._process.is_alive():
            self.end()
            context = get_context("spawn")
            self._connection, other = context.Pipe()
            self._process = context.Process(target=serve_files, args=(other,), daemon=True)
            self._process.start()
            other.close()
        return self._connection
