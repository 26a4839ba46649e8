"""Bootstrap intervals of AUROC beside the plain way: float64 weights of all resamples at once, sums over tied groups.

    python benchmarks/bootstrap_speed.py [IMAGES] [RESAMPLES]    25,596 images (NIH's test set), 1,000 resamples

Prints CPU seconds and peak memory of each for one observation, their ratio, and the largest difference of a resample.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from medclip.evaluation.bootstrap import bootstrap, sample
from medclip.evaluation.metrics import auroc

IMAGES = int(sys.argv[1]) if len(sys.argv) > 1 else 25_596
RESAMPLES = int(sys.argv[2]) if len(sys.argv) > 2 else 1000


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.random(IMAGES) < 0.1
    return truth, (truth + rng.standard_normal(IMAGES)).astype(np.float32), rng.integers(0, IMAGES // 9, IMAGES)


def plain() -> np.ndarray:
    truth, scores, patients = data()
    names, member = np.unique(patients.astype(str), return_inverse=True)
    counts = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
    weights = counts[:, member].astype(np.float64)
    order = np.argsort(scores, kind="stable")
    _, starts = np.unique(scores[order], return_index=True)
    positive = np.add.reduceat(weights[:, order] * truth[order], starts, axis=1)
    negative = np.add.reduceat(weights[:, order] * ~truth[order], starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    return (positive * (below + negative / 2)).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1))


def ours() -> np.ndarray:
    truth, scores, patients = data()
    resamples = bootstrap(patients, resamples=RESAMPLES, seed=0)
    return sample(lambda weights: auroc(truth, scores, weights), resamples).drawn


def measured(run: Callable[[], np.ndarray]) -> tuple[np.ndarray, float, float]:
    begun = time.process_time()
    values = run()
    return values, time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    results = {}
    for name, run in (("plain", plain), ("ours", ours)):
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # a process of its own, for its peak memory
            results[name] = pool.apply(measured, (run,))
        print(f"{name:6} {results[name][1]:6.2f} s   peak {results[name][2]:6.0f} MiB")
    difference = np.abs(results["plain"][0] - results["ours"][0]).max()
    print(f"{results['plain'][1] / results['ours'][1]:.1f} times as fast; largest difference {difference:.1e}")
