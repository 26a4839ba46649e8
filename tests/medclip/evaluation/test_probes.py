from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medclip.evaluation.probes import STRENGTHS, Examples, anchored, candidates, nearest, plain_linear


def examples(n: int, *, seed: int = 0, dim: int = 6, positives: float = 0.3, signal: float = 0.0) -> Examples:
    """Unit vectors whose first axis says nothing but `signal` of the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < positives
    truth[:4] = [True, True, False, False]
    x = rng.normal(size=(n, dim))
    x[:, 1] += signal * truth
    return Examples(x / np.linalg.norm(x, axis=1, keepdims=True), truth)


def left_out(one: Examples, text: np.ndarray, strength: float) -> float:
    """How often a positive is above a negative by a regression on the others, written out: a fit for each pair."""
    x, y = one.embeds, np.where(one.truth, 1.0, -1.0)
    positives, negatives = one.truth.sum(), (~one.truth).sum()
    effective = 4 / (1 / positives + 1 / negatives)
    c = np.where(one.truth, 0.5 / positives, 0.5 / negatives) * effective
    x = x - np.average(x, axis=0, weights=c)
    scale = 1 / np.sqrt(np.average((x @ text) ** 2, weights=c))
    penalty = strength * (c[:, None] * x**2).sum() / effective * np.eye(x.shape[1] + 1)
    penalty[-1, -1] = 0
    design, rest = np.column_stack([x, np.ones(len(x))]), y - scale * (x @ text)
    wins = []
    for i in np.flatnonzero(one.truth):
        for j in np.flatnonzero(~one.truth):
            kept = ~np.isin(np.arange(len(x)), (i, j))
            a, b = design[kept], c[kept]
            fitted = np.linalg.solve(a.T @ (b[:, None] * a) + penalty, a.T @ (b * rest[kept]))
            scores = scale * (x @ text) + design @ fitted
            wins.append(scores[i] > scores[j])
    return float(np.mean(wins))


@pytest.mark.parametrize(("n", "dim"), [(20, 6), (12, 30)])
def test_leaving_pairs_out_in_closed_form_is_leaving_them_out(n: int, dim: int) -> None:
    one, text = examples(n, dim=dim, signal=1.0), np.eye(dim)[0]
    found = candidates(one, text)
    for strength, gain in zip(STRENGTHS, found.gains, strict=True):
        slow = left_out(one, text, strength) - roc_auc_score(one.truth, one.embeds @ text)
        assert gain == pytest.approx(slow)


def test_what_learning_does_not_help_stays_with_the_texts() -> None:
    """Labels that no embedding knows: of 100 draws, few leave the texts."""
    text = np.eye(6)[:1]
    departed = [np.isfinite(anchored([examples(30, seed=seed)], text)[1]) for seed in range(100)]
    assert np.mean(departed) <= 0.08


def test_what_learning_helps_is_learned() -> None:
    text, test = np.eye(6)[:1], examples(500, seed=1, signal=3.0)
    weights, strength = anchored([examples(200, signal=3.0)], text)
    assert strength in STRENGTHS
    assert roc_auc_score(test.truth, test.embeds @ weights[0]) > 0.85 > roc_auc_score(test.truth, test.embeds @ text[0])


def test_one_example_of_a_state_teaches_nothing() -> None:
    one = Examples(np.eye(3), np.array([True, False, False]))
    weights, strength = anchored([one], np.eye(3)[1:2])
    assert strength == np.inf
    np.testing.assert_array_equal(weights, np.eye(3)[1:2])


def test_baselines_by_hand() -> None:
    one = Examples(np.eye(2)[[0, 0, 1]], np.array([True, True, False]))
    scores = nearest(one)(np.eye(2))
    near, far = np.exp(0), np.exp(-1 / 0.07)
    np.testing.assert_allclose(scores, [2 * near / (2 * near + far), 2 * far / (2 * far + near)], rtol=1e-5)
    linear = plain_linear(one)(np.eye(2))
    assert linear[0] > linear[1]
