from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from labelers.observations import LabelPolicy
from medclip.data.cache import PixelCache
from medclip.data.datasets import ImageSide, Pairs, TextSide, image_side, text_side, with_partners
from medclip.data.loader import Steps, step_loader
from medclip.data.samplers import Stream, balance_weights, source_weights
from medclip.data.subsets import limit_images, limit_sentences
from medclip.data.tokens import Ragged, tokenize
from medclip.data.transforms import Augmentation


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
def images(tmp_path) -> ImageSide:
    labels, cache = np.random.default_rng(0).random((12, 3), dtype=np.float32), PixelCache(tmp_path, 16)
    cache.fill(
        {f"k{i}": str(i) for i in range(12)}, draw=lambda path: np.full((16, 16), int(path) * 20, dtype=np.uint8)
    )
    return ImageSide(np.array([f"k{i}" for i in range(12)], dtype=object), labels, np.arange(12), cache)


@pytest.fixture
def texts() -> TextSide:
    pairs = Pairs(np.array([0, 2, 3, 3, *range(4, 13)]), np.array([8, 7, 6, *range(9)]))  # study 2 has no text
    return TextSide(
        Ragged.from_chunks(iter([[range(2 + i % 4) for i in range(9)]])),
        np.random.default_rng(1).random((9, 3), dtype=np.float32), pad_token_id=0, drawn=9, ids=np.arange(9),
        pairs=pairs,
    )  # fmt: skip


def steps_of(images: ImageSide, texts: TextSide, **options: Any) -> Steps:
    usual = {"batch_images": 4, "batch_texts": 6, "image_size": 16, "augmentation": Augmentation(), "seed": 5}
    return Steps(images, texts, **usual | options)


@pytest.fixture
def steps(images: ImageSide, texts: TextSide) -> Steps:
    return steps_of(images, texts)


def equal(first: object, second: object) -> bool:
    return all(a is b or torch.equal(a, b) for a, b in zip(vars(first).values(), vars(second).values(), strict=True))


def test_batches_hold_both_sides(steps: Steps) -> None:
    batch = steps[0]
    assert batch.pixel_values.shape == (4, 1, 16, 16)
    assert batch.input_ids.shape == batch.attention_mask.shape
    assert batch.input_ids.shape[0] == 6
    assert batch.image_labels.shape == (4, 3)
    assert batch.attention_mask.sum(1).min() >= 2


def test_a_text_that_occurs_twice_is_encoded_once(images: ImageSide, texts: TextSide) -> None:
    batch = steps_of(images, replace(texts, ids=np.arange(9) % 4))[0]
    assert len(batch.input_ids) == len(batch.text_ids.unique()) < len(batch.text_ids) == len(batch.text_labels) == 6
    assert torch.equal(batch.attention_mask.sum(dim=1)[batch.text_rows], 2 + batch.text_ids)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_started_later_gives_the_same_batches(steps: Steps, workers: int) -> None:
    everything = list(step_loader(steps, start=0, stop=6, workers=0, pin_memory=False))
    later = list(step_loader(steps, start=4, stop=6, workers=workers, pin_memory=False))
    assert all(equal(a, b) for a, b in zip(everything[4:], later, strict=True))
    assert not equal(everything[0], everything[1])


def test_a_batch_that_cannot_be_shared_is_refused(images: ImageSide, texts: TextSide) -> None:
    with pytest.raises(ValueError, match="batch_images=4 cannot be shared equally by 3"):
        steps_of(images, texts, world=3)


def test_only_train_rows_become_a_side(tmp_path) -> None:
    table = pd.DataFrame({"_key": ["a", "b"], "split": ["train", "test"], "study_id": ["s", "t"], "Edema": [1.0, 1.0]})
    policy = LabelPolicy(uncertain="zero", negative="absent")
    side = image_side([table], observations=["Edema"], policy=policy, cache=PixelCache(tmp_path, 8), study_numbers={})
    assert side.keys.tolist() == ["a"]
    with pytest.raises(ValueError, match="train split"):
        image_side([table[1:]], observations=["Edema"], policy=policy, cache=PixelCache(tmp_path, 8), study_numbers={})


@pytest.fixture
def paired(images: ImageSide, texts: TextSide) -> Callable[..., Steps]:
    return lambda share, **options: steps_of(images, texts, batch_images=6, pairs=share, **options)


def test_partners_come_from_the_study_of_their_image(paired, texts: TextSide) -> None:
    for step in range(6):
        batch, alone = paired(1.0)[step], texts
        for study, text_study, labels in zip(batch.image_studies, batch.text_studies, batch.text_labels, strict=True):
            if study == 2:
                assert text_study == -1
                continue
            assert text_study == study
            own = alone.pairs.texts[alone.pairs.starts[study] : alone.pairs.starts[study + 1]]
            assert any((labels.numpy() == alone.labels[text]).all() for text in own)


def test_a_share_of_partners(paired) -> None:
    batch = paired(0.5)[0]
    assert (batch.text_studies[3:] == -1).all()
    assert (batch.text_studies[:3] >= -1).any()


def test_ranks_together_draw_the_partners_of_one_process(paired) -> None:
    alone = paired(1.0)[3]
    for rank in range(2):
        mine = paired(1.0, rank=rank, world=2)[3]
        assert torch.equal(mine.text_studies, alone.text_studies[rank::2])
        assert torch.equal(mine.text_labels, alone.text_labels[rank::2])


