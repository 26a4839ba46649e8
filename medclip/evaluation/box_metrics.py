"""How well maps and boxes agree with the boxes of readers: overlap, the pointing game, average precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

#: Side of the square on which maps are compared with boxes.
SIDE = 224
#: Recalls at which precision is read, as COCO does.
_RECALLS = np.linspace(0.0, 1.0, 101)


def box_masks(boxes: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Returns (S, S) booleans: which pixels are in a box, and which belong to the image and not to its padding.

    Args:
        boxes: The boxes of one image, see `medclip.data.boxes.prepare_boxes`.
    """
    inside, seen = np.zeros((SIDE, SIDE), dtype=bool), np.zeros((SIDE, SIDE), dtype=bool)
    for left, top, width, height in boxes[["left", "top", "width", "height"]].to_numpy():
        inside[_span(top, height), _span(left, width)] = True
    left, top, width, height = boxes[["image_left", "image_top", "image_width", "image_height"]].to_numpy()[0]
    seen[_span(top, height), _span(left, width)] = True
    return inside & seen, seen


def _span(start: float, length: float) -> slice:
    """Returns the pixels of a share of the side; at least one."""
    low = int(np.clip(round(start * SIDE), 0, SIDE - 1))
    return slice(low, int(np.clip(round((start + length) * SIDE), low + 1, SIDE)))


def box_scores(heatmap: np.ndarray, inside: np.ndarray, seen: np.ndarray) -> dict[str, float]:
    """Returns how well a heatmap agrees with boxes: `pointing`, `cnr`, `iou` and `dice`.

    Args:
        heatmap: (S, S) values, of any scale.
        inside: (S, S) booleans, true within a box.
        seen: (S, S) booleans, true within the image; the rest is padding.
    """
    values, boxed = heatmap[seen].astype(np.float64), inside[seen]
    within, without = values[boxed], values[~boxed]
    count, highest = int(boxed.sum()), np.zeros(len(values), dtype=bool)
    highest[np.argpartition(-values, count - 1)[:count]] = True
    common = int((highest & boxed).sum())
    return {
        "pointing": float(boxed[np.argmax(values)]),
        "cnr": float((within.mean() - without.mean()) / max(np.sqrt(within.var() + without.var()), 1e-12)),
        "iou": common / (2 * count - common),
        "dice": common / count,
    }


def mean_overlap(cosines: np.ndarray, inside: np.ndarray, seen: np.ndarray) -> float:
    """Returns the IoU of the boxes with what is above a cosine of .1, .2, .3, .4 and .5, averaged; see `box_scores`."""
    values, boxed = cosines[seen], inside[seen]
    above = [values >= threshold for threshold in (0.1, 0.2, 0.3, 0.4, 0.5)]
    return float(np.mean([(high & boxed).sum() / max((high | boxed).sum(), 1) for high in above]))


@dataclass(frozen=True)
class Matched:
    """N found boxes of one observation in R images, and whether each is right.

    Attributes:
        scores: (N,) the higher, the surer.
        correct: (N,) booleans.
        rows: (N,) the image of each.
        truths: (R,) number of boxes that readers drew in each image.
    """

    scores: np.ndarray
    correct: np.ndarray
    rows: np.ndarray
    truths: np.ndarray


def matches(overlap: np.ndarray, least: float) -> np.ndarray:
    """Returns which found boxes of one image are right, (N,): each takes the free true box that it overlaps most.

    Args:
        overlap: (N, M) IoU with M true boxes; found boxes by falling score.
        least: The overlap that is needed.
    """
    free, right = np.ones(overlap.shape[1], dtype=bool), np.zeros(len(overlap), dtype=bool)
    for i, row in enumerate(overlap):
        open_to = np.where(free, row, -1.0)
        if len(row) and open_to.max() >= least:
            free[np.argmax(open_to)] = False
            right[i] = True
    return right


def average_precision(matched: Matched, weights: np.ndarray | None = None) -> np.ndarray:
    """Returns the average precision for each resample (B,), one without: the mean over 101 recalls, as COCO has it.

    Precision at a recall is the best at that or a higher one. NaN where no box is to be found.

    Args:
        matched: Found boxes of all images.
        weights: (B, R) how often each image counts.
    """
    order = np.argsort(-matched.scores, kind="stable")
    rows, right = matched.rows[order], matched.correct[order]
    drawn = np.ones((1, len(matched.truths)), dtype=np.float32) if weights is None else weights
    total = drawn @ matched.truths.astype(np.float64)  # (B,)
    counted = drawn[:, rows].astype(np.float64)  # (B, N)
    hits, all_found = np.cumsum(counted * right, axis=1), np.cumsum(counted, axis=1)
    precision = np.divide(hits, all_found, out=np.zeros_like(hits), where=all_found > 0)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    found = np.full(len(drawn), np.nan)
    for i in np.flatnonzero(total > 0):
        places = np.searchsorted(hits[i] / total[i], _RECALLS, side="left")
        found[i] = np.append(best[i], 0.0)[np.minimum(places, len(order))].mean()
    return found
