from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.metrics import f1_score as sklearn_f1

from medclip.evaluation.metrics import (
    accuracy,
    auroc,
    average_precision,
    calibration_error,
    f1_score,
    multiclass,
    multilabel,
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


def test_multilabel_masks_states_that_are_neither_and_leaves_out_rare_ones() -> None:
    states = np.array([[1, 1], [0, np.nan], [1, np.nan], [0, 0], [-1, np.nan]], dtype=float)
    scores = np.array([[0.9, 0], [0.1, 0], [0.8, 0], [0.2, 1], [5.0, 0]])
    metrics, table = multilabel(states, scores, ["A", "B"], resamples=None, min_count=2)
    assert metrics["auroc/A"].value == 1.0
    assert metrics["auroc/B"].value == 0.0
    assert metrics["auroc/mean"].value == 1.0
    assert table[["positive", "negative"]].to_numpy().tolist() == [[2, 2], [1, 1]]


def test_multiclass_by_hand() -> None:
    states = np.array([[1, 0], [0, 1], [1, 1], [0, 0], [1, -1], [0, 1]], dtype=float)
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0, 0], [0, 0], [0, 0], [0.1, 0.3]])
    metrics, confusion = multiclass(states, scores, ["A", "B"], ["A", "B"], resamples=None)
    assert metrics["accuracy"].count == 3
    assert metrics["accuracy"].value == pytest.approx(2 / 3)
    assert metrics["balanced_accuracy"].value == pytest.approx((1 + 0.5) / 2)
    assert confusion[["A", "B"]].to_numpy().tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_and_f1_agree_with_scikit_learn_with_ties_and_weights(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, scores = rng.random(200) < 0.3, rng.integers(0, 12, 200)
    weights = rng.integers(0, 4, (6, 200)).astype(float)
    expected = [average_precision_score(truth, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(average_precision(truth, scores, weights), expected)
    assert average_precision(truth, scores)[0] == pytest.approx(average_precision_score(truth, scores))
    expected = [sklearn_f1(truth, scores >= 6, sample_weight=row) for row in weights]
    np.testing.assert_allclose(f1_score(truth, scores >= 6, weights), expected)
    assert f1_score(truth, scores >= 6)[0] == pytest.approx(sklearn_f1(truth, scores >= 6))


def test_an_unmentioned_class_is_not_there() -> None:
    """CheXpert leaves blank what a report does not say; a blank must not be taken for the class."""
    nan = np.nan
    states = np.array([[nan, 1, nan], [1, nan, nan], [nan, nan, 1], [nan, nan, nan]])
    metrics, confusion = multiclass(states, np.eye(4, 3)[[1, 0, 2, 3]], list("ABC"), list("ABC"), resamples=None)
    assert metrics["accuracy"].value == 1
    assert metrics["accuracy"].count == 3
    assert np.diag(confusion[list("ABC")]).tolist() == [1, 1, 1]


def test_equal_probabilities_are_one_bin() -> None:
    error, bins = calibration_error(np.arange(100) < 50, np.full(100, 0.5))
    assert error == 0
    assert len(bins) == 1


def test_average_precision_by_hand() -> None:
    assert average_precision([True, False, True], [3, 2, 1])[0] == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision([True, False], [1, 1])[0] == 0.5
    assert np.isnan(average_precision([False, False], [1, 2])[0])


def test_calibration_error_by_hand() -> None:
    truth = np.array([False, True, True, True])
    error, bins = calibration_error(truth, np.array([0.1, 0.3, 0.8, 1.0]), bins=2)
    assert bins["predicted"].tolist() == pytest.approx([0.2, 0.9])
    assert bins["observed"].tolist() == [0.5, 1.0]
    assert error == pytest.approx((0.3 + 0.1) / 2)


def test_f1_takes_the_thresholds_it_is_given() -> None:
    states = np.array([[1.0], [0.0], [1.0], [0.0]])
    scores = np.array([[0.9], [0.4], [0.3], [0.1]])
    metrics, table = multilabel(states, scores, ["A"], resamples=None, min_count=1, thresholds={"A": 0.35})
    assert metrics["f1/A"].value == metrics["f1/mean"].value == pytest.approx(0.5)
    assert table.loc[0, "f1"] == pytest.approx(0.5)
    assert "f1/A" not in multilabel(states, scores, ["A"], resamples=None, min_count=1)[0]


@pytest.mark.parametrize("metric", [auroc, average_precision])
def test_scores_that_are_no_numbers_are_refused(metric) -> None:
    with pytest.raises(ValueError, match="2 of 4 scores are NaN"):
        metric(np.array([1, 0, 1, 0]), np.array([0.5, np.nan, 0.2, np.nan]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 3)), min_size=2, max_size=40))
def test_weighted_metrics_agree_with_scikit_learn(rows: list[tuple[bool, int, int]]) -> None:
    truth, scores, weights = (np.array(column) for column in zip(*rows, strict=True))
    drawn = weights[None].astype(np.float32)
    positive, negative = weights[truth].sum(), weights[~truth].sum()
    area, precision = auroc(truth, scores, drawn)[0], average_precision(truth, scores, drawn)[0]
    if positive and negative:
        assert area == pytest.approx(roc_auc_score(truth, scores, sample_weight=weights))
    else:
        assert np.isnan(area)
    if positive:
        expected = average_precision_score(truth, scores, sample_weight=weights)
        assert precision == pytest.approx(expected, abs=1e-6)
    else:
        assert np.isnan(precision)
