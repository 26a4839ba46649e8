"""One map for each word of a sentence, as FILIP and GLoRIA draw them; the pieces of a word count together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from labelers.errors import UserError

if TYPE_CHECKING:
    from medclip.models import MedCLIPModel, MedCLIPProcessor


@dataclass(frozen=True)
class Words:
    """The W words of a sentence as directions, for `medclip.inference.heatmap.text_maps`.

    Attributes:
        texts: W words as they were written, without punctuation.
        directions: (W, D); for `evidence` the part of each word in the sentence's embedding, for `patches` its own
            unit vector.
    """

    texts: list[str]
    directions: np.ndarray


def words_of(model: MedCLIPModel, processor: MedCLIPProcessor, sentence: str, *, kind: str = "evidence") -> Words:
    """Returns the words of a sentence.

    With `patches`, a word is what training compared with patches (FILIP, Yao et al. 2022; GLoRIA, Huang et al. 2021):
    the sum of its pieces in the shared space. With `evidence`, for objectives that compare whole texts, it is the
    word's part of the sentence: where tokens are averaged and projected linearly, the embedding is a sum over words,
    and so is its similarity to an image; special tokens have the rest.

    Args:
        model: In evaluation mode.
        processor: Its processor, with a fast tokenizer.
        sentence: One text.
        kind: "evidence" or "patches", see `medclip.inference.heatmap.MAPS`.

    Raises:
        UserError: The sentence has no words; its tokenizer does not say which piece is of which word; or the embedding
            is no sum over words.
    """
    config = model.config
    if kind == "evidence" and (config.text_pooling != "mean" or config.text_projection not in ("linear", "none")):
        raise UserError(
            f"Words have no part of their own in this model: its texts are pooled by {config.text_pooling} and "
            f"projected by {config.text_projection}, and only a mean with a linear projection is a sum over words. Ask "
            "for whole phrases; or, where training compared words with patches (filip, gloria), add --maps patches."
        )
    if not processor.tokenizer.is_fast:
        raise UserError("The tokenizer of this model does not say which piece belongs to which word. Ask for phrases.")
    encoded = processor.tokenizer([sentence], truncation=True, max_length=processor.max_length)
    numbers = [-1 if word is None else word for word in encoded.word_ids(0)]
    spans = {word: encoded.word_to_chars(0, word) for word in sorted(set(numbers) - {-1})}
    texts = {word: sentence[span.start : span.end] for word, span in spans.items()}
    kept = [word for word, text in texts.items() if any(char.isalnum() for char in text)]
    if not kept:
        raise UserError(f"--words {sentence!r}: there is no word in it.")
    tokens = processor.texts(sentence)
    with torch.inference_mode():
        local = model.encode_texts(
            **{name: value.to(model.device) for name, value in tokens.items()}, local=True,
            word_ids=torch.tensor([numbers], device=model.device),
        ).local  # fmt: skip
        pooled, _ = model.text.pool(**{name: value.to(model.device) for name, value in tokens.items()})
        length = float(model.text.projection(pooled).norm()) * len(numbers)
    assert local is not None
    directions = local[0, kept].float().cpu().numpy()
    if kind == "patches":
        directions = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    else:
        directions = directions / max(length, 1e-12)
    return Words([texts[word] for word in kept], directions)
