from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch

from medclip.cache import PixelCache
from medclip.evaluation import EvaluationData
from medclip.evaluation.supervised import Supervised, masked_bce
from medclip.evaluation.zero_shot import ZeroShot
from medclip.models import MedCLIPModel, MedCLIPProcessor
from medclip.models.model import build_model
from medclip.models.processor import train_tokenizer
from medclip.plugins import load_plugin
from medclip.prepare import prepare_images
from medclip.prompts import Prompts
from medclip.transforms import Augmentation


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> EvaluationData:
    folder = tmp_path_factory.mktemp("prepared")
    source = load_plugin("sources", "phantom")(studies=400, size=32)
    images = prepare_images(source, folder=folder, size=32, split_seed=0).images
    return EvaluationData(images, PixelCache(folder / "cache", 32))


@lru_cache(maxsize=1)
def model() -> tuple[MedCLIPModel, MedCLIPProcessor]:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["No pleural effusion.", "The heart is enlarged."])
    return build_model(vocab_size=len(tokenizer), projection_dim=16).eval(), MedCLIPProcessor(tokenizer, image_size=32)


def test_zero_shot_names_its_numbers_and_bounds_them(data) -> None:
    result = ZeroShot(data, resamples=200)(*model())
    for name in ("auroc/mean", "auroc/Edema", "accuracy", "balanced_accuracy"):
        assert result.metrics[f"{name}/low"] <= result.metrics[name] <= result.metrics[f"{name}/high"]
    assert set(result.tables) == {"zero_shot", "classes"}
    assert set(result.figures) == {"roc", "prompts"}


def test_zero_shot_repeats_itself_and_does_not_depend_on_order_or_company(data) -> None:
    first = ZeroShot(data, resamples=0)(*model()).metrics
    shuffled = EvaluationData(data.images.sample(frac=1.0, random_state=1), data.cache)
    again = ZeroShot(shuffled, resamples=0)(*model()).metrics
    few = ZeroShot(data, observations=["Edema", "Fracture"], resamples=0)(*model()).metrics
    assert first["auroc/Edema"] == pytest.approx(again["auroc/Edema"], abs=1e-9)
    assert first["auroc/Edema"] == pytest.approx(few["auroc/Edema"], abs=1e-9)


def test_turning_prompts_round_turns_the_score_round(data) -> None:
    there, absent = ("Edema is present.", "Pulmonary edema."), ("No edema.",)
    right = ZeroShot(data, prompts={"Edema": Prompts(there, absent)}, resamples=0)(*model()).metrics["auroc/Edema"]
    wrong = ZeroShot(data, prompts={"Edema": Prompts(absent, there)}, resamples=0)(*model()).metrics["auroc/Edema"]
    assert right == pytest.approx(1 - wrong)


def test_prompts_for_nothing_the_images_know(data) -> None:
    with pytest.raises(ValueError, match="No observation of these images has prompts"):
        ZeroShot(data, prompts={"Asthma": Prompts(("Asthma.",))})


def test_an_empty_split_says_what_there_is(data) -> None:
    with pytest.raises(ValueError, match="The test split holds no images; rows by split"):
        EvaluationData(data.images[data.images["split"] == "train"], data.cache).rows()


def test_supervised_learns_and_leaves_the_model_alone(data) -> None:
    trained, processor = model()
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    plain = Augmentation(crop=1.0, jitter=0.0, rotate=0.0, shift=0.0, scale=(1.0, 1.0))
    options = {
        "observations": ["Pleural Effusion"],
        "epochs": 8,
        "batch_size": 32,
        "augmentation": plain,
        "resamples": 0,
    }
    metrics = Supervised(data, **options)(trained, processor).metrics
    assert metrics["auroc/Pleural Effusion"] > 0.75
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert metrics == Supervised(data, **options)(trained, processor).metrics


def test_masked_bce_by_hand() -> None:
    logits = torch.tensor([[0.0, 3.0], [2.0, -1.0]])
    states = torch.tensor([[1.0, float("nan")], [0.0, -1.0]])
    expected = (np.log(2) + np.log1p(np.exp(2.0))) / 2
    assert masked_bce(logits, states).item() == pytest.approx(expected)
    assert masked_bce(logits, torch.full((2, 2), float("nan"))).item() == 0
