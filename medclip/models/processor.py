"""Raw images and texts to what the model takes; saved beside the weights, so that inference cannot drift."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.utils import PushToHubMixin, cached_file

from labelers.errors import UserError
from labelers.hub import not_to_be_had, on_disk
from medclip.data.features import FeatureCache
from medclip.data.preprocessing import MEAN, STD, Preprocessing
from medclip.data.tokens import text_digest
from medclip.models.loading import of_run

_FILE = "medclip_processor.json"


class MedCLIPProcessor(PushToHubMixin):  # type: ignore[misc]
    """Prepares images and texts.

    Args:
        tokenizer: Tokenizer of the text tower.
        image_size: Side of the images that the vision tower takes.
        cache_size: Side of the squares that images are first fitted to, as in training.
        max_length: Tokens kept of a text.
        mean: Mean of pixel values in [0, 1], subtracted.
        std: Standard deviation of pixel values, divided by.
        resize: "square", fitted and resized as in training; or "pad-bicubic", as the official MedCLIP prepares images
            (padded to a square of at least `image_size`, then resized with Pillow's bicubic filter).
        dicom: Recipe by which DICOM values become grey, see `medclip.data.images.read_image`.
        border: Share of each side that is covered, see `medclip.data.cleaning`.
        corners: Share of the side of corners that are covered.
        markers: Whether letters are covered.

    Examples:
        >>> import medclip
        >>> import numpy as np
        >>> processor = medclip.MedCLIPProcessor.from_pretrained("runs/mine/model")
        >>> inputs = processor(images=[np.zeros((64, 48), dtype=np.uint8)], text=["No effusion.", "Edema."])
        >>> tuple(inputs["pixel_values"].shape), len(inputs["input_ids"])
        ((1, 1, 32, 32), 2)
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        image_size: int,
        cache_size: int | None = None,
        max_length: int = 77,
        mean: float = MEAN,
        std: float = STD,
        resize: str = "square",
        dicom: str = "voi",
        border: float = 0.0,
        corners: float = 0.0,
        markers: bool = False,
    ) -> None:
        self.preprocessing = Preprocessing(
            image_size, cache_size or image_size, mean, std, resize, dicom, border, corners, markers
        )
        self.tokenizer, self.max_length = tokenizer, max_length

    @property
    def image_size(self) -> int:
        """Side of the images that the vision tower takes, in pixels."""
        return self.preprocessing.image_size

    @property
    def cache_size(self) -> int:
        """Side of the squares that images are first fitted to, in pixels."""
        return self.preprocessing.cache_size

    @property
    def dicom(self) -> str:
        """How DICOM values become grey."""
        return self.preprocessing.dicom

    def images(self, images: Any) -> Tensor:
        """Returns pixel values (I, 1, H, W) of one image or several: paths, arrays, tensors or PIL images.

        What values of arrays mean is said in `medclip.data.images.grey_images`.

        Raises:
            ImageError: A file cannot be read, or an array is no grey image.
        """
        return torch.from_numpy(self.preprocessing.images(images))

    def squares(self, squares: np.ndarray) -> Tensor:
        """Returns pixel values (I, 1, H, W) of cached squares (I, S, S), uint8."""
        return torch.from_numpy(self.preprocessing.squares(squares))

    def batches(self, images: Sequence[Any], *, cache: Any = None, batch_size: int = 128) -> Iterator[Tensor]:
        """Yields pixel values (I, 1, H, W) of files or arrays, or, with a `PixelCache`, of the images of its keys.

        With a `FeatureCache`, features (I, C), which the model takes instead.

        Raises:
            ImageError: See `images`.
        """
        for start in range(0, len(images), batch_size):
            part = images[start : start + batch_size]
            if isinstance(cache, FeatureCache):
                yield torch.from_numpy(cache.get(part))
            else:
                yield self.images(part) if cache is None else self.squares(cache.get(part))

    def texts(self, texts: str | Sequence[str]) -> dict[str, Tensor]:
        """Returns `input_ids` and `attention_mask` (T, L) of one text or several, padded to the longest.

        Raises:
            UserError: one of them is no text.
        """
        several = [texts] if isinstance(texts, str) else list(texts)
        wrong = [type(text).__name__ for text in several if not isinstance(text, str)]
        if wrong:
            raise UserError(f"texts holds {wrong[0]}; expected text (str).")
        encoded = self.tokenizer(
            several, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        return {name: encoded[name] for name in ("input_ids", "attention_mask")}

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        *,
        return_tensors: str = "pt",
        padding: bool | str = True,
        truncation: bool = True,
    ) -> dict[str, Tensor]:
        """Returns the model's arguments for images, texts or both.

        Args:
            images: See `images`.
            text: See `texts`.
            return_tensors: "pt"; here, as are the next two, because processors of other models ask for it.
            padding: True; texts are padded to the longest.
            truncation: True; texts are cut at `max_length`.

        Raises:
            UserError: An image or a text cannot be read, or another value than these is asked for.
        """
        if return_tensors != "pt" or padding not in (True, "longest") or truncation is not True:
            raise UserError(
                f"Found return_tensors={return_tensors!r}, padding={padding!r}, truncation={truncation!r}; this "
                "processor gives PyTorch tensors (pt), padded to the longest text and truncated. Leave them out."
            )
        pixels = {} if images is None else {"pixel_values": self.images(images)}
        return pixels | ({} if text is None else self.texts(text))

    def save_pretrained(self, folder: str | Path, *, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Writes the settings and the tokenizer into `folder`, and to the hub if asked."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        settings = asdict(self.preprocessing) | {"max_length": self.max_length}
        (Path(folder) / _FILE).write_text(json.dumps(settings, indent=2))
        self.tokenizer.save_pretrained(str(folder))
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", Path(folder).name), **kwargs)

    @classmethod
    def from_pretrained(cls, folder: str | Path, **kwargs: Any) -> MedCLIPProcessor:
        """Returns the processor that `save_pretrained` wrote, from a folder or of a hub id.

        Raises:
            OSError: There is none; the message says what to do without a network.
        """
        folder = of_run(folder)
        if Path(folder).is_dir() and not (Path(folder) / _FILE).is_file():
            raise FileNotFoundError(f"{folder} holds no {_FILE}. Name the model/ folder of a training run.")
        known = {
            name: kwargs[name] for name in ("cache_dir", "revision", "token", "local_files_only") if name in kwargs
        }
        try:
            found = on_disk(folder, revision=kwargs.get("revision"), cache_dir=kwargs.get("cache_dir"))
            path = cached_file(found, _FILE, **known)
            tokenizer = AutoTokenizer.from_pretrained(found, **known)
        except (OSError, ValueError) as error:
            raise OSError(not_to_be_had("processor", str(folder), error)) from error
        return cls(tokenizer, **json.loads(Path(path).read_text()))


def train_tokenizer(texts: Sequence[str], *, vocab_size: int = 4000) -> PreTrainedTokenizerFast:
    """Returns a lower-case WordPiece tokenizer learned from `texts`, for when no trained one can be had.

    Its vocabulary is every character and the most frequent words. The trainers of the tokenizers library break ties
    in an order that changes from run to run, which would make two equal trainings differ.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    special = {
        "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
    }  # fmt: skip
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    counts = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    characters = sorted({char for word in counts for char in word})
    pieces = [*special.values(), *characters, *(f"##{char}" for char in characters)]
    frequent = sorted((word for word in counts if len(word) > 1), key=lambda word: (-counts[word], word))
    vocabulary = {piece: i for i, piece in enumerate([*pieces, *frequent[: max(0, vocab_size - len(pieces))]])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalizer, splitter, decoders.WordPiece()
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def learned_tokenizer(texts: pd.Series, *, vocab_size: int, folder: Path) -> PreTrainedTokenizerFast:
    """Returns the tokenizer learned from `texts`, read from `folder` if it was learned before."""
    saved = folder / f"tokenizer-{text_digest(texts)[:16]}-{vocab_size}"
    if (saved / "tokenizer.json").is_file():
        return AutoTokenizer.from_pretrained(saved)
    tokenizer = train_tokenizer(texts.tolist(), vocab_size=vocab_size)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as part:
        tokenizer.save_pretrained(part)
        saved.mkdir(exist_ok=True)
        for file in sorted(Path(part).iterdir(), key=lambda file: file.name == "tokenizer.json"):  # that one last
            os.replace(file, saved / file.name)
    return tokenizer


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Returns the tokenizer of the text encoder `name`, a folder or a hub id.

    Raises:
        OSError: It is neither on disk nor to be had.
    """
    try:
        return AutoTokenizer.from_pretrained(on_disk(name))
    except (OSError, ValueError) as error:
        raise OSError(not_to_be_had("tokenizer", name, error)) from error
