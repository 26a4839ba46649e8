from __future__ import annotations

import pytest
import torch

from medclip.data.boxes import prepare_boxes
from medclip.data.cache import PixelCache
from medclip.data.preparation import Preparation
from medclip.data.prepare_images import prepare_images
from medclip.evaluation.evaluators import EvaluationData
from medclip.models import MedCLIPModel, MedCLIPProcessor, config
from medclip.models.model import build_model
from medclip.models.processor import train_tokenizer
from medclip.utils.plugins import load_plugin


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> EvaluationData:
    folder = tmp_path_factory.mktemp("prepared")
    source = load_plugin("sources", "phantom")(studies=400, size=32)
    images = prepare_images(source, Preparation(folder, size=32)).images
    return EvaluationData(images, PixelCache(folder / "cache", 32), boxes=prepare_boxes(source, images))


@pytest.fixture(scope="module")
def model() -> tuple[MedCLIPModel, MedCLIPProcessor]:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["No pleural effusion.", "The heart is enlarged."])
    with pytest.MonkeyPatch.context() as patch:  # features wide enough that something can be learned from them
        patch.setitem(config.SMALL_VISION, "hidden_sizes", [16, 32, 64, 128])
        built = build_model(vocab_size=len(tokenizer), projection_dim=16).eval()
    return built, MedCLIPProcessor(tokenizer, image_size=32)
