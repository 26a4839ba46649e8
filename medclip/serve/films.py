"""Films that are held in memory while a page is open: the files as they came, and what the image tower made of them."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Seconds after which a film that nobody asks about is dropped.
IDLE = 30 * 60.0


@dataclass(frozen=True)
class Encoding:
    """What the image tower makes of one film.

    Attributes:
        embed: (D,), unit length.
        pixels: Pixel values (1, 1, H, W) as the tower takes them, for heatmaps; None where an export answers.
    """

    embed: np.ndarray
    pixels: np.ndarray | None = None


@dataclass(frozen=True)
class Film:
    """One uploaded film.

    Attributes:
        content: The file.
        facts: Size and kind, as `medclip.serve.decoding` tells them.
        encoding: See `Encoding`.
    """

    content: bytes
    facts: dict[str, Any]
    encoding: Encoding

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, about."""
        pixels = self.encoding.pixels
        return len(self.content) + (0 if pixels is None else pixels.nbytes)


class FilmStore:
    """Films by an id that cannot be guessed. The oldest go when there are too many; none is ever written to disk.

    Args:
        megabytes: Size of all films together.
        idle: Seconds after which a film is dropped that nobody asks about.
    """

    def __init__(self, *, megabytes: int = 1024, idle: float = IDLE) -> None:
        self._limit, self._idle = megabytes * 1_000_000, idle
        self._films: OrderedDict[str, tuple[Film, float]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._films)

    def add(self, film: Film) -> str:
        """Returns the id of a film that is now held."""
        name = secrets.token_urlsafe(16)
        with self._lock:
            self._films[name] = (film, time.monotonic())
            self._size += film.size
            self._make_room()
        return name

    def get(self, name: str) -> Film | None:
        """Returns a film, or None if it is not held, or no more."""
        with self._lock:
            self._make_room()
            if name not in self._films:
                return None
            film, _ = self._films[name]
            self._films[name] = (film, time.monotonic())
            self._films.move_to_end(name)
            return film

    def drop(self, names: Iterable[str]) -> int:
        """Drops films; returns how many were held."""
        with self._lock:
            return sum(self._drop(name) for name in names)

    def sweep(self) -> None:
        """Drops the films that nobody asked about for long."""
        with self._lock:
            self._make_room()

    def _make_room(self) -> None:
        """Drops what was not asked about for long, and the oldest while the rest is too large."""
        old = time.monotonic() - self._idle
        for name in [name for name, (_, used) in self._films.items() if used < old]:
            self._drop(name)
        while self._size > self._limit and len(self._films) > 1:
            self._drop(next(iter(self._films)))

    def _drop(self, name: str) -> bool:
        found = self._films.pop(name, None)
        if found is not None:
            self._size -= found[0].size
        return found is not None
