"""Rankings judged by graded relevance: nDCG, hits among the first K, and what each is by chance."""

from __future__ import annotations

import numpy as np

# A ranking is (M, N) similarities of M queries to N candidates; `allowed` (M, N) says who may be found by whom.


def positive_overlap(states: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the share (M, N) of the observations positive on either side that are positive on both (Jaccard).

    Args:
        states: (M, O).
        others: (N, O).
    """
    return _jaccard(states == 1, others == 1)


def claim_overlap(states: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the share (M, N) of the claims and denials made on either side that are made on both (Jaccard)."""
    return _jaccard(_claims(states), _claims(others))


def claims_true_of(texts: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Returns the share (T, I) of a text's claims and denials that are an image's states.

    Args:
        texts: States (T, O).
        images: States (I, O).
    """
    said = _claims(texts)
    true = said.astype(np.float64) @ _claims(images).T.astype(np.float64)
    return true / np.maximum(said.sum(axis=1), 1)[:, None]


def _claims(states: np.ndarray) -> np.ndarray:
    return np.concatenate([states == 1, states == 0], axis=1)


def _jaccard(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    both = one.astype(np.float64) @ other.T.astype(np.float64)
    either = one.sum(axis=1)[:, None] + other.sum(axis=1)[None] - both
    return both / np.maximum(either, 1)


def ndcg(
    similarities: np.ndarray, gains: np.ndarray, *, k: int, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the normalised discounted cumulative gain (M,) of the first K, and what a random order gets on average.

    The gain at rank r counts gain / log2(r + 1), and the best order 1 (Järvelin and Kekäläinen 2002). NaN for queries
    for whom nothing has any gain.

    Args:
        similarities: (M, N), higher for nearer.
        gains: (M, N), at least 0.
        k: How many are looked at.
        allowed: (M, N) booleans; all by default.
    """
    allowed = np.ones_like(gains, dtype=bool) if allowed is None else allowed
    k = min(k, gains.shape[1])
    discounts = 1 / np.log2(np.arange(2, k + 2))
    kept = np.where(allowed, gains, 0.0)
    order = np.argsort(-np.where(allowed, similarities, -np.inf), axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(kept, order, axis=1) @ discounts
    best = -np.sort(-kept, axis=1)[:, :k] @ discounts
    many = allowed.sum(axis=1)
    mean = kept.sum(axis=1) / np.maximum(many, 1)
    reach = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(many, k)]
    defined = best > 0
    return tuple(np.divide(one, best, out=np.full(len(best), np.nan), where=defined) for one in (found, mean * reach))  # type: ignore[return-value]


def hits(
    similarities: np.ndarray, relevant: np.ndarray, *, k: int, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns whether one of the first K is relevant (M,), and how often one is in a random order.

    NaN for queries without anything relevant. Arguments as of `ndcg`, `relevant` being (M, N) booleans.
    """
    allowed = np.ones_like(relevant, dtype=bool) if allowed is None else allowed
    wanted = relevant & allowed
    order = np.argsort(-np.where(allowed, similarities, -np.inf), axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(wanted, order, axis=1).any(axis=1).astype(np.float64)
    many, good = allowed.sum(axis=1), wanted.sum(axis=1)
    chance = 1 - _none_of(many, good, k)
    return np.where(good > 0, found, np.nan), np.where(good > 0, chance, np.nan)


def _none_of(many: np.ndarray, good: np.ndarray, k: int) -> np.ndarray:
    """Returns the chance (M,) that none of K drawn from `many` without replacement is one of the `good`."""
    missed = np.ones(len(many))
    for drawn in range(k):
        left = many - drawn
        missed *= np.where(left > 0, np.clip(left - good, 0, None) / np.maximum(left, 1), 1.0)
    return missed
