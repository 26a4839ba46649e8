from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medclip.data.samplers import Stream, balance_weights, source_weights


@given(size=st.integers(1, 40), share=st.integers(1, 5), world=st.integers(1, 4), weighted=st.booleans(),
       seed=st.integers(0, 99))  # fmt: skip
def test_any_number_of_ranks_equals_the_whole(size: int, share: int, world: int, weighted: bool, seed: int) -> None:
    weights = np.random.default_rng(seed).random(size) + 0.1 if weighted else None
    stream = Stream(size, batch_size=share * world, seed=seed, weights=weights)
    for step in range(3):
        whole = np.empty(share * world, dtype=int)
        for rank in range(world):
            whole[rank::world] = stream.rows(step, rank=rank, world=world)
        assert (whole == stream.rows(step)).all()


@given(size=st.integers(1, 40), batch=st.integers(1, 50), seed=st.integers(0, 99))
def test_every_lap_is_a_permutation(size: int, batch: int, seed: int) -> None:
    stream = Stream(size, batch_size=batch, seed=seed)
    rows = np.concatenate([stream.rows(step) for step in range(3 * size // batch + 1)])
    for lap in range(len(rows) // size):
        assert sorted(rows[lap * size : (lap + 1) * size]) == list(range(size))


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


def test_with_groups_every_lap_visits_every_row_once_and_few_groups_at_a_time(monkeypatch) -> None:
    monkeypatch.setattr("medclip.data.samplers.TOGETHER", 2)
    groups = np.repeat([7, 3, 9, 1], 6)[np.random.default_rng(0).permutation(24)]
    stream = Stream(24, batch_size=12, seed=1, groups=groups)
    rows = laps(stream, 4)
    for lap in (rows[:24], rows[24:]):
        assert sorted(lap) == list(range(24))
        first, second = set(groups[lap[:12]]), set(groups[lap[12:]])
        assert len(first) == len(second) == 2
        assert not first & second
    assert rows[:24] != rows[24:]
    assert len({tuple(groups[rows[:6]]), tuple(sorted(groups[rows[:6]]))}) == 2  # mixed within
    again = Stream(24, batch_size=12, seed=1, groups=groups)
    assert again.rows(3).tolist() == rows[36:]
