from __future__ import annotations

import numpy as np
import pytest

from medclip.data.preprocessing import MEAN, STD, normalise
from medclip.data.transforms import Augmentation, apply, augmentation_from, eval_pipeline, train_pipeline

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 40, 40), dtype=np.uint8)


def test_normalised_by_hand() -> None:
    values = normalise(np.array([[[0, 255]]], dtype=np.uint8))
    assert values.shape == (1, 1, 1, 2)
    np.testing.assert_allclose(values.ravel(), [-MEAN / STD, (1 - MEAN) / STD], rtol=1e-5)


def test_evaluation_is_not_random() -> None:
    pipeline = eval_pipeline(32)
    assert apply(pipeline, IMAGES).shape == (3, 1, 32, 32)
    assert (apply(pipeline, IMAGES, seed=1) == apply(pipeline, IMAGES, seed=2)).all()


def test_training_depends_on_the_seed_alone() -> None:
    augmentation = Augmentation(flip=0.5)
    first, second = train_pipeline(32, augmentation), train_pipeline(32, augmentation)
    apply(first, IMAGES, seed=9)
    assert (apply(first, IMAGES, seed=1) == apply(second, IMAGES, seed=1)).all()
    assert (apply(first, IMAGES, seed=1) != apply(first, IMAGES, seed=2)).any()


def test_without_augmentation_training_sees_what_evaluation_sees() -> None:
    plain = Augmentation(crop=1.0, flip=0.0, jitter=0.0, rotate=0.0, shift=0.0, scale=(1.0, 1.0))
    assert (apply(train_pipeline(40, plain), IMAGES, seed=0) == apply(eval_pipeline(40), IMAGES)).all()


def test_a_flip_turns_left_and_right() -> None:
    plain = Augmentation(crop=1.0, flip=1.0, jitter=0.0, rotate=0.0, shift=0.0, scale=(1.0, 1.0))
    assert (apply(train_pipeline(40, plain), IMAGES, seed=0)[..., ::-1] == apply(eval_pipeline(40), IMAGES)).all()


def test_unknown_augmentation() -> None:
    with pytest.raises(ValueError, match=r"no augmentation 'flipp'\. Known: crop, flip"):
        augmentation_from({"flipp": 1})
