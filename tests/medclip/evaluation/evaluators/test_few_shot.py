from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from medclip.evaluation.evaluators.few_shot import FewShot, summed
from medclip.evaluation.evaluators.zero_shot import ZeroShot

FEW = {"observations": ["Pleural Effusion", "Cardiomegaly"], "shots": (2, 8), "draws": 3, "resamples": 20}


def test_shots_stand_beside_zero_shot(data, model) -> None:
    found = FewShot(data, **FEW)(*model)
    zero = ZeroShot(data, observations=FEW["observations"], resamples=0)(*model).numbers["auroc/mean"]
    assert found.numbers["few-shot/zero-shot"] == pytest.approx(zero)
    assert found.numbers["few-shot/zero-shot/low"] <= zero <= found.numbers["few-shot/zero-shot/high"]
    assert found.numbers["few-shot/linear/all"] > found.numbers["few-shot/linear/2"]
    assert found.numbers["few-shot/anchored/below/rows"] == 6
    table = found.tables["few_shot_draws"]
    assert table.groupby(["shots", "method"]).size().to_dict()["8", "knn"] == 3
    assert found.numbers == FewShot(data, **FEW)(*model).numbers
    assert set(found.figures) == {"few_shot"}
    summary = found.tables["few_shot"]
    assert summary["shots"].unique().tolist() == ["0", "2", "8", "all"]
    assert summary["auroc_mean"].iloc[0] == pytest.approx(zero)


def test_no_shots_are_zero_shot_and_not_all_labels(data, model) -> None:
    with_nothing, without = (FewShot(data, **{**FEW, "shots": shots})(*model) for shots in ((0, 2), (2,)))
    assert with_nothing.numbers == without.numbers
    pd.testing.assert_frame_equal(with_nothing.tables["few_shot"], without.tables["few_shot"])


def test_imbalance_is_real_and_few_are_part_of_more(data, model) -> None:
    table = FewShot(data, **FEW)(*model).tables["few_shot_draws"]
    one = table[table["method"] == "knn"].set_index(["shots", "draw"])["images"]
    assert (one["8"].to_numpy() > one["2"].to_numpy()).all()
    states = data.other("train")[FEW["observations"]]
    rarer = np.minimum(states.mean(), 1 - states.mean()).mean()
    assert one["8"].mean() == pytest.approx(8 / rarer, rel=0.5)


def test_the_test_labels_choose_nothing(data, model) -> None:
    turned = data.images.copy()
    test = turned["split"] == "test"
    turned.loc[test, FEW["observations"]] = 1 - turned.loc[test, FEW["observations"]]
    first, second = (FewShot(d, **FEW)(*model).tables["few_shot_draws"]
                     for d in (data, dataclasses.replace(data, images=turned)))  # fmt: skip
    assert first["anchor"].equals(second["anchor"])
    np.testing.assert_allclose(first["auroc_mean"], 1 - second["auroc_mean"])


def test_the_share_below_zero_shot_by_hand() -> None:
    table = pd.DataFrame({"shots": ["1"] * 4, "method": "knn", "images": 2, "enough": 1})
    table["auroc_mean"] = [0.5, 0.6, 0.7, 0.6]
    row = summed(table, 0.6).iloc[0]
    assert (row["below zero-shot"], row["auroc_mean"], row["draws"]) == (0.25, pytest.approx(0.6), 4)


def test_few_shot_needs_labels_to_learn_from(data) -> None:
    alone = dataclasses.replace(data, images=data.images[data.images["split"] == "test"])
    with pytest.raises(ValueError, match="few-shot learns from a train split"):
        FewShot(alone)
    with pytest.raises(ValueError, match="few-shot: no observation of these images has prompts"):
        FewShot(data, prompts={})


def test_observations_with_too_few_examples_are_counted(data, model) -> None:
    known = data.other("train")[FEW["observations"]]
    rarer = np.minimum((known == 1).sum(), (known == 0).sum())
    some = int(rarer.min()) + 1
    found = FewShot(data, **{**FEW, "shots": (2, some)})(*model).tables["few_shot"].set_index("shots")
    column = found["observations with so many"]
    assert set(column["2"]) == set(column["all"]) == {2} and set(column[str(some)]) == {int((rarer >= some).sum())}
