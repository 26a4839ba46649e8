from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from medclip.models import MedCLIPConfig, MedCLIPModel
from medclip.models.evidence import evidence

TEXT = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "vocab_size": 20}  # fmt: skip
RESNET = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 8, 16], "depths": [1, 1, 1],
          "layer_type": "basic"}  # fmt: skip
VIT = {"model_type": "vit", "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 64,
       "intermediate_size": 16, "patch_size": 16}  # fmt: skip
SWIN = {"model_type": "swin", "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4,
        "image_size": 64, "patch_size": 4}  # fmt: skip
TORCHVISION = {"model_type": "torchvision", "architecture": "resnet18"}
TORCHVISION_SWIN = {"model_type": "torchvision", "architecture": "swin_t"}


def tower_of(vision: dict[str, object]) -> torch.nn.Module:
    torch.manual_seed(0)
    return MedCLIPModel(MedCLIPConfig(vision, TEXT, projection_dim=8)).eval().vision


@pytest.mark.parametrize(
    ("vision", "grid"), [(RESNET, 8), (VIT, 4), (SWIN, 16), (TORCHVISION, 4), (TORCHVISION_SWIN, 2)]
)
def test_every_tower_says_where(vision: dict[str, object], grid: int) -> None:
    tower, texts = tower_of(vision), torch.randn(3, 8)
    pixels = torch.randn(2, 1, 64, 64)
    embeds, maps = evidence(tower, pixels, texts)
    assert maps.shape == (2, 3, grid, grid)
    assert (maps >= 0).all() and maps.amax(dim=(2, 3)).min() > 0
    with torch.no_grad():
        torch.testing.assert_close(embeds, tower(pixels).embeds)


def test_maps_are_activations_times_their_positive_gradients() -> None:
    tower, text = tower_of(RESNET), torch.randn(1, 8)
    pixels = torch.randn(1, 3, 64, 64)
    hidden = tower.backbone(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]
    stage = hidden.detach().requires_grad_()
    pooled = tower.backbone.encoder.stages[-1](stage).mean(dim=(2, 3))
    (functional.normalize(tower.projection(pooled), dim=-1) @ text.T).sum().backward()
    expected = (stage.grad.clamp(min=0) * stage.detach()).sum(dim=1)
    torch.testing.assert_close(evidence(tower, pixels, text)[1][:, 0], expected)


def test_an_image_and_a_text_alone_decide_their_map() -> None:
    tower, texts, pixels = tower_of(RESNET), torch.randn(3, 8), torch.randn(4, 1, 64, 64)
    together = evidence(tower, pixels, texts)[1]
    torch.testing.assert_close(evidence(tower, pixels[2:3], texts[1:2])[1][0, 0], together[2, 1])
