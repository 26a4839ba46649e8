from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from labelers.observations import LabelPolicy
from medclip.cache import PixelCache
from medclip.sampling import Steps, step_loader
from medclip.sides import ImageSide, TextSide, image_side
from medclip.streams import Stream, balance_weights, source_weights
from medclip.transforms import Augmentation


def laps(stream: Stream, steps: int, world: int = 1) -> list[int]:
    return [
        int(row) for step in range(steps) for rank in range(world) for row in stream.rows(step, rank=rank, world=world)
    ]


def test_every_lap_visits_every_row_once_in_a_new_order() -> None:
    rows = laps(Stream(10, batch_size=4, seed=1), 5)
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert rows[:10] != rows[10:]


@pytest.mark.parametrize("world", [1, 2, 4])
def test_ranks_together_see_what_one_process_sees(world: int) -> None:
    stream = Stream(64, batch_size=8, seed=3)
    assert sorted(laps(stream, 8, world)) == list(range(64))
    alone = stream.rows(5)
    for rank in range(world):
        assert (stream.rows(5, rank=rank, world=world) == alone[rank::world]).all()


def test_a_step_does_not_depend_on_the_steps_before_it() -> None:
    first, second = Stream(100, batch_size=7, seed=0), Stream(100, batch_size=7, seed=0)
    for step in range(40):
        first.rows(step)
    assert (first.rows(40) == second.rows(40)).all()


def test_weights_decide_how_often() -> None:
    weights = source_weights(np.array([0] * 90 + [1] * 10), [1.0, 1.0], np.ones(100))
    rows = laps(Stream(100, batch_size=50, seed=0, weights=weights), 200)
    assert 0.47 < np.mean(np.array(rows) >= 90) < 0.53


def test_rare_observations_can_be_drawn_more_often() -> None:
    states = np.zeros((100, 2))
    states[:50, 0], states[50, 1] = 1, 1
    weights = balance_weights(states, power=1.0)
    assert weights[50] / weights[0] == pytest.approx(50)
    assert (balance_weights(states, power=0.0) == 1).all()


def test_an_empty_side_is_refused() -> None:
    with pytest.raises(ValueError, match="found 0 rows"):
        Stream(0, batch_size=1, seed=0)


@pytest.fixture
def steps(tmp_path) -> Steps:
    rng = np.random.default_rng(0)
    cache = PixelCache(tmp_path, 16)
    cache.fill(
        {f"k{i}": str(i) for i in range(12)}, draw=lambda path: np.full((16, 16), int(path) * 20, dtype=np.uint8)
    )
    images = ImageSide(np.array([f"k{i}" for i in range(12)], dtype=object), rng.random((12, 3), dtype=np.float32),
                       np.arange(12), cache)  # fmt: skip
    texts = TextSide([np.arange(2 + i % 4) for i in range(9)], rng.random((9, 3), dtype=np.float32), np.full(9, -1), 0)
    return Steps(images, texts, batch_images=4, batch_texts=6, image_size=16, augmentation=Augmentation(), seed=5)


def equal(first: object, second: object) -> bool:
    return all(torch.equal(a, b) for a, b in zip(vars(first).values(), vars(second).values(), strict=True))


def test_batches_hold_both_sides(steps: Steps) -> None:
    batch = steps[0]
    assert batch.pixel_values.shape == (4, 1, 16, 16)
    assert batch.input_ids.shape == batch.attention_mask.shape
    assert batch.input_ids.shape[0] == 6
    assert batch.image_labels.shape == (4, 3)
    assert batch.attention_mask.sum(1).min() >= 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_started_later_gives_the_same_batches(steps: Steps, workers: int) -> None:
    everything = list(step_loader(steps, start=0, stop=6, workers=0, pin_memory=False))
    later = list(step_loader(steps, start=4, stop=6, workers=workers, pin_memory=False))
    assert all(equal(a, b) for a, b in zip(everything[4:], later, strict=True))
    assert not equal(everything[0], everything[1])


def test_a_batch_that_cannot_be_shared_is_refused(steps: Steps) -> None:
    with pytest.raises(ValueError, match="batch_images=4 cannot be shared equally by 3"):
        Steps(steps._images, steps._texts, batch_images=4, batch_texts=6, image_size=16,
              augmentation=Augmentation(), seed=0, world=3)  # fmt: skip


def test_only_train_rows_become_a_side(tmp_path) -> None:
    table = pd.DataFrame({"_key": ["a", "b"], "split": ["train", "test"], "study_id": ["s", "t"], "Edema": [1.0, 1.0]})
    policy = LabelPolicy(uncertain="zero", negative="absent")
    side = image_side([table], observations=["Edema"], policy=policy, cache=PixelCache(tmp_path, 8), study_numbers={})
    assert side.keys.tolist() == ["a"]
    with pytest.raises(ValueError, match="train split"):
        image_side([table[1:]], observations=["Edema"], policy=policy, cache=PixelCache(tmp_path, 8), study_numbers={})
