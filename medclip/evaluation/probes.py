"""Classifiers from a few labelled embeddings, all in closed form or nearly so: anchored to texts, plain linear, kNN."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medclip.inference.index import Index

#: Strengths of the anchor: as how many examples of average length the texts count.
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
_CONFIDENCE = 0.999  # that labels help: five strengths are compared, by variances of a few examples
_PAIRED = 1000  # examples of each state that are paired and left out, at most
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
        gains: (S,) leave-pair-out AUROC above that of the texts.
        variances: (S,) of the gains.
    """

    weights: np.ndarray
    gains: np.ndarray
    variances: np.ndarray


def anchored(examples: Sequence[Examples], texts: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns weights (O, D) for O observations, and the strength of the anchor; infinite where nothing was learned.

    Each probe is a ridge regression of the states, both weighing the same, towards the direction of the texts: it
    minimises sum c_i (y_i - w.x_i)^2 + strength * |w - a t|^2 in closed form, with a t scaled to answers of size 1.
    The strength is one for all observations. It is the one whose leave-pair-out AUROC, in closed form, is surest to be
    above that of the texts alone, over all observations together (one-sided, 99.9 %, with the variance of DeLong et al.
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
    """Returns the ridge regressions towards `text` (D,), with their leave-pair-out AUROC in closed form.

    Of each pair of a positive and a negative example, both are left out, and the rest says which of them is higher
    (Airola et al. 2011). Leaving out one at a time would move the intercept against whoever is left out.
    """
    x, truth = examples.embeds.astype(np.float64), examples.truth
    positives, negatives = int(truth.sum()), int((~truth).sum())
    effective = 4 / (1 / positives + 1 / negatives)  # balanced examples that these are worth
    weight = np.where(truth, 0.5 / positives, 0.5 / negatives) * effective
    x = x - np.average(x, axis=0, weights=weight)
    asked = x @ text
    scale = 1 / max(float(np.sqrt(np.average(asked**2, weights=weight))), 1e-12)
    left = np.where(truth, 1.0, -1.0) - scale * asked  # what the texts leave unexplained
    basis, powers, axes = _spectrum(np.sqrt(weight)[:, None] * x)
    target, unit = basis.T @ (np.sqrt(weight) * left), powers.sum() / effective
    pairs = _Pairs(truth, weight, effective, basis)
    before = pairs.wins(scale * asked, np.zeros_like(left), np.zeros_like(powers))
    weights, gains, variances = [], [], []
    for strength in STRENGTHS:
        shrunk = powers / (powers + strength * unit)
        fitted = (basis @ (shrunk * target)) / np.sqrt(weight)
        differences = pairs.wins(scale * asked + left, left - fitted, shrunk) - before
        gains.append(differences.mean())
        placements = differences.mean(axis=1), differences.mean(axis=0)
        variances.append(sum(one.var(ddof=1) / len(one) for one in placements))
        weights.append(scale * text + axes @ (np.sqrt(powers) / (powers + strength * unit) * target))
    return Candidates(np.array(weights), np.array(gains), np.array(variances))


class _Pairs:
    """Pairs of a positive and a negative example, each left out together.

    Args:
        truth: (N,) booleans.
        weight: (N,) of the examples in the regression.
        total: Their sum.
        basis: (N, R), see `_spectrum`.
    """

    def __init__(self, truth: np.ndarray, weight: np.ndarray, total: float, basis: np.ndarray) -> None:
        self._rows = [np.flatnonzero(side)[:_PAIRED] for side in (truth, ~truth)]
        self._weight, self._total, self._basis = weight, total, basis

    def wins(self, answers: np.ndarray, residuals: np.ndarray, shrunk: np.ndarray) -> np.ndarray:
        """Returns (P, M) who is higher where both are left out: 1 the positive, 0 the negative, a half neither.

        Residuals of a regression on the others are those of the regression on all, over 1 - H of the two, where H
        (2, 2) takes answers to what is fitted.

        Args:
            answers: (N,) what the residuals are to be taken from.
            residuals: (N,) of the regression on all.
            shrunk: (R,) how much of each direction of the basis is fitted; nothing for no regression.
        """
        (i, j), c = self._rows, self._weight
        own = [(self._basis[rows] ** 2) @ shrunk + shrunk.any() * c[rows] / self._total for rows in (i, j)]
        shared = (self._basis[i] * shrunk) @ self._basis[j].T / np.sqrt(
            c[i][:, None] * c[j]
        ) + shrunk.any() / self._total
        to_i, to_j = shared * c[j], shared * c[i][:, None]  # H_ij and H_ji
        free_i, free_j = 1 - own[0][:, None], 1 - own[1]
        determinant = np.maximum(free_i * free_j - to_i * to_j, 1e-9)
        out_i = (free_j * residuals[i][:, None] + to_i * residuals[j]) / determinant
        out_j = (free_i * residuals[j] + to_j * residuals[i][:, None]) / determinant
        difference = (answers[i][:, None] - out_i) - (answers[j] - out_j)
        return np.where(np.abs(difference) < 1e-12, 0.5, difference > 0)


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
