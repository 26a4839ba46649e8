"""The supervised comparison of a run: a classifier that learns from the labels of the same images, without texts."""

from __future__ import annotations

from typing import Literal

import pandas as pd
import torch

from labelers.observations import CHEXPERT14
from medclip.data.transforms import augmentation_from
from medclip.evaluation.evaluators import EvaluationData, Result
from medclip.evaluation.evaluators.supervised import Supervised
from medclip.inference.prompts import load_prompts
from medclip.models.config import BUILT_IN_VISION
from medclip.objectives import Objective
from medclip.runs.prepare import prepare_sources
from medclip.runs.settings import TrainConfig
from medclip.runs.train_data import cache_of, find_train_sources, preparation_of, prepare_train_data
from medclip.runs.train_model import new_model
from medclip.sources import find_sources


def train_supervised(config: TrainConfig, *, split: Literal["valid", "test"], resamples: int, on: str = "") -> Result:
    """Returns how well the run's vision tower does as a classifier of the observations that have prompts.

    It has the images, labels, limits, augmentation, batch, learning rate, steps and the start of the image tower of
    `config` (pretrained weights where they are named), and leaves out what is about texts. Blanks are what `blank`
    says, and what is then unknown or uncertain is masked. The best pass by the valid split is kept; with `split`
    "valid" that is the last one.

    Args:
        config: The settings of the run.
        split: The split to report on.
        resamples: Number of bootstrap resamples; 0 for none.
        on: Image sources to report on; by default those of the run.

    Raises:
        UserError: A setting is wrong.
        FileNotFoundError: A source is not where it was looked for.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    tables = prepare_train_data(config, find_train_sources(config))
    images = pd.concat(tables.images, ignore_index=True)
    if on:
        found = find_sources(on, data_root=config.data_root, options=config.source_options)
        made = prepare_sources(found, [], preparation_of(config))
        reported = pd.concat([one.images for one in made if one.images is not None])
        images = pd.concat([images[images["split"] != split], reported[reported["split"] == split]], ignore_index=True)
    cache = cache_of(preparation_of(config))
    data = EvaluationData(images, cache, split=split, blank=config.blank)
    known = [name for name in CHEXPERT14 if name in load_prompts(config.prompts)]
    evaluator = Supervised(
        data, seed=config.seed, observations=known, resamples=resamples, batch_size=config.batch_images,
        epochs=config.epochs, steps=config.steps, every=config.evaluate_every, learning_rate=config.learning_rate,
        augmentation=augmentation_from(config.augmentation), pretrained=config.vision not in BUILT_IN_VISION,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        model, processor = new_model(config, tables.sentences, Objective())
    on_gpu = config.accelerator != "cpu" and torch.cuda.is_available()
    return evaluator(model.to("cuda" if on_gpu else "cpu"), processor)
