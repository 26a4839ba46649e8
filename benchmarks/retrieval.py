"""Exact retrieval in bounded memory: N images among N texts, both ways of naming it; time, peak, and the floor.

    python benchmarks/retrieval.py            200,000 x 200,000, 512 features: about 10 minutes on 2 CPU cores
    python benchmarks/retrieval.py 20000      smaller

The floor is the bare matrix product of the same sizes, without looking at what comes out.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
import torch

from medclip.inference.index import Index

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
FEATURES, K = 512, 10


def embeds(seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((COUNT, FEATURES), dtype=np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    images, texts = embeds(0), embeds(1)
    texts[:1000] = images[:1000]  # a thousand texts are found by their images, so the answer can be checked
    before = peak()
    index = Index(texts, [""] * COUNT)
    start = time.perf_counter()
    scores, rows = index.search(images, k=K)
    took = time.perf_counter() - start
    used = peak() - before
    assert (rows[:1000, 0] == np.arange(1000)).all()
    some = np.random.default_rng(2).integers(0, COUNT, 50)
    naive = np.sort(images[some] @ texts.T, axis=1)[:, ::-1][:, :K]
    np.testing.assert_allclose(scores[some], naive, atol=1e-5)

    part = torch.from_numpy(images[:2048])
    every = torch.from_numpy(texts)
    start = time.perf_counter()
    for at in range(0, COUNT, 8192):
        part @ every[at : at + 8192].T
    floor = (time.perf_counter() - start) * COUNT / 2048
    whole = COUNT**2 * 4 / 2**30
    print(f"{COUNT:,} images among {COUNT:,} texts, {FEATURES} features, the {K} nearest")
    print(f"{took:.0f} s on {torch.get_num_threads()} threads, {COUNT / took:,.0f} queries a second")
    print(f"the matrix product alone {floor:.0f} s: {took / floor:.2f} times the floor")
    print(f"{used:,.0f} MiB above the embeddings; all similarities at once would take {whole:,.0f} GiB")


if __name__ == "__main__":
    main()
