"""Requests that come at the same time, answered in one call. Knows nothing of images or models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")


class Batcher(Generic[A, B]):
    """Collects items of several requests and calls a function with all of them, one call at a time.

    While one call is under way, the next batch grows; an item never waits for others to arrive.

    Args:
        function: From a list of items to as many results, called in a thread.
        size: Largest batch.
    """

    def __init__(self, function: Callable[[list[A]], Sequence[B]], *, size: int = 32) -> None:
        self._function, self._size = function, size
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._waiting: list[tuple[A, asyncio.Future[B]]] = []
        self._running: asyncio.Task[None] | None = None
        #: Sizes of the batches so far: how many there were, and how many items they held.
        self.batches, self.items = 0, 0

    async def __call__(self, item: A) -> B:
        """Returns the result of `item`.

        Raises:
            Exception: What the function raised for the batch.
        """
        future: asyncio.Future[B] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await future

    def close(self) -> None:
        """Ends the thread; what is waiting is not answered."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        while self._waiting:
            await asyncio.sleep(0)  # requests that are ready in the same turn join
            batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
            batch = [(item, future) for item, future in batch if not future.done()]
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: list[tuple[A, asyncio.Future[B]]]) -> None:
        self.batches, self.items = self.batches + 1, self.items + len(batch)
        try:
            loop = asyncio.get_running_loop()
            results = await loop.run_in_executor(self._thread, self._function, [item for item, _ in batch])
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
