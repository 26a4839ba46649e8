"""From maps to boxes: regions above several thresholds are proposals, and of those that overlap the best is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medclip.data.images import Geometry

#: Shares of a map's highest value above which its regions are proposals.
THRESHOLDS = (0.5, 0.6, 0.7, 0.8)
#: Share of the smaller of two boxes from which on they are one.
SAME = 0.7


@dataclass(frozen=True)
class Boxes:
    """N boxes by falling score.

    Attributes:
        corners: (N, 4) left, top, right, bottom.
        scores: (N,) in [0, 1].
    """

    corners: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index: np.ndarray | slice) -> Boxes:
        """Returns some of them, by index, mask or slice."""
        return Boxes(self.corners[index], self.scores[index])

    def times(self, chance: float) -> Boxes:
        """Returns them with their scores times `chance`."""
        return Boxes(self.corners, self.scores * chance)

    def on_original(self, geometry: Geometry, *, size: int) -> Boxes:
        """Returns boxes on a square, as shares of its side, in pixels of the original; those in its padding go.

        Args:
            geometry: Geometry by which the original became the square.
            size: Side of the square.
        """
        offset = np.array([geometry.left, geometry.top] * 2)
        limits = np.array([geometry.width, geometry.height] * 2)
        corners = np.clip((self.corners * size - offset) / geometry.scale, 0, limits)
        kept = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
        return Boxes(corners[kept], self.scores[kept])


def propose(heatmap: np.ndarray, *, thresholds: tuple[float, ...] = THRESHOLDS) -> Boxes:
    """Returns the boxes around connected regions above shares of a map's highest value, as shares of its side.

    The score of a region is its mean as a share of the highest value; equal boxes appear once.

    Args:
        heatmap: (S, S) values of at least 0; 0 in the padding.
        thresholds: The shares.
    """
    from scipy.ndimage import find_objects, label, mean

    peak, size = float(heatmap.max()), len(heatmap)
    if not peak > 0:
        return Boxes(np.empty((0, 4)), np.empty(0))
    found: dict[tuple[int, ...], float] = {}
    for threshold in thresholds:
        regions, count = label(heatmap >= threshold * peak)
        means = mean(heatmap, regions, np.arange(1, count + 1)) / peak
        for (rows, columns), value in zip(find_objects(regions), means, strict=True):
            box = (columns.start, rows.start, columns.stop, rows.stop)
            found[box] = max(found.get(box, 0.0), float(value))
    scores = np.array(list(found.values()))
    order = np.argsort(-scores, kind="stable")
    return Boxes(np.array(list(found), dtype=np.float64)[order] / size, scores[order])


def suppress(boxes: Boxes, *, same: float = SAME) -> Boxes:
    """Returns the boxes that share no more than `same` of their area, or of its, with one of a higher score.

    Non-maximum suppression by the smaller of two boxes: of a peak and the wider regions around it the best stays.
    """
    kept: list[int] = []
    shared = _common(boxes.corners, boxes.corners)
    areas = np.maximum(np.diagonal(shared), 1e-12)
    shares = shared / np.minimum(areas[:, None], areas[None, :])
    for i in range(len(boxes)):
        if not kept or shares[i, kept].max() <= same:
            kept.append(i)
    return boxes.take(np.array(kept, dtype=int))


def overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the intersection over union (N, M) of boxes (N, 4) and (M, 4): left, top, right, bottom."""
    common = _common(first, second)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    return common / np.maximum(areas[0][:, None] + areas[1][None] - common, 1e-12)


def _common(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the area (N, M) that boxes (N, 4) and (M, 4) share."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.clip(high - low, 0, None).prod(axis=2)
