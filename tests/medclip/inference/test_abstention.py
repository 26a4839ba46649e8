from __future__ import annotations

import numpy as np
import pytest

from medclip.inference.abstention import Abstention, fit_abstention


def draw(rng: np.random.Generator, patients: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, states and patients: one to four images each, which are alike within a patient."""
    ids = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    sick = (rng.random(patients) < 0.3)[ids]
    scores = rng.normal(size=patients)[ids] + 0.3 * rng.normal(size=len(ids)) + 1.2 * sick
    return scores[:, None], sick[:, None].astype(float), ids


def test_limits_by_hand() -> None:
    """19 patients of each state and a promise of .1: two of twenty, so the second of each end is the limit."""
    scores = np.concatenate([np.arange(19) + 10.0, np.arange(19)])[:, None]
    states = np.repeat([1.0, 0.0], 19)[:, None]
    made = fit_abstention(scores, states, np.arange(38), ["Edema"], error=0.1)
    assert (made.lower["Edema"], made.upper["Edema"]) == (11, 17)
    found = made.answers(np.array([[10.0], [11.0], [14.0], [17.0], [18.0]]), ["Edema"])
    np.testing.assert_array_equal(found[:, 0], [0, np.nan, np.nan, np.nan, 1])
    assert made.patients == {"Edema": 19}


def test_the_promise_is_kept_on_other_patients() -> None:
    """Simulated: over many validation splits, no more patients are wronged than promised, and hardly fewer."""
    rng = np.random.default_rng(0)
    wronged: dict[float, list[float]] = {1.0: [], 0.0: []}
    for _ in range(300):
        made = fit_abstention(*draw(rng, 100), ["Edema"], error=0.2)
        scores, states, ids = draw(rng, 200)
        possible = dict(zip((1.0, 0.0), made.possible(scores, ["Edema"]), strict=True))
        for state, excluded in wronged.items():
            of_state = states[:, 0] == state
            by_patient = np.bincount(ids[of_state], ~possible[state][of_state, 0]) / np.maximum(
                np.bincount(ids[of_state]), 1
            )
            excluded.append(float(by_patient[np.unique(ids[of_state])].mean()))
    for excluded in wronged.values():
        assert 0.16 < np.mean(excluded) < 0.21


def test_between_limits_that_cross_there_is_no_answer_either() -> None:
    made = Abstention(0.1, {"Edema": 5.0}, {"Edema": 3.0}, {})
    np.testing.assert_array_equal(made.answers(np.array([[2.0], [4.0], [6.0]]), ["Edema"])[:, 0], [0, np.nan, 1])
    assert np.isnan(made.answers(np.array([[2.0]]), ["Fracture"])).all()


def test_too_few_patients_are_refused_and_images_of_one_do_not_help() -> None:
    scores, states = np.arange(60.0)[:, None], np.repeat([1.0, 0.0], 30)[:, None]
    made = fit_abstention(scores, states, np.repeat(np.arange(12), 5), ["Edema"], error=0.1)
    assert made.lower == {}
    assert made.refused["Edema"] == "6 patients with and 6 without it, and 9 of each are needed"
    with pytest.raises(ValueError, match=r"--abstention-error 0.7: found outside 0 to 0.5"):
        fit_abstention(scores, states, np.arange(60), ["Edema"], error=0.7)


def test_rules_are_saved_and_belong_to_their_prompts(tmp_path) -> None:
    made = Abstention(0.1, {"Edema": 0.2}, {"Edema": 0.1}, {"Edema": 40}, "mine")
    made.save(tmp_path)
    assert Abstention.load(tmp_path, prompts="mine") == Abstention.find(tmp_path, prompts="mine") == made
    assert Abstention.find(tmp_path, prompts="others") is None
    with pytest.raises(ValueError, match="belong to prompts mine, not others"):
        Abstention.load(tmp_path, prompts="others")
