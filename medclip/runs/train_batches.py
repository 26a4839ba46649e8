"""What a training run draws its batches from."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from labelers.observations import LabelPolicy
from medclip.data.cache import ImageCache
from medclip.data.cleaning import CleanedPixels
from medclip.data.datasets import Drawing, ImageSide, Partners, TextSide, image_side, text_side, with_partners
from medclip.data.features import FeatureCache
from medclip.data.loader import Steps
from medclip.data.partners import prompts_of_labels, reports_of_equal_labels, reports_of_studies
from medclip.data.tokens import cached_tokens
from medclip.data.transforms import Augmentation
from medclip.inference.prompts import Prompts
from medclip.models import MedCLIPProcessor
from medclip.objectives import Objective
from medclip.runs.settings import TrainConfig
from medclip.runs.train_data import TrainTables

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What the settings name, built before any long work, so that a mistake ends the run at once.

    Attributes:
        objective: The loss.
        policy: From states to label vectors.
        augmentation: Random changes of training images.
        prompts: Prompts of the validation, by observation.
    """

    objective: Objective
    policy: LabelPolicy
    augmentation: Augmentation
    prompts: dict[str, Prompts]


@dataclass(frozen=True)
class TrainBatches:
    """Builds the batches of each process; see `Steps`.

    Attributes:
        config: The settings.
        parts: What they name.
        images: The images to draw from.
        texts: The texts to draw from.
    """

    config: TrainConfig
    parts: Parts
    images: ImageSide
    texts: TextSide

    def __call__(self, rank: int, world: int) -> Steps:
        """Returns the batches of one of `world` processes."""
        config, paired = self.config, self.parts.objective.needs_pairs
        return Steps(
            self.images, self.texts, batch_images=config.batch_images,
            batch_texts=config.batch_images if paired else config.batch_texts, image_size=config.image_size,
            augmentation=self.parts.augmentation, seed=config.seed, pairs=1.0 if paired else config.pairs,
            rank=rank, world=world, raw=config.augment_on == "device", groups=self._groups(),
        )  # fmt: skip

    def _groups(self) -> np.ndarray | None:
        """Returns the file of each image, where images are drawn a few files at a time."""
        cache = self.images.cache
        if self.config.image_order != "shards" or isinstance(cache, FeatureCache):
            return None
        return cache.shards(self.images.keys)


def batches_of(
    config: TrainConfig,
    parts: Parts,
    tables: TrainTables,
    cache: ImageCache | CleanedPixels,
    processor: MedCLIPProcessor,
) -> TrainBatches:
    """Returns what batches are drawn from.

    Raises:
        UserError: No image, no text or no pair is left to train on.
    """
    observations, numbers = tables.observations(config), dict[str, int]()
    images = image_side(
        tables.images, observations=observations, policy=parts.policy, cache=cache, study_numbers=numbers,
        drawing=Drawing(config.image_weights or None, config.balance_images, config.balance_sites), blank=config.blank,
    )  # fmt: skip
    tokenize = partial(
        cached_tokens, folder=Path(config.prepared) / "tokens", tokenizer=processor.tokenizer,
        max_length=config.max_length, words=parts.objective.needs_words,
    )  # fmt: skip
    images, partners = _partners(config, images, tables, observations, numbers)
    texts = text_side(
        tables.sentences, tables.occurrences, partners=partners, tokenize=tokenize, observations=observations,
        policy=parts.policy, study_numbers=numbers, denials=config.denials,
        drawing=Drawing(config.text_weights or None, config.balance_texts, repeats=config.repeats),
    )  # fmt: skip
    paired = with_partners(images, texts) if parts.objective.needs_pairs else images
    if left := len(images.keys) - len(paired.keys):
        logger.info("%d of %d training images have no text to be paired with, and %s does not use them",
                    left, len(images.keys), config.objective)  # fmt: skip
    return TrainBatches(config, parts, paired, texts)


def _partners(
    config: TrainConfig, images: ImageSide, tables: TrainTables, observations: list[str], numbers: dict[str, int]
) -> tuple[ImageSide, Partners | None]:
    """Returns the images and their partners, as the settings have it; None for the sentences of their studies."""
    if config.pair_text == "prompts":
        absent = config.negative == "absent"
        return prompts_of_labels(images, observations, seed=config.seed, zero_is_denied=absent)
    if config.pair_by == "labels":
        return reports_of_equal_labels(images, tables.reports, tables.occurrences, observations)
    if config.pair_text == "report":
        return images, reports_of_studies(tables.reports, tables.occurrences, numbers)
    return images, None
