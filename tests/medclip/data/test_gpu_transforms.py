from __future__ import annotations

import albumentations
import numpy as np
import pytest
import torch

from medclip.data.gpu_transforms import DeviceAugmentation, matrices
from medclip.data.preprocessing import MEAN, STD
from medclip.data.transforms import Augmentation, apply, eval_pipeline
from medclip.sources.phantom.radiograph import draw_radiograph

PLAIN = Augmentation(crop=1.0, flip=0.0, jitter=0.0, rotate=0.0, shift=0.0, scale=(1.0, 1.0))


@pytest.fixture(scope="module")
def squares() -> torch.Tensor:
    return torch.from_numpy(np.stack([draw_radiograph(0, i, size=96) for i in range(4)]))[:, None]


def test_nothing_varied_is_the_evaluation_pipeline(squares) -> None:
    found = DeviceAugmentation(96, PLAIN)(squares, seed=0)
    expected = apply(eval_pipeline(96), squares[:, 0].numpy())
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_a_seed_decides_everything_and_the_sizes_fit(squares) -> None:
    augment = DeviceAugmentation(64, Augmentation(flip=0.5))
    first, again, other = augment(squares, seed=1), augment(squares, seed=1), augment(squares, seed=2)
    assert first.shape == (4, 1, 64, 64)
    assert first.dtype == torch.float32
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def sampled(squares: torch.Tensor, augmentation: Augmentation, draws: list[float], size: int = 96) -> np.ndarray:
    """The resampling alone, for draws that are given."""
    theta = matrices(torch.tensor([draws]).repeat(len(squares), 1), augmentation)
    grid = torch.nn.functional.affine_grid(theta, [len(squares), 1, size, size], align_corners=False)
    return torch.nn.functional.grid_sample(squares.float(), grid, align_corners=False).numpy()[:, 0]


@pytest.mark.parametrize(
    ("ranges", "options"),
    [
        ({"rotate": 10.0}, {"rotate": (10, 10)}),
        ({"shift": 0.125}, {"translate_percent": (0.125, 0.125)}),
        ({"scale": (0.8, 1.2)}, {"scale": (1.2, 1.2)}),
        ({"rotate": 10.0, "shift": 0.125, "scale": (0.8, 1.2)},
         {"rotate": (10, 10), "translate_percent": (0.125, 0.125), "scale": (1.2, 1.2)}),
    ],
    ids=["turned", "shifted", "zoomed", "all"],
)  # fmt: skip
def test_the_ends_of_the_ranges_are_those_of_albumentations(squares, ranges, options) -> None:
    plain = {"crop": 1.0, "jitter": 0.0, "rotate": 0.0, "shift": 0.0, "scale": (1.0, 1.0)}
    ends = [sampled(squares, Augmentation(**plain | ranges), [turn] + [1.0] * 9) for turn in (0.0, 1.0)]
    pipeline = albumentations.Compose([albumentations.Affine(fill=0, p=1.0, **options)])
    expected = np.stack([pipeline(image=image)["image"] for image in squares[:, 0].numpy()]).astype(float)
    # They turn the other way round, which is as likely.
    assert min(np.abs(found - expected).mean() for found in ends) < 1.5


def test_crop_and_flip_by_hand(squares) -> None:
    half = Augmentation(crop=0.5, flip=1.0, jitter=0.0, rotate=0.0, shift=0.0, scale=(1.0, 1.0))
    found = sampled(squares, half, [0.5] * 5 + [1.0, 0.0] + [0.5] * 3, size=48)
    expected = squares[:, 0, :48, 48:].flip(2).float().numpy()  # the right upper quarter, turned round
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_jitter_stays_within_its_range(squares) -> None:
    grey = torch.full((200, 1, 8, 8), 100, dtype=torch.uint8)
    jitter = Augmentation(crop=1.0, jitter=0.2, rotate=0.0, shift=0.0, scale=(1.0, 1.0))
    found = DeviceAugmentation(8, jitter)(grey, seed=0) * STD + MEAN
    low, high = 100 / 255 * 0.8 - 0.2, 100 / 255 * 1.2 + 0.2
    assert found.min() >= low - 1e-6
    assert found.max() <= high + 1e-6
    assert found[:, 0, 0, 0].std() > 0.05
