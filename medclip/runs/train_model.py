"""The model that a training run starts from, built as its settings say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from medclip.models import MedCLIPModel, MedCLIPProcessor
from medclip.models.config import BUILT_IN_TEXT
from medclip.models.locking import add_lora, lock
from medclip.models.model import build_model, check_inputs, check_tokens
from medclip.models.processor import learned_tokenizer, load_tokenizer
from medclip.objectives import Objective
from medclip.runs.settings import TrainConfig


def check_towers(config: TrainConfig, objective: Objective) -> None:
    """Builds the towers once before data are prepared, so that a wrong name or size costs no hours.

    Raises:
        UserError: A tower is unknown, or cannot take images or texts of the configured size.
    """
    tokenizer = None if config.text in BUILT_IN_TEXT else load_tokenizer(config.text)
    with torch.random.fork_rng(devices=[]):
        model = _towers(config, objective, tokenizer)
    check_inputs(model, image_size=config.image_size, max_length=config.max_length)
    if tokenizer is not None:
        check_tokens(model, len(tokenizer), config.text)


def new_model(
    config: TrainConfig, sentences: Sequence[pd.DataFrame], objective: Objective
) -> tuple[MedCLIPModel, MedCLIPProcessor]:
    """Returns the model to train and its processor; a built-in text tower learns its vocabulary from `sentences`."""
    if config.text in BUILT_IN_TEXT:
        texts = pd.concat([table.loc[table["split"] == "train", "text"] for table in sentences])
        tokenizer = learned_tokenizer(texts, vocab_size=config.vocab_size, folder=Path(config.prepared) / "tokens")
    else:
        tokenizer = load_tokenizer(config.text)
    model = _towers(config, objective, tokenizer)
    processor = MedCLIPProcessor(
        tokenizer, image_size=config.image_size, cache_size=config.cache_size, max_length=config.max_length,
        dicom=config.dicom, border=config.mask_border,
        corners=config.mask_corners, markers=config.remove_markers,
    )  # fmt: skip
    return model, processor


def _towers(config: TrainConfig, objective: Objective, tokenizer: Any) -> MedCLIPModel:
    """Returns the new model; `tokenizer` is None where only its structure counts."""
    model = build_model(
        vision=config.vision, vision_weights=config.vision_weights, image_size=config.image_size, text=config.text,
        vocab_size=config.vocab_size if tokenizer is None else len(tokenizer),
        pad_token_id=0 if tokenizer is None else tokenizer.pad_token_id,
        projection_dim=config.projection_dim, text_pooling=config.text_pooling, vision_pooling=config.vision_pooling,
        projection=config.projection, vision_local=config.vision_local,
        logit_scale_init_value=math.log(objective.initial_scale),
    )  # fmt: skip
    model.logit_scale.requires_grad_(objective.learns_scale)
    lock(model.vision.backbone, config.lock_vision)
    lock(model.text.backbone, config.lock_text)
    for tower, rank in ((model.vision, config.lora_vision), (model.text, config.lora_text)):
        if rank:
            add_lora(tower.backbone, rank)
    return model
