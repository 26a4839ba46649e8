from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medclip.evaluation.bootstrap import Sampled, bootstrap
from medclip.evaluation.groups import groups_by
from medclip.evaluation.metrics import auroc
from medclip.evaluation.shift import effective_robustness, shift_between


def two_places(rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Scores that are good at the first place and worse at the second; the third observation is rare at the second."""
    table = pd.DataFrame({"patient_id": [str(i) for i in range(200)], "test_set": ["b"] * 100 + ["a"] * 100})
    states = rng.integers(0, 2, (200, 3)).astype(float)
    states[100:, 2] = 0
    scores = states + rng.normal(size=(200, 3)) * np.repeat([0.5, 2.0], 100)[:, None]
    return table, states, scores


def test_places_are_compared_over_the_same_observations_and_resamples() -> None:
    table, states, scores = two_places(np.random.default_rng(0))
    groups = groups_by(table, "test_set")
    assert [group.value for group in groups] == ["b", "a"]  # the order in which they were named
    resamples = bootstrap(table["patient_id"].to_numpy(), resamples=200, seed=0)
    found = shift_between(states, scores, groups, resamples=resamples, min_count=5)
    by_hand = [np.mean([auroc(states[rows, j] == 1, scores[rows, j])[0] for j in (0, 1)])
               for rows in (slice(0, 100), slice(100, 200))]  # fmt: skip
    difference = found.metrics["auroc/difference/test_set/a-b"]
    assert found.metrics["auroc/shared/test_set=b"].value == pytest.approx(by_hand[0])
    assert difference.value == pytest.approx(by_hand[1] - by_hand[0])
    assert difference.low < difference.value < difference.high < 0
    assert found.table["observations"].tolist() == [2, 2]
    assert shift_between(states, scores, groups, resamples=None, min_count=90).table.empty


def test_effective_robustness_is_what_is_above_the_line_of_others() -> None:
    def logit(x: float) -> float:
        return float(np.log(x / (1 - x)))

    def on_line(x: float) -> float:
        return float(1 / (1 + np.exp(-(0.8 * logit(x) - 0.3))))

    references = [(x, on_line(x)) for x in (0.6, 0.7, 0.8)]
    inside, shifted = Sampled(0.9, np.array([0.88, 0.9, 0.92])), Sampled(0.85, np.array([0.83, 0.85, 0.87]))
    expected, above = effective_robustness(inside, shifted, references)
    assert expected.value == pytest.approx(on_line(0.9))
    assert above.value == pytest.approx(0.85 - on_line(0.9))
    assert above.low <= above.value <= above.high
    for few in ([], references[:2], [references[0]] * 5):
        assert np.isnan(effective_robustness(inside, shifted, few)[1].value)
