from __future__ import annotations

import numpy as np

from medclip.evaluation.films import Answers, choose

STATES = np.array([[1, np.nan], [0, 1], [1, 0], [0, 0], [-1, 1]])
SCORES = np.array([[2.0, 9.0], [0.5, -1.0], [-3.0, 0.2], [-0.1, -2.0], [5.0, 0.4]])


def answers() -> Answers:
    return Answers.by_threshold(
        list("abcde"), STATES, SCORES, ["Edema", "Fracture"], thresholds={"Edema": 0.0, "Fracture": 0.1}
    )


def test_unknown_and_uncertain_states_have_no_answer() -> None:
    table = answers().table
    assert list(table["key"]) == list("abcd") + list("bcde")
    assert list(table["right"]) == [True, False, False, True, False, False, True, True]
    said = table["said"].iloc[2]
    assert said == "labelled present, called absent\nscore -3.000, present from 0.000"


def test_what_has_no_threshold_is_left_out_unless_nothing_has() -> None:
    some = Answers.by_threshold(list("abcde"), STATES, SCORES, ["Edema", "Fracture"], thresholds={"Fracture": 0.1})
    assert set(some.table["about"]) == {"Fracture"}
    assert set(Answers.by_threshold(list("abcde"), STATES, SCORES, ["Edema", "Fracture"]).table["about"]) == {
        "Edema", "Fracture"}  # fmt: skip


def test_kinds_take_turns_and_each_film_is_shown_once() -> None:
    chosen = choose(answers().table, 4)
    assert list(chosen["kind"]) == [
        "wrong, most certain", "right, most certain", "wrong, least certain", "right, least certain"]  # fmt: skip
    assert chosen.iloc[0][["key", "about"]].tolist() == ["c", "Edema"]
    assert chosen["key"].is_unique
    assert len(choose(answers().table, 50)) == 5  # no more than there are


def test_every_observation_comes_before_one_comes_again() -> None:
    states, scores = np.ones((6, 2)), np.column_stack([np.arange(6) + 10.0, np.arange(6) + 1.0])
    chosen = choose(Answers.by_threshold(list("abcdef"), states, scores, ["A", "B"]).table, 4)
    most = chosen[chosen["kind"] == "right, most certain"]
    assert most[["about", "key"]].to_numpy().tolist() == [["A", "f"], ["B", "e"]]  # f is shown already
