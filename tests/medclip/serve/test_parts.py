"""Batches, films in memory, pictures, and the numbers of answers: the parts that need no server."""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest
from PIL import Image

from labelers.errors import UserError
from medclip.inference.calibration import Calibration
from medclip.inference.scoring import Directions, PromptScores
from medclip.serve import pictures, questions
from medclip.serve.batching import Batcher
from medclip.serve.films import Encoding, Film, FilmStore
from medclip.serve.questions import Sentence


def test_items_that_come_together_are_answered_in_one_call() -> None:
    calls: list[list[int]] = []

    def double(items: list[int]) -> list[int]:
        calls.append(items)
        return [2 * item for item in items]

    async def ask() -> list[int]:
        batcher = Batcher(double, size=8)
        return await asyncio.gather(*(batcher(item) for item in range(20)))

    assert asyncio.run(ask()) == [2 * item for item in range(20)]
    assert [len(call) for call in calls] == [8, 8, 4]


def test_a_batch_that_fails_does_not_end_the_next() -> None:
    def fail_once(items: list[int]) -> list[int]:
        if 0 in items:
            raise ValueError("broken")
        return items

    async def ask() -> tuple[object, int]:
        batcher = Batcher(fail_once)
        first = await asyncio.gather(batcher(0), return_exceptions=True)
        return first[0], await batcher(1)

    failure, answer = asyncio.run(ask())
    assert str(failure) == "broken" and answer == 1


def held(size: int = 10) -> Film:
    return Film(b"x" * size, {}, Encoding(np.ones(2)))


def test_films_are_dropped_when_they_are_too_many_too_old_or_not_wanted(monkeypatch) -> None:
    store = FilmStore(megabytes=1, idle=100.0)
    first, second = store.add(held(500_000)), store.add(held(400_000))
    assert store.get(first) is not None  # and is now the last one asked about
    third = store.add(held(300_000))
    assert store.get(second) is None and store.get(first) is not None
    assert store.drop([third, "unknown"]) == 1
    import time

    now = time.monotonic()
    monkeypatch.setattr("medclip.serve.films.time.monotonic", lambda: now + 101)
    store.sweep()
    assert len(store) == 0 and store.get(first) is None
    assert len({store.add(held()) for _ in range(50)}) == 50


def test_pictures_are_fitted_and_maps_are_clear_where_similarity_is_low() -> None:
    image = np.tile(np.arange(200, dtype=np.uint8), (100, 1))
    assert pictures.fitted(image, 50).shape == (25, 50)
    assert pictures.fitted(image.astype(np.uint16), 400).shape == (100, 200)
    with Image.open(io.BytesIO(pictures.png(image))) as read:
        assert np.array_equal(np.asarray(read), image)
    drawn = pictures.colours(np.linspace(-1, 1, 101)[None].repeat(3, axis=0))
    assert drawn.shape == (3, 101, 4)
    assert (drawn[:, :50, 3] == 0).all() and drawn[0, -1, 3] == 255
    assert np.array_equal(pictures.over(image[:3, :101], drawn, strength=0.0)[..., 0], image[:3, :101])


def scores(calibration: Calibration | None = None) -> PromptScores:
    positive, negative = (
        Directions(np.eye(3, dtype=np.float32)[rows], np.ones(2, dtype=np.int64)) for rows in ([0, 1], [2, 2])
    )
    return PromptScores(["Edema", "Fracture"], positive, negative, scale=2.0, calibration=calibration)


def test_answers_of_prompts_say_whether_they_are_chances() -> None:
    embed = np.array([0.0, 1.0, 0.0], dtype=np.float32)
    ranked = questions.answer_prompts(scores(), embed)
    assert [one["observation"] for one in ranked] == ["Fracture", "Edema"]
    assert ranked[1]["value"] == 0.5
    assert "no chance" in questions.meaning(scores())["meaning"]
    fitted = Calibration({"Edema": 1.0}, {"Edema": 0.0}, {"Edema": 0.5}, 10, refused={"Fracture": "too few"})
    edema, fracture = questions.answer_prompts(scores(fitted), embed)
    assert edema == {"observation": "Edema", "value": 0.5, "threshold": 0.5, "present": True}
    assert fracture["value"] is None and "too few" in fracture["note"]
    assert questions.meaning(scores(fitted))["calibrated"]


def test_sentences_share_among_each_other_and_with_their_opposites() -> None:
    x, y, z = np.eye(3, dtype=np.float32)
    answers = questions.answer_sentences([Sentence("a", x), Sentence("b", y), Sentence("c", x, z)], x, scale=3.0)
    assert [one["cosine"] for one in answers] == [1.0, 0.0, 1.0]
    assert answers[0]["share"] == pytest.approx(np.exp(3) / (np.exp(3) + 1), abs=1e-5)
    assert answers[0]["share"] + answers[1]["share"] == pytest.approx(1.0, abs=1e-5)
    assert answers[2]["share"] == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-5)
    assert "share" not in questions.answer_sentences([Sentence("a", x)], x, scale=3.0)[0]


def test_lines_are_sentences_with_opposites() -> None:
    assert questions.split_sentences(["A. | B.", "C.", " "]) == [("A.", "B."), ("C.", "")]
    with pytest.raises(UserError, match="Found 51 sentences"):
        questions.split_sentences(["A."] * 51)
    with pytest.raises(UserError, match="1001 characters"):
        questions.split_sentences(["A" * 1001])
    for line in ("|", "| No edema."):
        with pytest.raises(UserError, match="A line has no sentence before its bar"):
            questions.split_sentences(["C.", line])
