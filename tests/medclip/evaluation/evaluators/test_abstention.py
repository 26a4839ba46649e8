from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from medclip.evaluation.evaluators.abstention import AbstentionEvaluator, answers_of
from medclip.inference.abstention import Abstention
from medclip.inference.classifier import ZeroShotClassifier
from medclip.inference.embed import embed_images

NAMES = ["Edema", "Support Devices"]


@pytest.fixture
def informed(data, model):
    """The images, with states that their scores know something of."""
    classifier, images = ZeroShotClassifier(*model), data.images.copy()
    embeds = embed_images(model[0], images["_key"].tolist(), model[1], cache=data.cache)
    rng = np.random.default_rng(0)
    for name in NAMES:
        scores = classifier.scores(embeds)[:, classifier.observations.index(name)]
        ranks = pd.Series(scores).rank(pct=True).to_numpy()
        images[name] = (ranks + rng.normal(scale=0.2, size=len(images)) > 0.5).astype(float)
    return dataclasses.replace(data, images=images)


def test_answers_are_told_beside_their_promise(informed, model) -> None:
    result = AbstentionEvaluator(informed, observations=NAMES, error=0.2, resamples=50)(*model)
    found = result.numbers
    assert found["abstention/promise"] == 0.8
    for name in ("coverage/present", "coverage/absent"):
        assert found[f"abstention/{name}"] > 0.6
        assert found[f"abstention/{name}/low"] <= found[f"abstention/{name}"]
    assert 0 < found["abstention/answered"] <= 1
    assert found["abstention/error"] < found["abstention/error_forced"] + 0.05
    curve = result.tables["abstention_curve"]
    assert (np.diff(curve["promise"]) < 0).all()
    assert (curve["observations"] == len(NAMES)).all()
    at_promise = curve.set_index("promise").loc[0.8]
    assert at_promise["answered"] == pytest.approx(found["abstention/answered"])
    assert at_promise["error"] == pytest.approx(found["abstention/error"])
    assert set(result.figures) == {"abstention"}
    assert found["abstention/observations"] == 2


def test_coverage_counts_each_patient_once(informed, model) -> None:
    """A patient whose images are all there five times over counts no more than others."""
    images = informed.images
    test = images[images["split"] == "test"]
    one = test[test["patient_id"] == test["patient_id"].iloc[0]]
    again = pd.concat([images, *[one] * 4], ignore_index=True)
    options = {"observations": ["Edema"], "error": 0.2, "resamples": 0}
    first, second = (
        AbstentionEvaluator(d, **options)(*model).tables["abstention"].iloc[0]
        for d in (informed, dataclasses.replace(informed, images=again))
    )
    for name in ("coverage/present", "coverage/absent", "answered", "error"):
        assert first[name] == pytest.approx(second[name])
    assert first["positive"] != second["positive"] or first["negative"] != second["negative"]


def test_rules_do_not_know_the_test_labels(informed, model) -> None:
    turned = informed.images.copy()
    turned.loc[turned["split"] == "test", "Edema"] = 1 - turned.loc[turned["split"] == "test", "Edema"]
    first, second = (
        AbstentionEvaluator(d, observations=["Edema"], error=0.2, resamples=0)(*model).tables["abstention"]
        for d in (informed, dataclasses.replace(informed, images=turned))
    )
    assert first["answered"].tolist() == second["answered"].tolist()
    assert first["coverage/present"].tolist() != second["coverage/present"].tolist()


def test_what_cannot_be_promised_is_said(informed, model) -> None:
    result = AbstentionEvaluator(informed, observations=["Edema"], error=0.001, resamples=0)(*model)
    assert "999 of each are needed" in result.tables["abstention_refused"]["because"].iloc[0]
    assert result.numbers["abstention/observations"] == 0
    with pytest.raises(ValueError, match="abstention fits its rules on a valid split"):
        AbstentionEvaluator(dataclasses.replace(informed, images=informed.images[informed.images["split"] == "test"]))


def test_films_show_what_the_rules_answer_and_no_other_threshold() -> None:
    made = Abstention(0.1, {"Edema": 0.2}, {"Edema": 0.4}, {"Edema": 20})
    scores, states = np.array([[0.1], [0.3], [0.5], [0.6]]), np.array([[0.0], [1.0], [0.0], [1.0]])
    table = answers_of(made, list("abcd"), states, scores, ["Edema"], np.zeros((1, 3))).table
    assert table["key"].tolist() == ["a", "c", "d"]  # of b the rules are unsure
    assert table["right"].tolist() == [True, False, True]
    assert table["said"].iloc[1] == "labelled absent, called present\nscore 0.500, unsure from 0.200 to 0.400"
    assert answers_of(
        Abstention(0.1, {}, {}, {}), list("abcd"), states, scores, ["Edema"], np.zeros((1, 3))
    ).table.empty
