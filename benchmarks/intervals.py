"""How often 95 % intervals hold the truth, on simulated patients whose truth is known.

    python benchmarks/intervals.py            1,000 simulations of each kind: about 5 minutes on one core

Patients have one to four images; what makes one image easy or hard is in part the patient's own, so images of a patient
are alike. Beside our intervals, which draw patients, stand those that draw images as if each were a patient.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from scipy.stats import norm

from medclip.evaluation.bootstrap import Metric, Resamples, bootstrap, interval
from medclip.evaluation.metrics import auroc, average_precision, f1_score, weighted_mean

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
SHIFT = 1.0  # between the means of the classes
SHARED = 0.5  # of the variance, the patient's part
THRESHOLD = 0.5  # score from which on an image is called positive


def simulate(rng: np.random.Generator, patients: int, prevalence: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns truth, scores and patients of images; classes belong to patients, scores in part."""
    images = rng.integers(1, 5, patients)
    member = np.repeat(np.arange(patients), images)
    truth = (rng.random(patients) < prevalence)[member]
    noise = np.sqrt(SHARED) * rng.standard_normal(patients)[member] + np.sqrt(1 - SHARED) * rng.standard_normal(
        len(member)
    )
    return truth, truth * SHIFT + noise, member


def true_values(prevalence: float) -> dict[str, float]:
    """Returns the metrics of infinitely many images, in closed form or by a fine sum."""
    cut = np.linspace(-6, 7, 200_001)
    recall, false = norm.sf(cut - SHIFT), norm.sf(cut)
    precision = prevalence * recall / (prevalence * recall + (1 - prevalence) * false)
    hit, called = norm.sf(THRESHOLD - SHIFT), norm.sf(THRESHOLD)
    return {
        "AUROC": float(norm.cdf(SHIFT / np.sqrt(2))),
        "average precision": float(-np.trapezoid(precision, recall)),
        "F1": 2 * prevalence * hit / (prevalence * hit + (1 - prevalence) * called + prevalence),
        "accuracy": prevalence * hit + (1 - prevalence) * (1 - called),
    }


def intervals(truth: np.ndarray, scores: np.ndarray, resamples: Resamples | None) -> dict[str, Metric]:
    called = scores >= THRESHOLD
    statistics: dict[str, Callable] = {
        "AUROC": lambda w: auroc(truth, scores, w),
        "average precision": lambda w: average_precision(truth, scores, w),
        "F1": lambda w: f1_score(truth, called, w),
        "accuracy": lambda w: weighted_mean((called == truth).astype(float), w),
    }
    return {name: interval(statistic, resamples) for name, statistic in statistics.items()}


def main() -> None:
    print(f"{RUNS} simulations, 1,000 resamples each; share of 95 % intervals that hold the truth")
    print(f"{'patients':>8} {'positive':>9}  {'metric':<18} {'truth':>6} {'ours':>7} {'by image':>9}")
    for patients, prevalence in ((200, 0.5), (400, 0.2)):
        known = true_values(prevalence)
        held = {name: [0, 0] for name in known}
        for seed in range(RUNS):
            rng = np.random.default_rng([seed, patients])
            truth, scores, member = simulate(rng, patients, prevalence)
            for i, groups in enumerate((member, np.arange(len(member)))):
                found = intervals(truth, scores, bootstrap(groups, resamples=1000, seed=seed))
                for name, value in known.items():
                    held[name][i] += found[name].low <= value <= found[name].high
        for name, value in known.items():
            ours, by_image = (count / RUNS for count in held[name])
            print(
                f"{patients:>8} {prevalence:>9.0%}  {name:<18} {value:>6.3f} {ours:>7.1%} {by_image:>9.1%}", flush=True
            )


if __name__ == "__main__":
    main()
