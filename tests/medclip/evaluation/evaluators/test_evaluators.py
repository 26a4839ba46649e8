from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from medclip.data.cache import PixelCache
from medclip.data.preparation import Preparation
from medclip.data.prepare_images import prepare_images
from medclip.data.transforms import Augmentation
from medclip.evaluation.evaluators import EvaluationData, attributes
from medclip.evaluation.evaluators import zero_shot as zero_shot_module
from medclip.evaluation.evaluators.calibration import CalibrationEvaluator
from medclip.evaluation.evaluators.fine_tune import FineTune
from medclip.evaluation.evaluators.linear_probe import LinearProbe
from medclip.evaluation.evaluators.supervised import Supervised
from medclip.evaluation.evaluators.zero_shot import ZeroShot, standardised
from medclip.inference.classifier import ZeroShotClassifier
from medclip.inference.embed import embed_images
from medclip.inference.prompts import Prompts, load_prompts
from medclip.training.supervised import masked_bce
from medclip.utils.plugins import load_plugin

PLAIN = Augmentation(crop=1.0, jitter=0.0, rotate=0.0, shift=0.0, scale=(1.0, 1.0))


def test_zero_shot_names_its_numbers_and_bounds_them(data, model) -> None:
    result = ZeroShot(data, resamples=200)(*model)
    for name in ("auroc/mean", "auroc/Edema", "accuracy", "balanced_accuracy"):
        assert result.numbers[f"{name}/low"] <= result.numbers[name] <= result.numbers[f"{name}/high"]
    assert set(result.tables) == {"zero_shot", "classes", "groups", "denial"}
    assert set(result.figures) == {"roc", "precision_recall", "confusion", "prompts"}
    assert set(result.headline) <= set(result.metrics)


@pytest.mark.parametrize("ensemble", ["embeddings", "logits", "max"])
def test_scores_do_not_depend_on_batch_order_or_company(data, model, monkeypatch, ensemble: str) -> None:
    def metrics(data=data, **options) -> dict[str, float]:
        return ZeroShot(data, resamples=0, draws=2, ensemble=ensemble, **options)(*model).numbers

    first = metrics()
    prompts = load_prompts("chexpert14")
    turned = {name: Prompts(p.positive[::-1], p.negative[::-1]) for name, p in reversed(prompts.items())}
    shuffled = dataclasses.replace(data, images=data.images.sample(frac=1.0, random_state=1))
    few = metrics(observations=["Edema", "Fracture"])
    monkeypatch.setattr(
        zero_shot_module, "embed_images", lambda *a, **k: zero_shot_module_encode(*a, **k, batch_size=7)
    )
    small_batches = metrics()
    monkeypatch.undo()
    for other in (metrics(shuffled), metrics(prompts=turned), few, small_batches):
        assert first["auroc/Edema"] == pytest.approx(other["auroc/Edema"], abs=1e-9)
        assert first["ap/Edema"] == pytest.approx(other["ap/Edema"], abs=1e-9)
    again, one_image = metrics(shuffled), 1.01 / len(data.rows())
    for name, value in first.items():  # an untrained model has classes that are all but level: one image may turn
        assert again[name] == pytest.approx(value, abs=5 * one_image if "accuracy" in name else 1e-9), name
    assert metrics(prompts=turned)["accuracy"] == pytest.approx(first["accuracy"], abs=5 * one_image)


zero_shot_module_encode = zero_shot_module.embed_images


def test_zero_shot_agrees_with_scikit_learn(data, model) -> None:
    found = ZeroShot(data, resamples=50)(*model)
    rows, valid = data.rows(), data.other("valid")
    from medclip.inference.classifier import ZeroShotClassifier
    from medclip.inference.embed import embed_images

    classifier = ZeroShotClassifier(*model, "chexpert14")
    j = classifier.observations.index("Edema")

    def scores(table: pd.DataFrame) -> np.ndarray:
        return classifier.scores(embed_images(model[0], table["_key"].tolist(), model[1], cache=data.cache))[:, j]

    truth = rows["Edema"] == 1
    assert found.numbers["auroc/Edema"] == pytest.approx(roc_auc_score(truth, scores(rows)))
    assert found.numbers["ap/Edema"] == pytest.approx(average_precision_score(truth, scores(rows)))
    on_valid = [f1_score(valid["Edema"] == 1, scores(valid) >= t) for t in scores(valid)]
    threshold = scores(valid)[int(np.argmax(on_valid))]
    assert found.numbers["f1/Edema"] == pytest.approx(f1_score(truth, scores(rows) >= threshold), abs=0.02)


