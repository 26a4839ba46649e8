from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from medclip.evaluation.evaluators.subgroups import Rates, Subgroups, largest_gaps
from medclip.evaluation.groups import Group, groups_by, intersections
from medclip.inference.calibration import best_threshold
from medclip.inference.classifier import ZeroShotClassifier
from medclip.inference.embed import embed_images

NAMES = ["Edema", "Pleural Effusion", "No Finding"]


@pytest.fixture(scope="module")
def found(data, model):
    return Subgroups(data, observations=NAMES, resamples=50, min_count=2)(*model)


def called(data, model, name: str) -> tuple[pd.DataFrame, np.ndarray]:
    """The reported images, and whether `name` is called at the threshold of the valid split, written out."""
    classifier = ZeroShotClassifier(*model)
    tables = [data.other("valid"), data.rows()]
    valid, test = (
        classifier.scores(embed_images(model[0], t["_key"].tolist(), model[1], cache=data.cache))[
            :, classifier.observations.index(name)
        ]
        for t in tables
    )
    known = tables[0][name].isin((0.0, 1.0)).to_numpy()
    return tables[1], test >= best_threshold((tables[0][name] == 1).to_numpy()[known], valid[known])


def test_rates_are_those_written_out(data, model, found) -> None:
    expected: dict[str, list[float]] = {"women": [], "others": []}
    for name in NAMES[:2]:
        rows, calls = called(data, model, name)
        for who, of in (("women", rows["sex"] == "F"), ("others", rows["sex"] != "F")):
            sick = (of & (rows[name] == 1)).to_numpy()
            expected[who].append(float((~calls[sick]).mean()))
    means = {who: float(np.mean(values)) for who, values in expected.items()}
    assert found.numbers["subgroups/fnr/sex=F"] == pytest.approx(means["women"])
    assert found.numbers["subgroups/fnr_gap/sex=F"] == pytest.approx(means["women"] - means["others"])
    assert found.numbers["subgroups/fnr_gap/sex"] == pytest.approx(abs(means["women"] - means["others"]))
    assert found.numbers["subgroups/fnr_gap/sex/low"] <= found.numbers["subgroups/fnr_gap/sex"]


def test_the_sick_who_are_called_healthy(data, model, found) -> None:
    rows, calls = called(data, model, "No Finding")
    sick = (rows["No Finding"] == 0).to_numpy()
    assert found.numbers["subgroups/underdiagnosed/all"] == pytest.approx(calls[sick].mean())


def test_what_is_counted_is_told(data, found) -> None:
    rows = data.rows()
    women = found.tables["subgroups"].set_index("value").loc["F"]
    assert women["positives"] == int((rows.loc[rows["sex"] == "F", NAMES[:2]] == 1).to_numpy().sum())
    assert women["fnr observations"] == found.metrics["subgroups/fnr/sex=F"].count == 2
    assert found.metrics["subgroups/fnr_gap/sex"].count == 2


def test_worst_group_and_tables(found) -> None:
    table = found.tables["subgroups"]
    groups = table[table["group"] != "all"]
    assert found.numbers["subgroups/worst_sensitivity"] == pytest.approx(1 - groups["fnr"].max())
    assert {"sex", "age", "view", "sex and view"} <= set(groups["group"])
    assert (groups["patients"] >= 10).all()
    by_observation = found.tables["subgroups_observations"]
    assert set(by_observation["observation"]) == set(NAMES)
    assert "race" not in set(groups["group"])
    assert found.numbers["subgroups/brier/all"] <= 0.25
    assert set(found.headline) <= set(found.metrics)


def test_small_groups_are_named_and_not_reported(data, model) -> None:
    images = data.images.copy()
    test = images.index[images["split"] == "test"]
    images["race"] = np.where(np.arange(len(images)) % 2, "one", "other")
    images.loc[test[:4], "race"] = "rare"
    result = Subgroups(dataclasses.replace(data, images=images), observations=NAMES, resamples=0)(*model)
    reported = result.tables["subgroups"]
    assert set(reported.loc[reported["group"] == "race", "value"]) == {"one", "other"}
    small = result.tables["subgroups_too_small"]
    assert "rare" in set(small.loc[small["group"] == "race", "value"])
    assert set(small["reason"]) == {"fewer than 10 patients: not reported"}


def test_thresholds_do_not_know_the_test_labels(data, model) -> None:
    turned = data.images.copy()
    turned.loc[turned["split"] == "test", "Edema"] = 1 - turned.loc[turned["split"] == "test", "Edema"]
    first, second = (
        Subgroups(d, observations=["Edema"], resamples=0)(*model).numbers
        for d in (data, dataclasses.replace(data, images=turned))
    )
    assert first["subgroups/fnr/all"] == pytest.approx(1 - second["subgroups/fpr/all"])


def test_what_is_missing_is_said_before_any_work(data) -> None:
    with pytest.raises(ValueError, match="subgroups chooses thresholds on a valid split"):
        Subgroups(dataclasses.replace(data, images=data.images[data.images["split"] == "test"]))
    plain = data.images.assign(sex=None, age=np.nan, view=None)
    with pytest.raises(ValueError, match=r"nothing that tells groups .* looked for the columns sex, age, view, race"):
        Subgroups(dataclasses.replace(data, images=plain))


def test_no_threshold_no_rate(data, model) -> None:
    images = data.images.copy()
    images.loc[images["split"] == "valid", "Edema"] = 0.0
    with pytest.raises(ValueError, match="no observation has 5 positives and 5 negatives in the valid split"):
        Subgroups(dataclasses.replace(data, images=images), observations=["Edema"])(*model)


def test_groups_by_hand() -> None:
    table = pd.DataFrame(
        {"patient_id": list("aabc"), "sex": ["F", "F", "M", None], "age": [39.0, 40, 85, 20], "view": "AP"}
    )
    by_age = {group.value: (group.rows.tolist(), group.patients) for group in groups_by(table, "age")}
    assert by_age["0-39"] == ([True, False, False, True], 2)
    assert by_age["80+"] == ([False, False, True, False], 1)
    assert groups_by(table, "view") == []  # one value alone
    assert groups_by(table, "race") == []
    crossed = intersections(table, ("sex", "age", "view", "race"))
    assert [(group.column, group.value) for group in crossed] == [
        ("sex and age", "F, 0-39"),
        ("sex and age", "F, 40-59"),
        ("sex and age", "M, 80+"),
    ]


def test_the_gap_of_a_column_is_over_observations_that_both_groups_have() -> None:
    groups = np.repeat(["a", "b", "c"], 20)
    states, called = np.full((60, 2), np.nan), np.zeros((60, 2), dtype=bool)
    states[:40, 0] = 1.0  # a and b have the first observation, b and c the second
    states[20:, 1] = 1.0
    called[:12, 0], called[20:30, 0] = True, True  # a misses .4, b .5
    called[20:26, 1], called[40:58, 1] = True, True  # b misses .7, c .1
    rates = Rates(states, called, ["Edema", "Pneumonia"], None, min_count=5)
    of = {name: Group("site", name, groups == name, 20) for name in "abc"}
    assert largest_gaps(rates, list(of.values()))["subgroups/fnr_gap/site"].value == pytest.approx(0.6)
    assert not largest_gaps(rates, [of["a"], of["c"]])  # they have no observation in common
