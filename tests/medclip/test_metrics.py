from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, precision_recall_fscore_support, roc_auc_score

from medclip.metrics import (
    accuracy,
    auroc,
    bootstrap_weights,
    interval,
    kappa,
    mean_of,
    multiclass,
    multilabel,
    precision_recall,
)


def test_auroc_by_hand() -> None:
    assert auroc([True, False, False, True], [0.9, 0.1, 0.8, 0.5])[0] == 0.75
    assert auroc([True, False], [0.5, 0.5])[0] == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_auroc_agrees_with_scikit_learn_with_ties_and_weights(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, scores = rng.random(200) < 0.3, rng.integers(0, 20, 200) / 7
    weights = rng.integers(0, 4, (3, 200)).astype(float)
    assert auroc(truth, scores)[0] == pytest.approx(roc_auc_score(truth, scores))
    for found, row in zip(auroc(truth, scores, weights), weights, strict=True):
        assert found == pytest.approx(roc_auc_score(truth, scores, sample_weight=row))


def test_auroc_of_one_class_is_undefined() -> None:
    assert np.isnan(auroc([True, True], [0.1, 0.2])[0])


def test_accuracy_by_hand() -> None:
    assert accuracy([1, 2, 3], [1, 2, 4])[0] == pytest.approx(2 / 3)
    assert accuracy([1, 2, 3], [1, 2, 4], np.array([[0.0, 0.0, 5.0]]))[0] == 0


def test_bootstrap_draws_patients_not_rows() -> None:
    weights = bootstrap_weights(np.array(["a", "a", "b", "c"]), resamples=50, seed=0)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert (weights == bootstrap_weights(np.array(["a", "a", "b", "c"]), resamples=50, seed=0)).all()


def test_interval_holds_the_value_and_narrows_with_size() -> None:
    rng = np.random.default_rng(0)

    def width(count: int) -> float:
        truth = rng.random(count) < 0.5
        scores = truth + rng.standard_normal(count)
        found = interval(lambda w: auroc(truth, scores, w), bootstrap_weights(np.arange(count), resamples=300, seed=0))
        assert found.low < found.value < found.high
        return found.high - found.low

    assert width(2000) < width(100)


def test_mean_leaves_out_what_is_undefined() -> None:
    mean = mean_of([lambda w: np.array([np.nan]), lambda w: np.array([0.5]), lambda w: np.array([0.7])])
    assert mean(None)[0] == pytest.approx(0.6)


def test_multilabel_masks_states_that_are_neither_and_leaves_out_rare_ones() -> None:
    states = np.array([[1, 1], [0, np.nan], [1, np.nan], [0, 0], [-1, np.nan]], dtype=float)
    scores = np.array([[0.9, 0], [0.1, 0], [0.8, 0], [0.2, 1], [5.0, 0]])
    metrics, table = multilabel(states, scores, ["A", "B"], weights=None, min_count=2)
    assert metrics["auroc/A"] == 1.0
    assert metrics["auroc/B"] == 0.0
    assert metrics["auroc/mean"] == 1.0
    assert table[["positive", "negative"]].to_numpy().tolist() == [[2, 2], [1, 1]]


def test_multiclass_by_hand() -> None:
    states = np.array([[1, 0], [0, 1], [1, 1], [0, 0], [1, -1], [0, 1]], dtype=float)
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0, 0], [0, 0], [0, 0], [0.1, 0.3]])
    metrics, confusion = multiclass(states, scores, ["A", "B"], ["A", "B"], weights=None)
    assert metrics["accuracy/rows"] == 3
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["balanced_accuracy"] == pytest.approx((1 + 0.5) / 2)
    assert confusion[["A", "B"]].to_numpy().tolist() == [[1, 0], [1, 1]]


def test_precision_recall_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.random((300, 3)) < 0.3, rng.random((300, 3)) < 0.4
    table = precision_recall(truth, predicted, ["A", "B", "C"], weights=None).set_index("observation")
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