def test_prompts_are_drawn_by_seed_and_their_deviation_is_told(data, model) -> None:
    first = ZeroShot(data, resamples=0, draws=4)(*model)
    assert first.numbers["draws/auroc/mean/sd"] > 0
    assert first.tables["prompt_draws"].equals(ZeroShot(data, resamples=0, draws=4)(*model).tables["prompt_draws"])
    other = ZeroShot(data, resamples=0, draws=4, seed=1)(*model).tables["prompt_draws"]
    assert not first.tables["prompt_draws"].equals(other)
    whole = ZeroShot(data, resamples=0, draws=2, per_draw=100)(*model).numbers
    assert whole["draws/accuracy"] == whole["accuracy"]
    assert whole["draws/accuracy/sd"] == 0


def test_groups_are_looked_at_apart(data, model) -> None:
    table = ZeroShot(data, resamples=20)(*model).tables["groups"].set_index(["group", "value"])
    rows = data.rows()
    assert table.loc[("sex", "F"), "images"] == (rows["sex"] == "F").sum()
    assert table.loc[("age", "40-59"), "images"] == rows["age"].between(40, 59).sum()
    assert table.loc["view", "images"].sum() == len(rows)
    women = dataclasses.replace(data, images=data.images[data.images["sex"] == "F"])
    alone = ZeroShot(women, resamples=0)(*model).numbers
    assert table.loc[("sex", "F"), "auroc/mean"] == pytest.approx(alone["auroc/mean"])


def test_standardised_classes_are_compared_as_gloria_does(data, model) -> None:
    """Against the arithmetic written out: no mean, unit deviation, for each class over the images."""
    cosines = np.random.default_rng(0).random((5, 3))
    expected = np.stack([(column - column.mean()) / column.std() for column in cosines.T], axis=1)
    np.testing.assert_allclose(standardised(cosines), expected)
    usual, turned = (ZeroShot(data, resamples=0, standardise=s)(*model).numbers for s in (False, True))
    assert usual["auroc/mean"] == turned["auroc/mean"]
    assert usual["accuracy"] != turned["accuracy"]


def test_nothing_can_be_fitted_on_what_is_reported_on(data) -> None:
    with pytest.raises(ValueError, match="The test split is what is reported on"):
        data.other("test")
    images = data.images.copy()
    reported = images.loc[images["split"] == "test", "patient_id"].iloc[0]
    images.loc[images.index[images["split"] == "valid"][0], "patient_id"] = reported
    assert reported not in set(dataclasses.replace(data, images=images).other("valid")["patient_id"])


def test_what_is_fitted_does_not_know_the_test_labels(data, model) -> None:
    turned = data.images.copy()
    names = ["Edema", "Cardiomegaly", "Pleural Effusion"]
    turned.loc[turned["split"] == "test", names] = 1 - turned.loc[turned["split"] == "test", names]
    other = dataclasses.replace(data, images=turned)
    first, second = (CalibrationEvaluator(d, observations=names, resamples=0)(*model).tables for d in (data, other))
    assert first["calibration"]["threshold"].tolist() == second["calibration"]["threshold"].tolist()
    assert first["calibration"]["brier"].tolist() != second["calibration"]["brier"].tolist()


def test_calibration_makes_probabilities_come_true(data, model) -> None:
    classifier, images = ZeroShotClassifier(*model), data.images.copy()
    embeds = embed_images(model[0], images["_key"].tolist(), model[1], cache=data.cache)
    scores = classifier.scores(embeds)[:, classifier.observations.index("Edema")]
    chance = 1 / (1 + np.exp(-3 * (scores - scores.mean()) / scores.std()))
    images["Edema"] = (np.random.default_rng(0).random(len(images)) < chance).astype(float)
    data = dataclasses.replace(data, images=images)
    found = CalibrationEvaluator(data, observations=["Edema"], resamples=50)(*model)
    assert found.numbers["calibration/ece"] < found.numbers["calibration/ece_unfitted"]
    row = found.tables["calibration"].iloc[0]
    assert 0 <= row["brier_low"] <= row["brier"] <= row["brier_high"]
    with pytest.raises(ValueError, match="needs a valid split"):
        CalibrationEvaluator(dataclasses.replace(data, images=data.images[data.images["split"] == "test"]))


def test_a_linear_probe_reads_more_off_with_more_labels(data, model) -> None:
    options = {"observations": ["Pleural Effusion", "Cardiomegaly"], "shares": (0.1, 1.0), "resamples": 20}
    found = LinearProbe(data, **options)(*model)
    assert found.numbers["linear-probe/auroc/100%"] > 0.5
    assert found.numbers["linear-probe/auroc/100%/low"] <= found.numbers["linear-probe/auroc/100%"]
    table = found.tables["linear_probe"]
    assert table["draw"].tolist() == [0, 1, 2, 0]
    assert table["images"].iloc[-1] == len(data.other("train"))
    assert found.numbers == LinearProbe(data, **options)(*model).numbers


