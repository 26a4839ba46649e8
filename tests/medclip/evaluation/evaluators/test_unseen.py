from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from medclip.data.cache import PixelCache
from medclip.data.preparation import Preparation
from medclip.data.prepare_images import prepare_images
from medclip.evaluation.bootstrap import Sampled, bootstrap
from medclip.evaluation.evaluators import EvaluationData
from medclip.evaluation.metrics import multilabel
from medclip.evaluation.unseen import seen_and_unseen
from medclip.inference.prompts import load_prompts
from medclip.runs.evaluate_unseen import unseen_observations
from medclip.utils.plugins import load_plugin

RARE = ["Emphysema", "Granuloma", "Hemidiaphragm Elevation", "Hernia", "Lung Cavity", "Scoliosis",
        "Subcutaneous Emphysema", "Tortuous Aorta"]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> EvaluationData:
    folder = tmp_path_factory.mktemp("prepared")
    images = prepare_images(
        load_plugin("sources", "phantom")(studies=300, size=32, version=2), Preparation(folder, size=32)
    ).images
    return EvaluationData(images, PixelCache(folder / "cache", 32))


def test_the_harmonic_mean_by_hand() -> None:
    sampled = {"auroc": {"A": Sampled(0.9, np.array([0.9, 0.8])), "B": Sampled(0.7, np.array([0.7, 0.8])),
                         "C": Sampled(0.4, np.array([0.4, 0.0]))}}  # fmt: skip
    found = seen_and_unseen(sampled, ["C"], chance={"auroc": dict.fromkeys("ABC", 0.5)})
    assert found["auroc/seen"].value == pytest.approx(0.8)
    assert found["auroc/unseen"].value == 0.4
    assert found["auroc/harmonic"].value == pytest.approx(2 * 0.8 * 0.4 / 1.2)
    assert found["auroc/harmonic"].low < 0.1  # in the second resample one side is nothing, so both are
    assert [found[f"auroc/{side}"].count for side in ("seen", "unseen", "harmonic")] == [2, 1, 3]
    assert found["auroc/harmonic"].chance == 0.5


def test_without_two_sides_nothing_is_split() -> None:
    rng = np.random.default_rng(0)
    states, scores = rng.integers(0, 2, (60, 2)).astype(float), rng.random((60, 2))
    resamples = bootstrap(np.arange(60), resamples=30, seed=0)
    plain, table = multilabel(states, scores, ["A", "B"], resamples=resamples, min_count=5)
    every, _ = multilabel(states, scores, ["A", "B"], resamples=resamples, min_count=5, unseen=["A", "B"])
    split, sided = multilabel(states, scores, ["A", "B"], resamples=resamples, min_count=5, unseen=["B"])
    assert not any("seen" in name or "harmonic" in name for name in [*plain, *every])
    assert split["auroc/unseen"].value == plain["auroc/B"].value
    assert split["auroc/unseen"].low == plain["auroc/B"].low
    assert split["auroc/mean"] == plain["auroc/mean"]
    assert split["ap/seen"].chance == pytest.approx(plain["ap/A"].chance)
    assert plain["ap/mean"].chance == pytest.approx((plain["ap/A"].chance + plain["ap/B"].chance) / 2)
    assert (plain["auroc/mean"].count, plain["auroc/A"].count) == (2, 60)
    assert "trained on" not in table and sided["trained on"].tolist() == ["yes", "no"]


def test_the_phantoms_rare_findings_are_asked_about_with_the_14(data, tmp_path) -> None:
    prompts = load_prompts("chexpert14,others")
    assert set(data.observations()) <= set(prompts) and set(RARE) <= set(prompts)
    (tmp_path / "metrics.json").write_text(json.dumps({"observations": list(load_prompts("chexpert14"))}))
    assert sorted(unseen_observations(data, (), tmp_path / "model")) == RARE
    assert unseen_observations(data, ["Hernia"], tmp_path / "model") == ["Hernia"]
    assert unseen_observations(data, (), tmp_path / "elsewhere" / "model") == []
    assert unseen_observations(data, ["Goiter"], tmp_path / "model") == []


def test_the_two_hospitals_of_the_phantom_are_compared(data, model) -> None:
    from medclip.evaluation.evaluators.zero_shot import ZeroShot

    found = ZeroShot(replace(data, split="train"), resamples=10)(*model)
    places = found.tables["places"].set_index("place")
    assert list(places.index) == ["A", "B"] and (places["by"] == "site").all()
    difference = found.metrics["auroc/difference/site/B-A"]
    assert difference.value == pytest.approx(places.loc["B", "auroc"] - places.loc["A", "auroc"])
    assert difference.low <= difference.value <= difference.high
    assert "auroc/difference/site/B-A" in found.headline


def test_zero_shot_prints_both_sides_before_the_mean(data, tmp_path, model) -> None:
    from medclip.evaluation.evaluators.zero_shot import ZeroShot

    valid = replace(data, split="valid")
    asked = {"prompts": "chexpert14,others", "min_count": 1, "resamples": 0}
    found = ZeroShot(valid, unseen=RARE, **asked)(*model)
    assert found.headline.index("auroc/seen") < found.headline.index("auroc/mean")
    assert found.metrics["auroc/mean"] == ZeroShot(valid, **asked)(*model).metrics["auroc/mean"]
    low, high = sorted(found.metrics[f"auroc/{side}"].value for side in ("seen", "unseen"))
    assert low <= found.metrics["auroc/harmonic"].value <= high
