"""How often a few labels leave a classifier below zero-shot, on simulated embeddings whose truth is known.

    python benchmarks/few_shot.py             50 draws of each kind: about 3 minutes on one core

Embeddings have two normal classes for each of 10 observations, of prevalence .03 to .5. The texts point in the best
direction up to an error: "good" texts are hardly improved by labels, "fair" and "poor" ones are. Mean AUROC of all
observations is known in closed form, so no test images add noise. A draw is below where it is by more than rounding.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.stats import norm

from medclip.evaluation.probes import Examples, anchored, plain_linear

DRAWS = int(sys.argv[1]) if len(sys.argv) > 1 else 50
DIM, OBSERVATIONS, SHIFT = 64, 10, 1.2
PREVALENCE = np.geomspace(0.03, 0.5, OBSERVATIONS)
ERRORS = {"good": 0.2, "fair": 1.0, "poor": 3.0}  # length of the texts' error, that of the best direction being 1


def auroc(weights: np.ndarray, best: np.ndarray) -> float:
    """Returns the mean AUROC of linear scores: classes differ by SHIFT along `best` (O, D), with unit variance."""
    length = np.maximum(np.linalg.norm(weights, axis=1), 1e-12)
    return float(np.mean(norm.cdf(SHIFT * (weights * best).sum(axis=1) / length / np.sqrt(2))))


def draw(rng: np.random.Generator, best: np.ndarray, prevalence: float, shots: int) -> Examples:
    """Returns examples with `shots` of the rarer class, the other at its real ratio."""
    count = max(int(3 * shots / prevalence), 20)
    truth = rng.random(count) < prevalence
    while min(truth.sum(), (~truth).sum()) < shots:
        truth = np.append(truth, rng.random(count) < prevalence)
    enough = max(int(np.searchsorted(np.cumsum(side), shots)) + 1 for side in (truth, ~truth))
    truth = truth[:enough]
    return Examples(rng.normal(size=(enough, DIM)) + SHIFT * truth[:, None] * best, truth)


def linear_weights(examples: Examples) -> np.ndarray:
    """Returns the weights (D,) of the plain probe, read off its scores."""
    scores = plain_linear(examples)
    return scores(np.eye(DIM)) - scores(np.zeros((1, DIM)))


def main() -> None:
    rng = np.random.default_rng(0)
    print(f"{'texts':>6} {'shots':>5} {'zero-shot':>9} {'anchored':>9} {'below':>6} {'linear':>7} {'below':>6}")
    for name, error in ERRORS.items():
        for shots in (1, 2, 4, 8, 16, 64):
            found = []
            for _ in range(DRAWS):
                best = rng.normal(size=(OBSERVATIONS, DIM))
                best /= np.linalg.norm(best, axis=1, keepdims=True)
                wrong = rng.normal(size=best.shape)
                texts = best + error * wrong / np.linalg.norm(wrong, axis=1, keepdims=True)
                examples = [draw(rng, one, share, shots) for one, share in zip(best, PREVALENCE, strict=True)]
                linear = np.stack([linear_weights(one) for one in examples])
                found.append([auroc(w, best) for w in (texts, anchored(examples, texts)[0], linear)])
            zero, ours, plain = np.array(found).T
            below = [float((one < zero - 1e-9).mean()) for one in (ours, plain)]
            print(f"{name:>6} {shots:>5} {zero.mean():>9.3f} {ours.mean():>9.3f} {below[0]:>6.2f} "
                  f"{plain.mean():>7.3f} {below[1]:>6.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
