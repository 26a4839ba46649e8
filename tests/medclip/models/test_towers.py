from __future__ import annotations

import pytest
import torch
import torchvision
from torch.nn import functional

from medclip.models.model import build_model, check_inputs
from medclip.models.torchvision_backbone import TorchvisionBackbone


@pytest.mark.parametrize(
    "architecture",
    ["densenet121", "efficientnet_b0", "swin_t", "resnet18", pytest.param("convnext_tiny", marks=pytest.mark.slow)],
)
def test_features_are_those_of_the_networks_own_forward(architecture: str) -> None:
    torch.manual_seed(0)
    backbone = TorchvisionBackbone(architecture).eval()
    torch.manual_seed(0)
    network = torchvision.models.get_model(architecture).eval()  # the same weights
    seen = {}

    def note(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen["pooled"] = functional.adaptive_avg_pool2d(inputs[0], 1).flatten(1)

    with torch.no_grad():
        pixels = torch.rand(1, 3, 64, 64)
        if hasattr(network, "avgpool"):
            network.avgpool.register_forward_pre_hook(note)
            network(pixels)
        else:  # densenet pools by function
            seen["pooled"] = functional.relu(network.features(pixels)).mean(dim=(2, 3))
        torch.testing.assert_close(backbone(pixels).mean(dim=(2, 3)), seen["pooled"])
        assert backbone.features == seen["pooled"].shape[1]


@pytest.mark.parametrize("architecture", ["maxvit_t", "googlenet"])
def test_networks_without_a_feature_map_are_refused(architecture: str) -> None:
    with pytest.raises(ValueError, match="feature map"):
        TorchvisionBackbone(architecture)


def test_inputs_that_a_tower_cannot_take_are_refused_before_any_work() -> None:
    model = build_model(vocab_size=300).train()
    check_inputs(model, image_size=224, max_length=77)
    assert model.training
    with pytest.raises(ValueError, match=r"--max-length 140: .*128 positions"):
        check_inputs(model, image_size=32, max_length=140)
    with pytest.raises(ValueError, match=r"--image-size 1: the image tower cannot take it"):
        check_inputs(build_model(vision="torchvision:alexnet", vocab_size=300), image_size=1, max_length=9)
