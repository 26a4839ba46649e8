from __future__ import annotations

import numpy as np
import pytest

from medclip.evaluation.bootstrap import bootstrap
from medclip.evaluation.denial import deniable, denial, terse_prompts
from medclip.evaluation.evaluators.zero_shot import ZeroShot
from medclip.inference.prompts import load_prompts

NAMES = ["Edema", "Fracture"]
STATES = np.array([[1, 0], [1, np.nan], [0, 1], [0, -1.0]])


def test_a_model_that_does_not_understand_no_is_told_so() -> None:
    """By hand: claims rank both right; denials are read as claims, so they rank the wrong way round."""
    there = np.array([[0.9, 0.1], [0.8, 0.5], [0.2, 0.7], [0.1, 0.3]])
    deaf, hears = (there, there), (there, 1 - there)
    found, table = denial(STATES, {"report": hears, "terse": deaf}, NAMES, resamples=None, min_count=1)
    values = {name: metric.value for name, metric in found.items()}
    assert values["denial/report/pos/mean"] == values["denial/report/neg/mean"] == 1
    assert values["denial/terse/pos/mean"] == 1
    assert values["denial/terse/neg/mean"] == 0
    assert values["denial/terse/pnc/Edema"] == 0.5  # the difference says nothing at all
    assert found["denial/terse/neg/Fracture"].count == 2
    assert found["denial/terse/neg/mean"].chance == 0.5
    assert table["observation"].tolist() == ["mean", *NAMES] * 2
    assert table.loc[table["observation"] == "Fracture", "positive"].tolist() == [1, 1]


def test_means_are_over_the_same_observations_and_have_intervals() -> None:
    rng = np.random.default_rng(0)
    states = np.column_stack([rng.integers(0, 2, 60), np.r_[1, np.zeros(59)]]).astype(float)
    scores = {"report": (rng.random((60, 2)), rng.random((60, 2)))}
    resamples = bootstrap(np.arange(60), resamples=50, seed=0)
    found, _ = denial(states, scores, NAMES, resamples=resamples, min_count=5)
    for ranking in ("pos", "neg", "pnc"):
        mean = found[f"denial/report/{ranking}/mean"]
        assert mean.value == found[f"denial/report/{ranking}/Edema"].value  # one fracture is too few
        assert mean.low <= mean.value <= mean.high


def test_terse_prompts_leave_out_what_cannot_be_denied() -> None:
    prompts = load_prompts("chexpert14,others")
    names = deniable(prompts)
    assert "No Finding" not in names
    assert terse_prompts(["COVID-19"])["COVID-19"].negative == ("no COVID-19",)
    chexzero = load_prompts("chexzero")
    assert {name: terse_prompts([name])[name] for name in chexzero} == chexzero


@pytest.mark.parametrize("resamples", [0, 20])
def test_zero_shot_prints_all_six(data, model, resamples: int) -> None:
    from medclip.evaluation.evaluators.zero_shot import ZeroShot

    result = ZeroShot(data, resamples=resamples)(*model)
    wanted = {f"denial/{w}/{r}/mean" for w in ("report", "terse") for r in ("pos", "neg", "pnc")}
    assert wanted <= set(result.headline)
    one = result.metrics["denial/report/pnc/Edema"]
    assert one.value == pytest.approx(result.metrics["auroc/Edema"].value)
    assert "No Finding" not in set(result.tables["denial"]["observation"])


def test_terse_english_is_not_asked_of_a_model_that_reads_chinese(data, model) -> None:
    found = ZeroShot(data, prompts="chexpert14-zh", resamples=0)(*model).metrics
    assert "denial/report/neg/mean" in found
    assert not any("terse" in name for name in found)
