"""Builds and asks an index of images or sentences: what `medclip-search` calls."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from labelers.errors import UserError
from medclip.data.cache_formats import open_cache
from medclip.data.preparation import Preparation
from medclip.inference.composing import composed, direction_of
from medclip.inference.embed import embed_images, embed_texts
from medclip.inference.index import Index
from medclip.inference.load import find_model, load_model
from medclip.models import MedCLIPModel, MedCLIPProcessor
from medclip.runs.prepare import prepare_sources
from medclip.runs.settings import SearchConfig
from medclip.sources import find_sources
from medclip.utils.progress import Progress, counting


def search(
    config: SearchConfig, *, progress: Progress | None = None
) -> tuple[Index, list[list[tuple[str, float]]], bool]:
    """Returns the index, what each query finds (name and cosine, the nearest first), and whether it was built now.

    Args:
        config: The settings.
        progress: Called with what is done.

    Raises:
        UserError: The index holds something else, or was made with another model.
        FileNotFoundError: There is no index, and nothing to build it from.
    """
    folder, trained = find_model(config.model)
    path, made_with = Path(config.index), fingerprint(folder)
    wanted = config.images or config.texts
    index = None if wanted and not path.is_file() else Index.load(path)
    if index is not None and wanted and index.holds != wanted:
        raise UserError(f"{path} holds {index.holds or 'something else'}, not {wanted}. Name another --index.")
    if index is not None and index.made_with != made_with:
        raise UserError(
            f"{path} was made with another model, and its embeddings mean something else to this one. Name another "
            "--index, or delete it to build it again."
        )
    model, processor = load_model(folder, device=config.device, threads=config.threads)
    built = index is None
    if index is None:
        index = _build(config, trained, model, processor, made_with, progress)
        path.parent.mkdir(parents=True, exist_ok=True)
        index.save(path)
    if not config.queries:
        return index, [], built
    encoded = _composed(config, model, processor) if config.compose else _encode(config.queries, model, processor)
    scores, rows = index.search(encoded, k=min(config.k, len(index.names)), device=str(model.device))
    answers = [
        [(index.names[row], float(score)) for score, row in zip(*pair, strict=True)]
        for pair in zip(scores, rows, strict=True)
    ]
    return index, answers, built


def fingerprint(folder: Path) -> str:
    """Returns a digest of a model's weights."""
    digest = hashlib.blake2b(digest_size=12)
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def _build(
    config: SearchConfig,
    trained: dict[str, Any],
    model: MedCLIPModel,
    processor: MedCLIPProcessor,
    made_with: str,
    progress: Progress | None,
) -> Index:
    options = config.options_over(trained)
    root = config.data_root or trained.get("data_root")
    sources = find_sources(config.images or config.texts, data_root=root, options=options)
    images, texts = ([], sources) if config.texts else (sources, [])
    how = Preparation(
        Path(config.prepared), processor.cache_size, dicom=processor.dicom, workers=config.workers, progress=progress,
        unlabelled=True,
    )  # fmt: skip
    prepared = prepare_sources(images, texts, how)
    cache = open_cache(Path(config.prepared), processor.cache_size, dicom=processor.dicom)
    parts: list[np.ndarray] = []
    names: list[str] = []
    for made in prepared:
        encoding = counting(progress, f"encoding {made.name}")
        if made.sentences is not None:
            said = list(dict.fromkeys(made.sentences["text"]))
            parts.append(embed_texts(model, said, processor, progress=encoding))
            names += said
        if made.images is not None:
            keys = made.images["_key"].tolist()
            parts.append(embed_images(model, keys, processor, cache=cache, progress=encoding))
            names += made.images["path"].tolist()
    return Index(np.concatenate(parts), names, made_with=made_with, holds=config.images or config.texts)


def _encode(queries: list[str], model: MedCLIPModel, processor: MedCLIPProcessor) -> np.ndarray:
    """Returns the embedding of each query: of a file as an image, of anything else as a text."""
    rows = [(embed_images if Path(query).is_file() else embed_texts)(model, [query], processor) for query in queries]
    return np.concatenate(rows)


def _composed(config: SearchConfig, model: MedCLIPModel, processor: MedCLIPProcessor) -> np.ndarray:
    """Returns the embedding (1, D) of all queries as one: films moved by texts."""
    films = [query for query in config.queries if Path(query).is_file()]
    embed = partial(_texts, model=model, processor=processor)
    directions = [direction_of(query, embed) for query in config.queries if query not in films]
    empty = np.empty((0, model.config.projection_dim))
    return composed(
        embed_images(model, films, processor) if films else empty,
        np.stack(directions) if directions else empty, weight=config.text_weight,
    )[None]  # fmt: skip


def _texts(texts: Sequence[str], *, model: MedCLIPModel, processor: MedCLIPProcessor) -> np.ndarray:
    return embed_texts(model, texts, processor)
