"""Classifiers from a few labelled embeddings, all in closed form or nearly so: anchored to texts, plain linear, kNN."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medclip.inference.index import Index

#: Strengths of the anchor: as how many examples of average length the texts count.
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
_CONFIDENCE = 0.95
_NEIGHBOURS = 16
_TEMPERATURE = 0.07  # of the votes of neighbours, as usual for kNN on embeddings
_PENALTY = 0.01  # inverse strength of the plain probe's penalty, where no validation split chooses it


@dataclass(frozen=True)
class Examples:
    """Labelled embeddings of one observation.

    Attributes:
        embeds: (N, D), unit length.
        truth: (N,) booleans.
    """

    embeds: np.ndarray
    truth: np.ndarray

    @property
    def rarer(self) -> int:
        """The number of examples of the rarer state."""
        return int(min(self.truth.sum(), (~self.truth).sum()))


@dataclass(frozen=True)
class Candidates:
    """The anchored probes of one observation, and how each does on examples that are left out.

    Attributes:
        weights: (S, D), one for each strength.
        gains: (S,) leave-one-out AUROC above that of the texts.
        variances: (S,) of the gains.
    """

    weights: np.ndarray
    gains: np.ndarray
    variances: np.ndarray


def anchored(examples: Sequence[Examples], texts: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns weights (O, D) for O observations, and the strength of the anchor; infinite where nothing was learned.

    Each probe is a ridge regression of the states, both weighing the same, towards the direction of the texts: it
    minimises sum c_i (y_i - w.x_i)^2 + strength * |w - a t|^2 in closed form, with a t scaled to answers of size 1.
    The strength is one for all observations. It is the one whose leave-one-out AUROC, in closed form, is surest to be
    above that of the texts alone, over all observations together (one-sided, 95 %, with the variance of DeLong et al.
    1988). Where no strength is, the texts are kept as they are. So no validation set is needed, and what is learned
    from too little is given up.

    Args:
        examples: Examples of each observation.
        texts: (O, D) directions from denial to claim; an image's cosine with them is the zero-shot score.
    """
    learned = [j for j, one in enumerate(examples) if one.rarer > 1]
    weights = texts.astype(np.float64)
    if not learned:
        return weights, float("inf")
    found = [candidates(examples[j], weights[j]) for j in learned]
    gain = np.mean([one.gains for one in found], axis=0)
    deviation = np.sqrt(np.sum([one.variances for one in found], axis=0)) / len(found)
    surely = gain - _quantile(sum(examples[j].rarer - 1 for j in learned)) * deviation
    best = int(np.argmax(surely))
    if surely[best] <= 0:
        return weights, float("inf")
    for j, one in zip(learned, found, strict=True):
        weights[j] = one.weights[best]
    return weights, STRENGTHS[best]


def _quantile(freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(_CONFIDENCE, freedom))


def candidates(examples: Examples, text: np.ndarray) -> Candidates:
    """Returns the ridge regressions towards `text` (D,), with their leave-one-out answers in closed form."""
    x, truth = examples.embeds.astype(np.float64), examples.truth
    positives, negatives = int(truth.sum()), int((~truth).sum())
    effective = 4 / (1 / positives + 1 / negatives)  # balanced examples that these are worth
    weight = np.where(truth, 0.5 / positives, 0.5 / negatives) * effective
    x = x - np.average(x, axis=0, weights=weight)
    asked = x @ text
    scale = 1 / max(float(np.sqrt(np.average(asked**2, weights=weight))), 1e-12)
    left = np.where(truth, 1.0, -1.0) - scale * asked  # what the texts leave unexplained
    basis, powers, axes = _spectrum(np.sqrt(weight)[:, None] * x)
    target = basis.T @ (np.sqrt(weight) * left)
    before, unit = _placements(asked, truth), powers.sum() / effective
    weights, gains, variances = [], [], []
    for strength in STRENGTHS:
        shrunk = powers / (powers + strength * unit)
        fitted = (basis @ (shrunk * target)) / np.sqrt(weight)
        leverage = (basis**2) @ shrunk + weight / effective
        held_out = left - (left - fitted) / (1 - np.minimum(leverage, 0.999))
        after = _placements(scale * asked + held_out, truth)
        differences = [new - old for new, old in zip(after, before, strict=True)]
        gains.append(differences[0].mean())
        variances.append(sum(one.var(ddof=1) / len(one) for one in differences))
        weights.append(scale * text + axes @ (np.sqrt(powers) / (powers + strength * unit) * target))
    return Candidates(np.array(weights), np.array(gains), np.array(variances))


def _spectrum(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns x (N, D) as basis (N, R), squared singular values (R,) and axes (D, R), those of no length left out."""
    if len(x) <= x.shape[1]:
        basis, lengths, axes = np.linalg.svd(x, full_matrices=False)
        kept = lengths > 1e-9 * max(lengths[0], 1e-12)
        return basis[:, kept], lengths[kept] ** 2, axes[kept].T
    powers, axes = np.linalg.eigh(x.T @ x)
    kept = powers > 1e-12 * max(powers[-1], 1e-12)
    powers, axes = powers[kept], axes[:, kept]
    return x @ axes / np.sqrt(powers), powers, axes


def _placements(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the share of negatives below each positive, and of positives above each negative, ties counting half."""
    positives, negatives = np.sort(scores[truth]), np.sort(scores[~truth])
    below = [np.searchsorted(negatives, scores[truth], side=side) for side in ("left", "right")]
    not_above = [np.searchsorted(positives, scores[~truth], side=side) for side in ("left", "right")]
    return (below[0] + below[1]) / 2 / len(negatives), 1 - (not_above[0] + not_above[1]) / 2 / len(positives)


def plain_linear(examples: Examples) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the scores of a logistic regression on scaled embeddings, which knows nothing of texts."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, deviation = examples.embeds.mean(axis=0), np.maximum(examples.embeds.std(axis=0), 1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 200 passes are enough for a ranking
        fitted = LogisticRegression(C=_PENALTY, max_iter=200).fit((examples.embeds - mean) / deviation, examples.truth)
    return lambda embeds: fitted.decision_function((embeds - mean) / deviation)


def nearest(examples: Examples) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the share of positives among the nearest examples, votes weighted by their cosine."""
    index = Index(examples.embeds, [""] * len(examples.embeds))

    def scores(embeds: np.ndarray) -> np.ndarray:
        cosines, rows = index.search(embeds, k=min(_NEIGHBOURS, len(examples.embeds)))
        votes = np.exp((cosines - cosines[:, :1]) / _TEMPERATURE)
        return (votes * examples.truth[rows]).sum(axis=1) / votes.sum(axis=1)

    return scores
