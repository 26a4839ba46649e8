"""Raw images and texts to what the model takes; saved beside the weights, so that inference cannot drift."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from medclip.images import fit_square, read_image
from medclip.transforms import apply, eval_pipeline

_FILE = "medclip_processor.json"


class MedCLIPProcessor:
    """Prepares images and texts.

    Args:
        tokenizer: of the text tower.
        image_size: side of the images that the vision tower takes.
        cache_size: side of the squares that images are first fitted to, as in training.
        max_length: tokens kept of a text.
        dicom: how DICOM values become grey, see `medclip.images.read_image`.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        image_size: int,
        cache_size: int | None = None,
        max_length: int = 77,
        dicom: str = "voi",
    ) -> None:
        self.tokenizer, self.image_size, self.max_length = tokenizer, image_size, max_length
        self.dicom = dicom
        self.cache_size = cache_size or image_size
        self._pipeline = eval_pipeline(image_size)

    def images(self, images: Sequence[np.ndarray | str | Path]) -> Tensor:
        """Returns pixel values (I, 1, H, W) of grey uint8 arrays, or of files.

        Raises:
            ImageError: a file cannot be read.
        """
        arrays = [
            image if isinstance(image, np.ndarray) else read_image(image, at_least=self.cache_size, dicom=self.dicom)
            for image in images
        ]
        squares = np.stack([fit_square(array, self.cache_size)[0] for array in arrays])
        return torch.from_numpy(apply(self._pipeline, squares))

    def texts(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Returns `input_ids` and `attention_mask` (T, L), padded to the longest."""
        encoded = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        return {name: encoded[name] for name in ("input_ids", "attention_mask")}

    def __call__(
        self, images: Sequence[np.ndarray | str | Path] | None = None, text: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Returns the model's arguments for images, texts or both."""
        pixels = {} if images is None else {"pixel_values": self.images(images)}
        return pixels | ({} if text is None else self.texts(text))

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes the settings and the tokenizer into `folder`."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        settings = {name: getattr(self, name) for name in ("image_size", "cache_size", "max_length", "dicom")}
        (Path(folder) / _FILE).write_text(json.dumps(settings, indent=2))
        self.tokenizer.save_pretrained(str(folder))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> MedCLIPProcessor:
        """Returns the processor that `save_pretrained` wrote.

        Raises:
            FileNotFoundError: `folder` holds none.
        """
        path = Path(folder) / _FILE
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no {_FILE}. Name the model/ folder of a training run.")
        return cls(AutoTokenizer.from_pretrained(str(folder)), **json.loads(path.read_text()))


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


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Returns the tokenizer of the text encoder `name`, a folder or a hub id.

    Raises:
        OSError: it is neither on disk nor to be had.
    """
    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise OSError(
            f"The tokenizer of {name!r} is neither in a folder here nor to be had from the Hugging Face hub. Without a "
            f"network, download it elsewhere and name its folder, or train with 'small'. ({str(error).splitlines()[0]})"
        ) from error
