"""The image cache as .npy files beside LitData's format: batches a second, resuming, and two readers at once.

    pip install 'medclip-cxr[stream]'
    PYTHONPATH=. python benchmarks/cache_formats.py [IMAGES] [BATCHES]        4,096 images of 256 pixels, 200 batches

Rates are batches of 64 films a second, and a second of CPU, which a busy machine changes little: from the cache alone,
in any order and a few files at a time (--image-order shards), and with the augmentation that training adds.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medclip.data.cache import PixelCache, file_key
from medclip.data.cache_formats import FORMATS, open_cache
from medclip.data.samplers import Stream
from medclip.data.transforms import Augmentation, apply, train_pipeline

SIDE, BATCH = 256, 64


def draw(path: str) -> np.ndarray:
    return np.random.default_rng(int(path)).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)


def rates(cache: PixelCache, keys: np.ndarray, batches: int, *, shards: bool, augment: bool) -> tuple[float, float]:
    """Returns batches a second, and a second of CPU."""
    stream = Stream(len(keys), batch_size=BATCH, seed=0, groups=cache.shards(keys) if shards else None)
    pipeline = train_pipeline(224, Augmentation())
    cache.get(keys[stream.rows(0)])
    begun, used = time.perf_counter(), time.process_time()
    for step in range(batches):
        squares = cache.get(keys[stream.rows(step)])
        if augment:
            apply(pipeline, squares, seed=step)
    return batches / (time.perf_counter() - begun), batches / (time.process_time() - used)


def read(results: Any, cache: PixelCache, keys: np.ndarray, batches: int) -> None:
    results.put(rates(cache, keys, batches, shards=False, augment=False))


def two_readers(cache: PixelCache, keys: np.ndarray, batches: int) -> float:
    """Returns batches a second of CPU of each of two processes that read at the same time."""
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    readers = [context.Process(target=read, args=(results, cache, keys, batches)) for _ in range(2)]
    for reader in readers:
        reader.start()
    return min(results.get()[1] for _ in readers)


def resumed(folder: Path, kind: str, keys: np.ndarray) -> tuple[float, bool]:
    """Returns the seconds from nothing to a batch in the middle, and whether it is what an uninterrupted reader has."""
    begun = time.perf_counter()
    cache, middle = open_cache(folder, SIDE, kind=kind), 12_345
    squares = cache.get(keys[Stream(len(keys), batch_size=BATCH, seed=0).rows(middle)])
    took = time.perf_counter() - begun
    other = open_cache(folder, SIDE, kind="npy").get(keys[Stream(len(keys), batch_size=BATCH, seed=0).rows(middle)])
    return took, bool((squares == other).all())


def main(images: int = 4096, batches: int = 200) -> None:
    paths = {file_key(str(i), drawn=True): str(i) for i in range(images)}
    keys = np.array(list(paths), dtype="S")
    with tempfile.TemporaryDirectory() as name:
        for kind in FORMATS:
            begun = time.process_time()
            open_cache(Path(name), SIDE, kind=kind).fill(paths, draw=draw)
            made, cache = time.process_time() - begun, open_cache(Path(name), SIDE, kind=kind)
            measure = partial(rates, cache, keys, batches)
            print(f"{kind}: written in {made:.1f} s of CPU")
            for shards in (False, True):
                for augment in (False, True):
                    clock, cpu = measure(shards=shards, augment=augment)
                    order = "a few files at a time" if shards else "any order"
                    what = "augmented" if augment else "read"
                    print(f"  {order:22} {what:10} {clock:8.1f} a second {cpu:8.1f} a second of CPU", flush=True)
            took, same = resumed(Path(name), kind, keys)
            print(f"  two readers at once: {two_readers(cache, keys, batches):.1f} a second of CPU each")
            print(f"  opened and read in the middle in {took:.2f} s, the same as uninterrupted: {same}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
