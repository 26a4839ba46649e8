from __future__ import annotations

import numpy as np
import pytest
import torch

from medclip.objectives._targets import entropy, label_similarity, soft_cross_entropy


def test_cosine_by_hand() -> None:
    images = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    texts = torch.tensor([[1.0, 0.0, 0.0], [-1.0, -1.0, 0.0]])
    np.testing.assert_allclose(label_similarity(images, texts), [[2**-0.5, -1.0], [0.0, 0.0]], atol=1e-6)


def test_dot_is_the_plain_product() -> None:
    images, texts = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 1.0]])
    assert label_similarity(images, texts, kind="dot").item() == 2


def test_unknown_similarity() -> None:
    with pytest.raises(ValueError, match="cosine, dot"):
        label_similarity(torch.ones(1, 1), torch.ones(1, 1), kind="euclid")


def test_soft_cross_entropy_agrees_with_a_loop() -> None:
    rng = np.random.default_rng(0)
    logits, targets = rng.standard_normal((3, 4)), rng.dirichlet(np.ones(4), 3)
    total = 0.0
    for row, wanted in zip(logits, targets, strict=True):
        for value, share in zip(row, wanted, strict=True):
            total -= share * (value - np.log(np.exp(row).sum()))
    assert soft_cross_entropy(torch.tensor(logits), torch.tensor(targets)).item() == pytest.approx(total / 3)


def test_entropy_is_the_floor_of_soft_cross_entropy() -> None:
    targets = torch.tensor([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]], dtype=torch.float64)
    assert soft_cross_entropy(targets.clamp(min=1e-12).log(), targets).item() == pytest.approx(entropy(targets).item())


def test_an_uncertain_claim_counts_half_and_rare_observations_keep_shares() -> None:
    images = torch.tensor([[1.0, 0.0]])
    sure, possible, both = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.0]]), torch.tensor([[1.0, 1.0]])
    assert label_similarity(images, sure, kind="claims").item() == 1
    assert label_similarity(images, possible, kind="claims").item() == 0.5
    assert label_similarity(images, both, kind="claims", weights=torch.tensor([3.0, 1.0])).item() == 0.75
    assert label_similarity(images, torch.zeros(1, 2), kind="claims").item() == 0
