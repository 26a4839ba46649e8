"""Prepares sources: caches pixels, labels sentences. What is already prepared costs a look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from labelers.errors import UserError
from medclip.data.labelling import Labelling
from medclip.data.preparation import Preparation
from medclip.data.prepare_images import prepare_images
from medclip.data.prepare_texts import prepare_texts
from medclip.data.prepared import Prepared, declared_of
from medclip.data.source import Source
from medclip.runs.settings import LabelSettings, PrepareConfig
from medclip.sources import find_sources
from medclip.utils.progress import Progress


def prepare(config: PrepareConfig, *, progress: Progress | None = None) -> list[Prepared]:
    """Returns the prepared image and text sources that `config` names, images first.

    Args:
        config: The settings.
        progress: Called with what is done.

    Raises:
        UserError: No source is named, or one cannot serve as named.
        FileNotFoundError: A source is not where it was looked for.

    Examples:
        >>> import medclip
        >>> small = {"phantom": {"studies": 40, "size": 32}}
        >>> config = medclip.PrepareConfig(images="phantom", texts="phantom", source_options=small, cache_size=32)
        >>> images, texts = medclip.prepare(config)
        >>> sorted(images.images["split"].unique())
        ['test', 'train', 'valid']
        >>> [name for name in ("text", "split", "count", "Edema") if name in texts.sentences.columns]
        ['text', 'split', 'count', 'Edema']
    """
    if not config.images and not config.texts:
        raise UserError("Nothing to prepare. Name sources with --images or --texts.")
    images, texts = (
        find_sources(names, data_root=config.data_root, options=config.source_options) if names else []
        for names in (config.images, config.texts)
    )
    how = Preparation(
        folder=Path(config.prepared), size=config.cache_size, split_seed=config.split_seed, workers=config.workers,
        engine=config.engine, dicom=config.dicom, strict=config.strict, progress=progress,
        labelling=labelling_of(config), cache_format=config.cache_format, check=config.check,
    )  # fmt: skip
    return prepare_sources(images, texts, how)


def labelling_of(settings: LabelSettings) -> Labelling:
    """Returns the labelling that settings name.

    Raises:
        UserError: The labeler, its vocabulary or profile is unknown.
    """
    settings.check_labeler()
    labelling = Labelling(
        settings.labeler, settings.vocabulary, settings.profile, settings.checkpoint, settings.attributes
    )
    labelling.load()
    return labelling


def prepare_sources(images: Sequence[Source], texts: Sequence[Source], how: Preparation) -> list[Prepared]:
    """Returns image sources, then text sources, prepared; splits are assigned once over all of them.

    Raises:
        UserError: See `prepare_images` and `prepare_texts`.
    """
    declared = declared_of([*images, *texts])
    made = [prepare_images(source, how, declared) for source in images]
    return made + [prepare_texts(source, how, declared) for source in texts]
