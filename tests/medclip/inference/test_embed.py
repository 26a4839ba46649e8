from __future__ import annotations

import numpy as np
import pytest
import torch

from medclip.inference.embed import embed_images, embed_texts, encode_batches
from medclip.models import MedCLIPModel, MedCLIPProcessor
from medclip.models.model import build_model
from medclip.models.processor import train_tokenizer

FILMS = [np.random.default_rng(i).integers(0, 256, (40 + i, 30), dtype=np.uint8) for i in range(5)]
TEXTS = ["No effusion.", "The heart is enlarged.", "Edema."]


@pytest.fixture(scope="module")
def parts() -> tuple[MedCLIPModel, MedCLIPProcessor]:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(TEXTS)
    return build_model(vocab_size=len(tokenizer), projection_dim=8).eval(), MedCLIPProcessor(tokenizer, image_size=32)


def test_the_size_of_batches_changes_nothing_but_the_reports_of_progress(parts) -> None:
    model, processor = parts
    told: list[tuple[int, int]] = []
    whole = embed_images(model, FILMS, processor)
    assert whole.shape == (5, 8)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-6)
    small = embed_images(model, FILMS, processor, batch_size=2, progress=lambda *counts: told.append(counts))
    np.testing.assert_allclose(small, whole, atol=1e-6)
    assert told == [(2, 5), (4, 5), (5, 5)]
    texts = embed_texts(model, TEXTS, processor)
    np.testing.assert_allclose(embed_texts(model, TEXTS, processor, batch_size=1), texts, atol=1e-6)
    assert embed_texts(model, [], processor).shape == (0, 8)


def test_gradients_are_off_within_a_batch_only(parts) -> None:
    model, processor = parts
    for encoded in encode_batches(model, processor.batches(FILMS, cache=None, batch_size=2), local=True):
        assert not encoded.embeds.requires_grad
        assert encoded.local is not None
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
