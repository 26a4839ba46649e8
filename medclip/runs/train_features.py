"""Features of locked towers, computed once before training: images in several views, and every different text."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from labelers.errors import UserError
from medclip.data.cache import ImageCache
from medclip.data.datasets import TextSide
from medclip.data.features import FeatureCache, stored_features
from medclip.data.loader import pad
from medclip.data.prepared import digest
from medclip.data.transforms import apply, augmentation_from, train_pipeline
from medclip.models import MedCLIPModel, MedCLIPProcessor
from medclip.objectives import Objective
from medclip.runs.settings import TrainConfig
from medclip.utils.progress import Progress, counting

logger = logging.getLogger(__name__)


def check_features(config: TrainConfig, objective: Objective) -> None:
    """Refuses settings under which features would not be what the towers make at each step.

    Raises:
        UserError: The image tower is not locked throughout, or something needs pixels.
    """
    if not config.cache_features:
        return
    if (
        config.lock_vision != "all"
        or config.unlock_after
        or config.unlock_patience
        or config.lora_vision
        or config.lora_text
    ):
        raise UserError(
            "--cache-features needs an image tower that does not change: --lock-vision all, without --unlock-after, "
            "--unlock-patience, --lora-vision and --lora-text."
        )
    if objective.needs_local or config.augment_on == "device":
        what = f"--objective {config.objective} compares patches" if objective.needs_local else "--augment-on device"
        raise UserError(f"--cache-features keeps one vector of each image, and {what}. Leave one of them out.")


def image_features(
    config: TrainConfig,
    model: MedCLIPModel,
    processor: MedCLIPProcessor,
    cache: ImageCache,
    tables: Sequence[pd.DataFrame],
    *,
    progress: Progress | None = None,
) -> FeatureCache:
    """Returns the features of all training and validation images: one view as they are, the others augmented.

    Args:
        config: The settings; `cache_features` is the number of views.
        model: Whose image tower is locked.
        processor: The model's.
        cache: Pixels of the images.
        tables: Prepared image tables.
        progress: Called with what is done.
    """
    keys = sorted({key for table in tables for key in table.loc[table["split"] != "test", "_key"]})
    augmentation, views = augmentation_from(config.augmentation), config.cache_features
    pipeline = train_pipeline(config.image_size, augmentation)
    cleaning = processor.preprocessing.cleaning
    how = json.dumps([config.image_size, config.cache_size, config.dicom, views, asdict(augmentation), config.seed,
                      *([asdict(cleaning)] if cleaning else [])])  # fmt: skip
    name = digest(_weights(model.vision.backbone), model.vision.pooling, how, *keys)
    with _ready(config, model) as device:

        def encode(start: int, stop: int) -> np.ndarray:
            squares = cache.get(keys[start:stop])
            found = []
            for view in range(views):
                pixels = processor.squares(squares)
                if view:
                    varied = int(np.random.default_rng([config.seed, 7, view, start]).integers(2**31))
                    pixels = torch.from_numpy(apply(pipeline, cleaning(squares), seed=varied))
                found.append(model.vision.pool(pixels.to(device))[0].float().cpu().numpy())
            return np.stack(found, axis=1)

        width = model.vision.pool(torch.zeros(1, 1, config.image_size, config.image_size, device=device))[0].shape[1]
        logger.info("Features of %d images, %d views each", len(keys), views)
        features = stored_features(
            Path(config.prepared) / "features" / f"images-{name[:16]}", encode, shape=(len(keys), views, width),
            progress=counting(progress, "features of images"),
        )  # fmt: skip
    return FeatureCache(features, keys)


def with_text_features(
    config: TrainConfig, model: MedCLIPModel, texts: TextSide, *, progress: Progress | None = None
) -> TextSide:
    """Returns a text side with the features of every text; as it is where the text tower is not locked throughout."""
    if config.lock_text != "all":
        return texts
    count = len(texts.tokens)
    name = digest(_weights(model.text.backbone), model.text.pooling, texts.tokens.values, texts.tokens.starts)
    with _ready(config, model) as device:

        def encode(start: int, stop: int) -> np.ndarray:
            rows = [texts.tokens[i] for i in range(start, stop)]
            ids = pad(rows, texts.pad_token_id)
            lengths = torch.tensor([len(row) for row in rows])
            mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
            return model.text.pool(ids.to(device), mask.to(device))[0].float().cpu().numpy()  # type: ignore[no-any-return]

        width = encode(0, 1).shape[1]
        logger.info("Features of %d texts", count)
        features = stored_features(
            Path(config.prepared) / "features" / f"texts-{name[:16]}", encode, shape=(count, width),
            progress=counting(progress, "features of texts"),
        )  # fmt: skip
    return replace(texts, features=features)


@contextmanager
def _ready(config: TrainConfig, model: nn.Module) -> Iterator[str]:
    """Yields the device to train on, and holds the model there in evaluation mode, without gradients."""
    device, training = "cuda" if config.accelerator != "cpu" and torch.cuda.is_available() else "cpu", model.training
    model.eval().to(device)
    try:
        with torch.no_grad():
            yield device
    finally:
        model.to("cpu").train(training)


def _weights(backbone: nn.Module) -> str:
    """Returns a digest of all weights."""
    return digest(*(part for name, value in backbone.state_dict().items() for part in (name, value.cpu().numpy())))
