"""From cached grey images to normalised tensors: training and evaluation pipelines, the only mean and deviation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from labelers.errors import UserError
from medclip.data.preprocessing import normalise

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for updates on import
import albumentations

#: Mean and deviation of chest radiographs after scaling to [0, 1], as the official MedCLIP uses them.


@dataclass(frozen=True)
class Augmentation:
    """How training images vary. The defaults are MedCLIP's recipe, without the flip.

    Attributes:
        crop: Share of the side that a random crop keeps; 224 of 256 pixels is 0.875. 1.0 keeps all.
        flip: Chance of a left-right flip. It makes texts that name a side untrue.
        jitter: Brightness and contrast vary by up to this share.
        rotate: Degrees, to either side.
        shift: Share of the side.
        scale: Smallest and largest zoom.
    """

    crop: float = 0.875
    flip: float = 0.0
    jitter: float = 0.2
    rotate: float = 10.0
    shift: float = 0.0625
    scale: tuple[float, float] = (0.8, 1.1)


@dataclass(frozen=True)
class ViewAugmentation:
    """How two views of a film differ, for training by images alone.

    No hue, which films have not; none upside down; crops that keep most of the film, since a small part may not hold
    the finding that the rest does.

    Attributes:
        area: Smallest share of the area that a crop keeps; SimCLR's for photographs is 0.08.
        flip: Chance of a left-right flip, after which left and right are alike to the tower.
        jitter: Brightness and contrast vary by up to this share.
        blur: Chance that an image is blurred.
        rotate: Degrees, to either side.
    """

    area: float = 0.5
    flip: float = 0.0
    jitter: float = 0.3
    blur: float = 0.3
    rotate: float = 10.0


def view_pipeline(size: int, augmentation: ViewAugmentation) -> albumentations.Compose:
    """Returns the pipeline of views for square images of any side; results are (size, size)."""
    a, steps = augmentation, []
    if a.rotate:
        steps.append(albumentations.Affine(rotate=(-a.rotate, a.rotate), fill=0, p=1.0))
    crop = {"scale": (a.area, 1.0), "ratio": (0.9, 1.1), "interpolation": 1, "p": 1.0}
    steps.append(albumentations.RandomResizedCrop((size, size), **crop))
    if a.flip:
        steps.append(albumentations.HorizontalFlip(p=a.flip))
    if a.jitter:
        steps.append(albumentations.RandomBrightnessContrast(brightness_limit=a.jitter, contrast_limit=a.jitter, p=1.0))
    if a.blur:
        steps.append(albumentations.GaussianBlur(blur_limit=0, sigma_limit=(0.1, 1.5), p=a.blur))
    return albumentations.Compose(steps)


def eval_pipeline(size: int) -> albumentations.Compose:
    """Returns the pipeline of evaluation: resize to (size, size), nothing random."""
    return albumentations.Compose([albumentations.Resize(size, size, interpolation=1, p=1.0)])


def train_pipeline(size: int, augmentation: Augmentation) -> albumentations.Compose:
    """Returns the pipeline of training for square images of any side; results are (size, size)."""
    a, steps = augmentation, []
    if a.rotate or a.shift or tuple(a.scale) != (1.0, 1.0):
        steps.append(
            albumentations.Affine(
                rotate=(-a.rotate, a.rotate), translate_percent=(-a.shift, a.shift), scale=tuple(a.scale), fill=0, p=1.0
            )
        )
    if a.crop < 1.0:
        larger = round(size / a.crop)
        steps += [
            albumentations.Resize(larger, larger, interpolation=1, p=1.0),
            albumentations.RandomCrop(size, size, p=1.0),
        ]
    else:
        steps.append(albumentations.Resize(size, size, interpolation=1, p=1.0))
    if a.flip:
        steps.append(albumentations.HorizontalFlip(p=a.flip))
    if a.jitter:
        steps.append(albumentations.RandomBrightnessContrast(brightness_limit=a.jitter, contrast_limit=a.jitter, p=1.0))
    return albumentations.Compose(steps)


def apply(pipeline: albumentations.Compose, images: np.ndarray, *, seed: int | None = None) -> np.ndarray:
    """Returns normalised float32 (N, 1, H, W) for grey uint8 `images` (N, H, W).

    Args:
        seed: Decides everything random; the same images and seed give the same result in any process.
    """
    if seed is not None:
        pipeline.set_random_seed(seed)
    return normalise(resize(pipeline, images))


def resize(pipeline: albumentations.Compose, images: np.ndarray) -> np.ndarray:
    """Returns uint8 (N, H, W): every one of `images` (N, S, S) through the pipeline."""
    return np.stack([pipeline(image=image)["image"] for image in images])


def augmentation_from(options: Mapping[str, Any]) -> Augmentation:
    """Returns an Augmentation from config keys.

    Raises:
        UserError: A key is unknown.
    """
    _check_known(options, asdict(Augmentation()))
    return Augmentation(**options)


def views_from(options: Mapping[str, Any]) -> ViewAugmentation:
    """Returns a ViewAugmentation from config keys.

    Raises:
        UserError: A key is unknown.
    """
    _check_known(options, asdict(ViewAugmentation()))
    return ViewAugmentation(**options)


def _check_known(options: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for name in options:
        if name not in known:
            raise UserError(f"There is no augmentation {name!r}. Known: {', '.join(known)}.")
