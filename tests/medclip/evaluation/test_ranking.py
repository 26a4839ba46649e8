from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from medclip.evaluation.ranking import claim_overlap, claims_true_of, hits, ndcg, positive_overlap

NAN = np.nan


def test_overlaps_by_hand() -> None:
    images = np.array([[1, 0, 1], [1, 1, 0], [0, 0, 0.0]])
    np.testing.assert_allclose(positive_overlap(images, images), [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]])
    texts = np.array([[1, NAN, 0], [1, NAN, NAN], [NAN, NAN, -1]])
    np.testing.assert_allclose(claim_overlap(texts, texts), [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(claims_true_of(texts, images), [[0.5, 1, 0.5], [1, 1, 0], [0, 0, 0]])


def test_ndcg_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    near, gains = rng.random((7, 20)), rng.random((7, 20))
    for k in (1, 5, 30):
        found, _ = ndcg(near, gains, k=k)
        expected = [ndcg_score(g[None], n[None], k=k) for g, n in zip(gains, near, strict=True)]
        np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("k", [1, 3])
def test_chance_is_the_mean_over_random_orders(k: int) -> None:
    rng = np.random.default_rng(1)
    gains, relevant = rng.random((1, 8)), np.array([[True, False, True] + [False] * 5])
    allowed = np.array([[True] * 6 + [False] * 2])
    orders = rng.random((4000, 8))
    mean_ndcg = np.mean([ndcg(order[None], gains, k=k, allowed=allowed)[0] for order in orders])
    mean_hits = np.mean([hits(order[None], relevant, k=k, allowed=allowed)[0] for order in orders])
    assert ndcg(orders[:1], gains, k=k, allowed=allowed)[1] == pytest.approx(mean_ndcg, abs=0.01)
    assert hits(orders[:1], relevant, k=k, allowed=allowed)[1] == pytest.approx(mean_hits, abs=0.02)


def test_queries_without_anything_relevant_do_not_count() -> None:
    near, nothing = np.ones((1, 3)), np.zeros((1, 3))
    assert np.isnan(ndcg(near, nothing, k=2)[0]).all()
    assert np.isnan(hits(near, nothing.astype(bool), k=2)[1]).all()


def test_who_is_no_candidate_is_never_found() -> None:
    near, gains = np.array([[9.0, 2.0, 1.0]]), np.array([[1.0, 0.0, 1.0]])
    found, chance = ndcg(near, gains, k=1, allowed=np.array([[False, True, True]]))
    assert (found[0], chance[0]) == (0, 0.5)
