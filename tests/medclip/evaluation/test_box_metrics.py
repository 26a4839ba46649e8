from __future__ import annotations

import numpy as np
import pytest
import torch

from medclip.evaluation.box_metrics import Matched, average_precision, matches
from medclip.inference.detection import overlap


def boxes_of(rng: np.random.Generator, count: int) -> np.ndarray:
    corners = rng.random((count, 2)) * 0.6
    return np.column_stack([corners, corners + 0.05 + 0.35 * rng.random((count, 2))])


def images_of(seed: int, *, ties: bool = True) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Returns found boxes, their scores (some of them equal with `ties`) and true boxes of some images."""
    rng, images = np.random.default_rng(seed), []
    for _ in range(25):
        true = boxes_of(rng, rng.integers(0, 4))
        near = true + 0.06 * rng.standard_normal(true.shape)
        found = np.concatenate([np.sort(near.reshape(-1, 2, 2), axis=1).reshape(-1, 4), boxes_of(rng, 2)])
        scores = rng.choice([*rng.random(6), 0.5], len(found)) if ties else rng.random(len(found))
        order = np.argsort(-scores, kind="stable")
        images.append((found[order], scores[order], true))
    return images


def matched_of(images: list[tuple[np.ndarray, np.ndarray, np.ndarray]], least: float) -> Matched:
    correct = [matches(overlap(found, true), least) for found, _, true in images]
    rows = np.repeat(np.arange(len(images)), [len(found) for found, _, _ in images])
    scores = np.concatenate([scores for _, scores, _ in images])
    return Matched(scores, np.concatenate(correct), rows, np.array([len(true) for _, _, true in images]))


def naive(images: list[tuple[np.ndarray, np.ndarray, np.ndarray]], least: float) -> float:
    """The average precision from its definition, in loops."""
    answers, positives = [], 0
    for found, scores, true in images:
        positives += len(true)
        taken = set()
        for box, score in zip(found, scores, strict=True):
            best, which = least, None
            for k, other in enumerate(true):
                wide = min(box[2], other[2]) - max(box[0], other[0])
                high = min(box[3], other[3]) - max(box[1], other[1])
                common = max(wide, 0) * max(high, 0)
                areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
                share = common / (sum(areas) - common)
                if k not in taken and share >= best:
                    best, which = share, k
            answers.append((score, which is not None))
            if which is not None:
                taken.add(which)
    answers.sort(key=lambda one: -one[0])
    curve = []
    for count in range(1, len(answers) + 1):
        right = sum(hit for _, hit in answers[:count])
        curve.append((right / positives, right / count))
    levels = [max((p for r, p in curve if r >= level), default=0.0) for level in np.linspace(0, 1, 101)]
    return float(np.mean(levels))


@pytest.mark.parametrize("least", [0.25, 0.5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_average_precision_is_that_of_a_naive_loop(seed: int, least: float) -> None:
    images = images_of(seed)
    expected = naive(images, least)
    assert 0.05 < expected < 0.95
    assert average_precision(matched_of(images, least))[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("least", [0.25, 0.5])
def test_average_precision_is_that_of_pycocotools(least: float) -> None:
    pytest.importorskip("pycocotools")
    detection = pytest.importorskip("torchmetrics.detection")
    images = images_of(3)
    theirs = detection.MeanAveragePrecision(iou_thresholds=[least], backend="pycocotools")
    for found, scores, true in images:
        labels = [torch.zeros(len(one), dtype=torch.long) for one in (found, true)]
        theirs.update(
            [{"boxes": torch.tensor(found), "scores": torch.tensor(scores), "labels": labels[0]}],
            [{"boxes": torch.tensor(true), "labels": labels[1]}],
        )
    ours = average_precision(matched_of(images, least))[0]
    assert ours == pytest.approx(float(theirs.compute()["map"]), abs=1e-6)


def test_weights_count_images_as_often_as_they_say() -> None:
    images, rng = images_of(4, ties=False), np.random.default_rng(0)
    weights = rng.integers(0, 3, (5, len(images))).astype(np.float32)
    found = average_precision(matched_of(images, 0.5), weights)
    for row, value in zip(weights, found, strict=True):
        repeated = [image for image, count in zip(images, row, strict=True) for _ in range(int(count))]
        assert value == pytest.approx(average_precision(matched_of(repeated, 0.5))[0], abs=1e-9)


def test_nothing_to_find_is_not_defined_and_nothing_found_is_zero() -> None:
    none = Matched(np.empty(0), np.empty(0, bool), np.empty(0, int), np.array([0, 2]))
    assert average_precision(none)[0] == 0
    assert np.isnan(average_precision(none, np.array([[1.0, 0.0]]))[0])


def test_a_true_box_is_found_once() -> None:
    true = np.array([[0.0, 0.0, 1.0, 1.0]])
    found = np.array([[0.0, 0.0, 1.0, 0.9], [0.0, 0.0, 1.0, 1.0]])
    assert matches(overlap(found, true), 0.5).tolist() == [True, False]