class Words:
    """A tokenizer of one token a letter, whose words are separated by blanks."""

    pad_token_id, is_fast = 0, False

    def __call__(self, texts, truncation, max_length, **_):
        rows = [list(text[:max_length]) for text in texts]
        words = [[None if c == " " else text[:i].count(" ") for i, c in enumerate(text[:max_length])] for text in texts]
        encoded = type("Encoding", (dict,), {"word_ids": lambda self, i: words[i]})
        return encoded(input_ids=[[ord(c) for c in row] for row in rows])


letters = partial(tokenize, tokenizer=Words(), max_length=20)


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    sentences = pd.DataFrame(
        {"text": ["a b", "edema", "c", "no edema"], "split": ["train"] * 3 + ["test"], "count": [1, 2, 1, 1],
         "Edema": [np.nan, 1.0, -1.0, 0.0]}
    )  # fmt: skip
    said = pd.DataFrame(
        {"study_id": ["s", "s", "t", "t", "u"], "patient_id": ["p", "p", "q", "q", "r"],
         "split": ["train"] * 4 + ["test"], "sentence": [0, 1, 1, 2, 3]}
    )  # fmt: skip
    return sentences, said


def reports() -> pd.DataFrame:
    ids = {"study_id": ["s", "t", "u"], "patient_id": ["p", "q", "r"], "split": ["train", "train", "test"]}
    return pd.DataFrame({**ids, "text": ["a b edema", "edema c", "no edema"], "Edema": [1.0, -1.0, 0.0]})


@pytest.mark.parametrize("whole", [False, True])
def test_texts_know_whose_they_are(whole: bool) -> None:
    sentences, said = tables()
    policy = LabelPolicy(uncertain="soft", negative="absent")
    side = text_side([sentences], [said], tokenize=partial(letters, words=True), observations=["Edema"], policy=policy,
                     study_numbers={"t": 0, "x": 1, "s": 2}, reports=[reports()] if whole else [])  # fmt: skip
    assert side.drawn == 2
    assert side.pairs.count(np.array([0, 1, 2])).tolist() == ([1, 0, 1] if whole else [2, 0, 1])
    text = side.pairs.pick(np.array([0]), np.array([0.0]))[0]
    assert "".join(chr(c) for c in side.tokens[text]) == ("edema c" if whole else "edema")
    assert side.labels[text].tolist() == [0.5 if whole else 1.0]  # a report has the label that was read from all of it
    if whole:
        assert side.words[text].tolist() == [0, 0, 0, 0, 0, -1, 1]


@pytest.mark.parametrize(
    ("denials", "texts", "no_finding"),
    [("as-is", 3, [0, 0, 0]), ("no-finding", 3, [0, 1, 0]), ("skip", 2, [0, 0])],
)
def test_texts_that_only_deny(denials: str, texts: int, no_finding: list[int]) -> None:
    nan = np.nan
    sentences = pd.DataFrame(
        {"text": ["edema", "no edema", "perhaps edema, no fracture"], "split": "train", "count": 1,
         "No Finding": nan, "Edema": [1.0, 0.0, -1.0], "Fracture": [nan, nan, 0.0]}
    )  # fmt: skip
    said = pd.DataFrame({"study_id": ["s"] * 3, "patient_id": "p", "split": "train", "sentence": [0, 1, 2]})
    side = text_side([sentences], [said], tokenize=letters, study_numbers={"s": 0}, denials=denials,
                     observations=["No Finding", "Edema", "Fracture"],
                     policy=LabelPolicy(uncertain="zero", negative="absent"))  # fmt: skip
    assert side.drawn == texts
    assert side.labels[:, 0].tolist() == no_finding


def test_images_without_a_report_are_no_pairs(images: ImageSide, texts: TextSide) -> None:
    kept = with_partners(images, texts)
    assert kept.studies.tolist() == [0, 1, *range(3, 12)]
    with pytest.raises(ValueError, match="no pairs"):
        with_partners(images, replace(texts, pairs=None))


def test_subsets_are_nested_and_by_patient() -> None:
    images = pd.DataFrame({"patient_id": [f"p{i // 3}" for i in range(300)], "split": ["train"] * 270 + ["test"] * 30})
    small, large = (limit_images([images], limit=limit, seed=1)[0] for limit in (50, 120))
    train = small[small["split"] == "train"]
    assert 50 <= len(train) < 53
    assert set(small.index) < set(large.index)
    assert train.groupby("patient_id").size().eq(3).all()
    assert (small["split"] == "test").sum() == 30
    assert set(small.index) != set(limit_images([images], limit=50, seed=2)[0].index)


def test_limited_reports_say_fewer_sentences() -> None:
    sentences, said = tables()
    kept = {seed: limit_sentences([sentences], [said], limit=1, seed=seed) for seed in range(8)}
    for (table,), (occurrence,) in kept.values():
        train = occurrence[occurrence["split"] == "train"]
        assert train["patient_id"].nunique() == 1
        assert table["count"].tolist() == np.bincount(occurrence["sentence"], minlength=4).tolist()
        assert table.loc[table["count"] == 0, "split"].isna().all()
    assert len({tuple(table[0]["count"]) for table, _ in kept.values()}) == 2
