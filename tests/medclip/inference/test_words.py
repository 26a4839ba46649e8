from __future__ import annotations

import numpy as np
import pytest
import torch

from medclip.inference.embed import embed_texts
from medclip.inference.words import words_of
from medclip.models import MedCLIPModel, MedCLIPProcessor
from medclip.models.model import build_model
from medclip.models.processor import train_tokenizer

SENTENCE = "No small effusion."


def made(**options: str) -> tuple[MedCLIPModel, MedCLIPProcessor]:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["No pleural effusion.", "smal"], vocab_size=40)  # "small" is in pieces
    model = build_model(vocab_size=len(tokenizer), projection_dim=8, **options).eval()
    return model, MedCLIPProcessor(tokenizer, image_size=32)


def test_parts_of_words_and_of_what_is_no_word_add_up_to_the_sentence() -> None:
    model, processor = made()
    words = words_of(model, processor, SENTENCE)
    assert words.texts == ["No", "small", "effusion"]
    tokens = processor.texts(SENTENCE)
    assert tokens["input_ids"].shape[1] > 6  # more pieces than words
    with torch.no_grad():
        pooled, hidden = model.text.pool(**tokens)
        whole = model.text.projection(pooled)[0]
        rest = model.text.projection(hidden[0, [0, -2, -1]]).sum(dim=0)  # [CLS], the full stop, [SEP]
    rest = (rest / (len(hidden[0]) * whole.norm())).numpy()
    np.testing.assert_allclose(
        words.directions.sum(axis=0) + rest, embed_texts(model, [SENTENCE], processor)[0], atol=1e-5
    )


def test_words_of_patches_are_of_unit_length() -> None:
    words = words_of(*made(text_pooling="cls"), SENTENCE, kind="patches")
    np.testing.assert_allclose(np.linalg.norm(words.directions, axis=1), 1, atol=1e-5)


def test_words_that_have_no_part_of_their_own_are_refused() -> None:
    with pytest.raises(ValueError, match="its texts are pooled by cls and projected by linear"):
        words_of(*made(text_pooling="cls"), SENTENCE)
