from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.metrics import f1_score as sklearn_f1

from medclip.evaluation.metrics import (
    accuracy,
    auroc,
    average_precision,
    bootstrap_weights,
    calibration_error,
    f1_score,
    interval,
    mean_of,
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
    metrics, confusion = multiclass(states, np.eye(4, 3)[[1, 0, 2, 3]], list("ABC"), list("ABC"), weights=None)
    assert metrics["accuracy"] == 1
    assert metrics["accuracy/rows"] == 3
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
    metrics, table = multilabel(states, scores, ["A"], weights=None, min_count=1, thresholds={"A": 0.35})
    assert metrics["f1/A"] == metrics["f1/mean"] == pytest.approx(0.5)
    assert table.loc[0, "f1"] == pytest.approx(0.5)
    assert "f1/A" not in multilabel(states, scores, ["A"], weights=None, min_count=1)[0]


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Patients with several images and noise of their own; benchmarks/intervals.py does it at length."""
    covered, runs = 0, 120
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        patients = np.repeat(np.arange(150), 3)
        right = rng.random(450) < (0.7 + 0.2 * rng.choice([-1, 1], 150))[patients]
        found = interval(
            lambda w, r=right: accuracy(r, np.ones(450, bool), w), bootstrap_weights(patients, resamples=400, seed=seed)
        )
        covered += found.low <= 0.7 <= found.high
    assert 0.88 <= covered / runs <= 0.99


@pytest.mark.parametrize("metric", [auroc, average_precision])
def test_scores_that_are_no_numbers_are_refused(metric) -> None:
    with pytest.raises(ValueError, match="2 of 4 scores are NaN"):
        metric(np.array([1, 0, 1, 0]), np.array([0.5, np.nan, 0.2, np.nan]))
