"""What a page asks of a model: films encoded once, in batches with those of others, and texts of any kind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medclip.data.images import square_geometry
from medclip.inference.calibration import Calibration
from medclip.inference.load import find_model
from medclip.inference.onnx_classifier import MANIFEST, OnnxClassifier
from medclip.inference.prompts import load_prompts, prompt_set_names
from medclip.inference.scoring import Directions, PromptScores
from medclip.runs.classify import load as load_classifier
from medclip.runs.settings import ServeConfig
from medclip.serve.batching import Batcher
from medclip.serve.decoding import Decoded, Decoder
from medclip.serve.films import Encoding, Film, FilmStore

if TYPE_CHECKING:
    from medclip.serve.searching import Searcher

#: Files that are decoded at once.
_DECODERS = 2


class Service:
    """A model, the films that are asked about, and the workers that decode them.

    Args:
        config: The settings; `model` or `onnx` is set.

    Raises:
        FileNotFoundError: There is no model, export, prompt set or index.
        UserError: The index belongs to another model.
    """

    def __init__(self, config: ServeConfig) -> None:
        self.config = config
        folder = config.onnx or config.model
        named = config.prompts or _own_prompts(folder)
        self.first_prompts = Path(named).stem  # of a file, not where it lies
        self.run = Path(folder)
        self._folder = self.run if config.onnx else find_model(folder)[0]
        self.classifier = load_classifier(folder, prompts=named, device=config.device, threads=config.threads)
        self.films = FilmStore(megabytes=config.max_memory)
        self._decoding = ThreadPoolExecutor(_DECODERS, thread_name_prefix="decoding")
        self.decoder = Decoder(workers=_DECODERS, megapixels=config.max_megapixels, dicom=self.classifier.dicom)
        self.encode: Batcher[np.ndarray, Encoding] = Batcher(self._encode, size=config.batch_size)
        self._sets: dict[str, PromptScores] = {self.first_prompts: self.classifier}
        self._texts = threading.Lock()  # tokenizers are not made for several threads
        self.searcher = _searcher(config)

    @property
    def has_heatmaps(self) -> bool:
        """Whether the model says where something is."""
        return not isinstance(self.classifier, OnnxClassifier)

    @property
    def prompt_sets(self) -> list[str]:
        """Names of the prompt sets on offer, that of the settings first."""
        return list(dict.fromkeys([self.first_prompts, *prompt_set_names()]))

    async def take(self, content: bytes) -> Film:
        """Returns an uploaded file as a film, decoded and encoded.

        Raises:
            ImageError: It cannot be read as a radiograph.
        """
        decoded = await self.decode(content, at_least=self.classifier.cache_size)
        return Film(content, decoded.facts, await self.encode(decoded.array))

    async def decode(self, content: bytes, *, at_least: int | None = None, values: bool = False) -> Decoded:
        """Returns what a decoding process makes of a file: grey, or with `values` the levels of a DICOM file.

        Raises:
            ImageError: It cannot be read.
        """
        read = self.decoder.values if values else partial(self.decoder.grey, at_least=at_least)
        return await asyncio.get_running_loop().run_in_executor(self._decoding, read, content)

    def prompts(self, name: str) -> PromptScores:
        """Returns the classifier of a prompt set that is on offer, made when it is first asked for.

        Raises:
            FileNotFoundError: There is no set of that name; the path of a file is none.
        """
        if name not in self.prompt_sets:
            raise FileNotFoundError(f"There is no prompt set {name!r}. Choose from {', '.join(self.prompt_sets)}.")
        if name not in self._sets:
            self._sets[name] = self._with_prompts(name)
        return self._sets[name]

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Returns embeddings (T, D) of texts, unit length; each is encoded for itself, as exports do."""
        with self._texts:
            if isinstance(self.classifier, OnnxClassifier):
                return np.concatenate([self.classifier.embed_texts([text]) for text in texts])
            from medclip.inference.embed import embed_texts

            return embed_texts(self.classifier.model, texts, self.classifier.processor)  # type: ignore[attr-defined]

    def _with_prompts(self, name: str) -> PromptScores:
        """Returns the scorer of other prompts, with the calibration that was fitted with them, if any."""
        loaded = load_prompts(name)
        calibration = Calibration.load(self._folder, prompts=name)
        ensemble = calibration.ensemble if calibration else _own_ensemble(self.classifier)
        sides = [[getattr(entry, side) for entry in loaded.values()] for side in ("positive", "negative")]
        texts = list(dict.fromkeys(text for side in sides for entry in side for text in entry))
        embeds = dict(zip(texts, self.embed_texts(texts), strict=True))
        dim = self.classifier.positive.vectors.shape[1]
        positive, negative = (Directions.of(side, embeds, dim=dim, ensemble=ensemble) for side in sides)
        return PromptScores(
            list(loaded), positive, negative, scale=self.classifier.scale, ensemble=ensemble, calibration=calibration
        )

    def close(self) -> None:
        """Ends the workers; the films go with the process."""
        self._decoding.shutdown(wait=False, cancel_futures=True)
        self.encode.close()
        self.decoder.close()

    def _encode(self, images: list[np.ndarray]) -> list[Encoding]:
        """Returns the encodings of a batch, with pixel values where the model draws heatmaps."""
        if not self.has_heatmaps:
            return [Encoding(embed) for embed in self.classifier.embed(images)]
        from medclip.inference.embed import encode_batches

        classifier: Any = self.classifier
        pixels = classifier.processor.images(images)
        embeds = next(encode_batches(classifier.model, [pixels])).embeds.float().cpu().numpy()
        return [Encoding(embed, film[None].numpy()) for embed, film in zip(embeds, pixels, strict=True)]

    def heatmap(self, film: Film, text: np.ndarray) -> np.ndarray:
        """Returns where a text (D,) is in a film, (height, width) as `film.facts` tells them; see `evidence_maps`."""
        import torch

        from medclip.inference.heatmap import evidence_maps, to_original

        assert film.encoding.pixels is not None, "ask has_heatmaps first"
        classifier: Any = self.classifier
        _, maps = next(evidence_maps(classifier.model, [torch.from_numpy(film.encoding.pixels)], text[None]))
        size = self.classifier.cache_size
        geometry = square_geometry(int(film.facts["width"]), int(film.facts["height"]), size)
        return to_original(maps[0, 0], geometry, size=size)


def _own_prompts(folder: str) -> str:
    """Returns the prompt set of an export, or chexpert14."""
    manifest = Path(folder) / MANIFEST
    if not manifest.is_file():
        return "chexpert14"
    import json

    return str(json.loads(manifest.read_text(encoding="utf-8"))["prompts"])


def _own_ensemble(classifier: PromptScores) -> str:
    """Returns the ensemble of prompts without a calibration: that of the export, or the usual one."""
    return classifier.ensemble if isinstance(classifier, OnnxClassifier) else "embeddings"


def _searcher(config: ServeConfig) -> Searcher | None:
    if not config.index:
        return None
    from medclip.serve.searching import Searcher

    return Searcher(config)