def test_fine_tuning_starts_from_the_model_and_leaves_it_alone(data, model) -> None:
    trained, processor = model
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    options = {"observations": ["Pleural Effusion"], "shares": (0.1, 1.0), "label_draws": 2, "epochs": 4,
               "least_steps": 3, "augmentation": PLAIN, "resamples": 20, "learning_rate": 1e-3}  # fmt: skip
    found = FineTune(data, **options)(trained, processor)
    assert found.numbers["fine-tune/auroc/100%"] > 0.6
    assert found.tables["fine_tune"]["steps"].tolist() == [3, 3, round(4 * len(data.other("train")) / 64)]
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert found.numbers == FineTune(data, **options)(trained, processor).numbers


def test_turning_prompts_round_turns_the_score_round(data, model) -> None:
    there, absent = ("Edema is present.", "Pulmonary edema."), ("No edema.",)
    right = ZeroShot(data, prompts={"Edema": Prompts(there, absent)}, resamples=0)(*model).numbers["auroc/Edema"]
    wrong = ZeroShot(data, prompts={"Edema": Prompts(absent, there)}, resamples=0)(*model).numbers["auroc/Edema"]
    assert right == pytest.approx(1 - wrong)


def test_prompts_for_nothing_the_images_know(data) -> None:
    with pytest.raises(ValueError, match="zero-shot: no observation of these images has prompts"):
        ZeroShot(data, prompts={"Asthma": Prompts(("Asthma.",))})


def test_an_empty_split_says_what_there_is(data) -> None:
    with pytest.raises(ValueError, match="The test split holds no images; rows by split"):
        EvaluationData(data.images[data.images["split"] == "train"], data.cache).rows()


def test_supervised_learns_and_leaves_the_model_alone(data, model) -> None:
    trained, processor = model
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    options = {"observations": ["Pleural Effusion"], "batch_size": 16, "augmentation": PLAIN, "resamples": 0}
    metrics = Supervised(data, **options, epochs=6, learning_rate=3e-3)(trained, processor).numbers
    assert metrics["auroc/Pleural Effusion"] > 0.75
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    first, second = (Supervised(data, **options, epochs=1)(trained, processor).numbers for _ in range(2))
    assert first == second


def test_masked_bce_by_hand() -> None:
    logits = torch.tensor([[0.0, 3.0], [2.0, -1.0]])
    states = torch.tensor([[1.0, float("nan")], [0.0, -1.0]])
    expected = (np.log(2) + np.log1p(np.exp(2.0))) / 2
    assert masked_bce(logits, states).item() == pytest.approx(expected)
    assert masked_bce(logits, torch.full((2, 2), float("nan"))).item() == 0


@pytest.mark.parametrize("kind", [LinearProbe, FineTune, Supervised])
def test_learning_needs_a_train_split_and_says_so_before_any_work(data, kind) -> None:
    alone = dataclasses.replace(data, images=data.images[data.images["split"] == "test"])
    with pytest.raises(ValueError, match="learns from a train split, and there is none here"):
        kind(alone)


def test_groups_of_a_few_patients_are_left_out(data, model) -> None:
    images = data.images.copy()
    few = images.index[images["split"] == "test"][:4]
    images.loc[few, "sex"] = "X"
    table = ZeroShot(dataclasses.replace(data, images=images), resamples=5)(*model).tables["groups"]
    assert set(table.loc[table["group"] == "sex", "value"]) == {"F", "M"}


def test_attributes_are_told_apart_by_prompts(tmp_path, model, monkeypatch) -> None:
    """Images that point to the side of their effusion, and texts that point to the side they name."""
    source = load_plugin("sources", "phantom")(studies=900, size=32, attributes=["side"])
    images = prepare_images(source, Preparation(tmp_path, size=32)).images
    data = EvaluationData(images, PixelCache(tmp_path / "cache", 32))
    assert not any("(" in name for name in data.observations())
    rows = data.rows()
    left = rows["Pleural Effusion (left)"].to_numpy()
    monkeypatch.setattr(attributes, "embed_images", lambda *a, **k: np.stack([left == 1, left == 0], 1).astype(float))
    monkeypatch.setattr(
        attributes, "embed_texts", lambda m, texts, p: np.array([["eft" in t, "ight" in t] for t in texts], float)
    )
    found = attributes.Attributes(data, resamples=20)(*model)
    assert found.metrics["side/Pleural Effusion (left)"].value == 1
    assert found.metrics["side/Pleural Effusion (right)"].value == 1
    assert 0.3 < found.metrics["side/Atelectasis (left)"].value < 0.7
    assert found.headline == ("side/mean",)


def test_attributes_need_such_columns(data) -> None:
    with pytest.raises(ValueError, match="states of sides or sizes"):
        attributes.Attributes(data)
