from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, precision_recall_fscore_support

from medclip.evaluation.agreement import kappa, precision_recall
from medclip.evaluation.bootstrap import bootstrap


def test_precision_recall_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.random((300, 3)) < 0.3, rng.random((300, 3)) < 0.4
    table = precision_recall(truth, predicted, ["A", "B", "C"], resamples=None).set_index("observation")
    for average, rows in ((None, ["A", "B", "C"]), ("micro", "micro"), ("macro", "macro")):
        expected = precision_recall_fscore_support(truth, predicted, average=average)[:3]
        for name, values in zip(("precision", "recall", "f1"), expected, strict=True):
            np.testing.assert_allclose(table.loc[rows, name], values)


def test_kappa_agrees_with_scikit_learn_and_counts_unmentioned_as_a_state() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.choice([1, 0, -1, np.nan], 200), rng.choice([1, 0, -1, np.nan], 200)
    first[:80] = second[:80]
    expected = cohen_kappa_score(np.nan_to_num(first, nan=2), np.nan_to_num(second, nan=2))
    assert kappa(first, second) == pytest.approx(expected)
    assert np.isnan(kappa(np.ones(3), np.ones(3)))


def test_an_interval_of_something_rare_is_not_pulled_to_zero() -> None:
    """A resample without any positive says nothing of recall; it does not say 0."""
    truth = np.zeros((200, 2), dtype=bool)
    truth[0, 0], truth[:50, 1] = True, True
    resamples = bootstrap(np.arange(200), resamples=300, seed=0)
    table = precision_recall(truth, truth, ["A", "B"], resamples=resamples).set_index("observation")
    assert (table[["recall_low", "recall_high", "f1_low"]] == 1).all(axis=None)
