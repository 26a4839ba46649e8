"""medclip-search: the images or sentences nearest to a text or an image, out of an index that is built once."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medclip.cli.console import command, print_table, progress_bar
from medclip.cli.evaluate import find_model, load_model
from medclip.config import read_config
from medclip.settings import SearchConfig
from medclip.sources import find_sources

if TYPE_CHECKING:
    from medclip.inference.index import Index
    from medclip.models import MedCLIPModel, MedCLIPProcessor
    from medclip.utils.progress import Progress

_EXAMPLES = """\
examples:
  medclip-search runs/mine --index films.safetensors --images nih=/data/CXR8 "large left pneumothorax"
  medclip-search runs/mine --index films.safetensors "enlarged heart" film.png --k 10
  medclip-search runs/mine --index sentences.safetensors --texts openi=/data/openi film.dcm --format json

The first command builds the index, later ones ask it. A query that is a file is an image, any other a text. An index
of texts holds the sentences themselves: keep it where the reports are kept."""


def run(argv: list[str]) -> int:
    """Builds the index where it is not there yet, and answers."""
    config = read_config(
        SearchConfig, argv, prog="medclip-search", description="Find images or sentences by text or image.",
        examples=_EXAMPLES,
    )  # fmt: skip
    if not config.index:
        raise ValueError("Which index? Name its file with --index; it is built there if it does not exist.")
    if config.images and config.texts:
        raise ValueError(
            "An index holds images or sentences. Give --images or --texts, and another --index for the other."
        )
    from medclip.inference.index import Index

    folder, trained = find_model(config.model)
    path, made_with = Path(config.index), fingerprint(folder)
    if not path.is_file() and not (config.images or config.texts):
        raise FileNotFoundError(
            f"There is no index {path}. Say what it is to hold: --images SOURCES or --texts SOURCES."
        )
    index = Index.load(path) if path.is_file() else None
    if config.format not in ("table", "json"):
        raise ValueError(f"--format {config.format}: write table or json.")
    wanted = config.images or config.texts
    if index is not None and wanted and index.holds != wanted:
        raise ValueError(f"{path} holds {index.holds or 'something else'}, not {wanted}. Name another --index.")
    if index is not None and index.made_with != made_with:
        raise ValueError(
            f"{path} was made with another model, and its embeddings mean something else to this one. Name another "
            "--index, or delete it to build it again."
        )
    model, processor = load_model(folder, config.device)
    with progress_bar() as progress:
        if index is None:
            index = _build(config, trained, model, processor, made_with, progress)
            path.parent.mkdir(parents=True, exist_ok=True)
            index.save(path)
            print(f"{path}: {len(index.names):,} embeddings")
        if config.queries:
            queries = _encode(config.queries, model, processor)
            scores, rows = index.search(queries, k=min(config.k, len(index.names)), device=str(model.device))
            _show(config, index, scores, rows)
    return 0


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
    progress: Progress,
) -> Index:
    from medclip.data.cache import PixelCache
    from medclip.data.prepare import prepare_images, prepare_sentences
    from medclip.inference.embed import encode_images, encode_texts
    from medclip.inference.index import Index

    options = config.source_options or trained.get("source_options", {})
    root = config.data_root or trained.get("data_root")
    sources = find_sources(config.images or config.texts, data_root=root, options=options)
    common: dict[str, Any] = {"folder": Path(config.prepared), "split_seed": 0, "workers": config.workers}
    common["progress"] = progress
    parts, names = [], []
    for source in sources:
        encoding = partial(progress, f"encoding {source.name}")
        if config.texts:
            table = prepare_sentences(source, **common).sentences
            assert table is not None
            said = list(dict.fromkeys(table["text"]))
            parts.append(encode_texts(model, said, processor, progress=encoding))
            names += said
        else:
            made = prepare_images(source, size=processor.cache_size, dicom=processor.dicom, **common)
            assert made.images is not None
            cache = PixelCache(Path(config.prepared) / "cache", processor.cache_size, dicom=processor.dicom)
            keys = made.images["_key"].tolist()
            parts.append(encode_images(model, keys, cache, processor, progress=encoding))
            names += made.images["path"].tolist()
    return Index(np.concatenate(parts), names, made_with=made_with, holds=config.images or config.texts)


def _encode(queries: list[str], model: MedCLIPModel, processor: MedCLIPProcessor) -> np.ndarray:
    """Returns the embedding of each query: of a file as an image, of anything else as a text."""
    import torch

    from medclip.inference.embed import encode_texts

    rows = []
    for query in queries:
        if Path(query).is_file():
            with torch.inference_mode():
                rows.append(model.get_image_features(processor.images([query]).to(model.device)).float().cpu().numpy())
        else:
            rows.append(encode_texts(model, [query], processor))
    return np.concatenate(rows)


def _show(config: SearchConfig, index: Index, scores: np.ndarray, rows: np.ndarray) -> None:
    found = [
        [{"cosine": round(float(score), 4), "found": index.names[row]} for score, row in zip(*pair, strict=True)]
        for pair in zip(scores, rows, strict=True)
    ]
    if config.format == "json":
        print(json.dumps(dict(zip(config.queries, found, strict=True)), indent=2, ensure_ascii=False))
        return
    for query, answers in zip(config.queries, found, strict=True):
        print_table(query, ["found", "cosine"], [[a["found"], f"{a['cosine']:.3f}"] for a in answers])


main = command(run)
