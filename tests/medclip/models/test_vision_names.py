from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from transformers import AutoModel, SwinConfig, SwinModel

from labelers.errors import UserError
from medclip.inference.heatmap import heatmaps
from medclip.models import MedCLIPModel
from medclip.models.backbones import build_backbone
from medclip.models.locking import lock
from medclip.models.model import build_model
from medclip.models.timm_backbone import TimmBackbone
from medclip.models.torchvision_backbone import TorchvisionViT
from medclip.models.vision_names import vision_backbone
from medclip.models.weights import load_tower, load_weights, save_tower
from tests.fixtures import runs

SIDE = 64
#: A tower of each family, and the side of its grid of patches for images of 64 pixels.
TOWERS = {
    "ViT": ("timm:test_vit", 4), "MLP-Mixer": ("timm:mixer_s32_224", 2), "EfficientNet": ("timm:test_efficientnet", 2),
    "ResNet": ("timm:test_resnet", 2), "Swin": ("swin", 4), "built-in ViT": ("small-vit", 8),
}  # fmt: skip


@pytest.fixture(scope="module")
def swin(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Returns the folder of a Hugging Face backbone."""
    folder = tmp_path_factory.mktemp("swin")
    small = SwinConfig(image_size=SIDE, patch_size=4, embed_dim=8, depths=[1, 1, 1], num_heads=[1, 1, 2], window_size=4)
    SwinModel(small).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(("name", "side"), TOWERS.values(), ids=TOWERS)
def test_every_family_trains_saves_loads_locks_and_draws_heatmaps(
    name: str, side: int, swin: str, tmp_path: Path
) -> None:
    name = swin if name == "swin" else name
    sized = {"image_size": SIDE, "cache_size": SIDE, "steps": 3, "evaluate_every": 3}
    assert runs.train(tmp_path / "run", "--vision", name, "--lock-vision", "1", studies=40, **sized) == 0
    model = MedCLIPModel.from_pretrained(tmp_path / "run" / "model")
    again, pixels = MedCLIPModel.from_pretrained(tmp_path / "run"), torch.rand(2, 1, SIDE, SIDE)
    with torch.inference_mode():
        images = model.encode_images(pixels, local=True)
        assert torch.equal(images.embeds, again.encode_images(pixels).embeds)
    assert images.grid == (side, side)
    assert heatmaps(images, np.eye(3, 16, dtype=np.float32)).shape == (2, 3, side, side)


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:test_resnet", "timm:test_efficientnet", "small-vit"])
def test_locked_layers_are_the_first_and_all_of_them(name: str) -> None:
    backbone: Any = build_model(vision=name, vocab_size=50, image_size=SIDE).vision.backbone
    lock(backbone, "1")
    trained = [parameter.requires_grad for parameter in backbone.parameters()]
    assert not trained[0]
    assert trained[-1]
    loose = [n for n, p in backbone.named_parameters() if ("cls_token" in n or "pos" in n) and p.requires_grad]
    assert loose == []
    with pytest.raises(UserError, match="how many of the"):
        lock(backbone, "99")


def test_embeddings_of_positions_are_locked_with_the_first_layers() -> None:
    backbone = TorchvisionViT("vit_b_32", image_size=SIDE)
    lock(backbone, "2")
    free = {name.split(".")[2] for name, p in backbone.named_parameters() if p.requires_grad and "layers" in name}
    assert "encoder_layer_1" not in free
    assert "encoder_layer_2" in free
    assert not backbone.class_token.requires_grad
    assert not backbone.encoder.pos_embedding.requires_grad


def test_tokens_of_a_torchvision_transformer_are_its_own() -> None:
    torch.manual_seed(0)
    backbone = TorchvisionViT("vit_b_32", image_size=SIDE).eval()
    torch.manual_seed(0)
    network = torchvision.models.get_model("vit_b_32", image_size=SIDE).eval()  # the same weights
    pixels = torch.rand(1, 3, SIDE, SIDE)
    network.heads = torch.nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(backbone(pixels)[:, 0], network(pixels))


@pytest.mark.parametrize("architecture", ["test_vit", "test_vit3", "test_convnext", "test_resnet"])
def test_features_of_timm_are_its_own(architecture: str) -> None:
    backbone, pixels = TimmBackbone(architecture, image_size=SIDE).eval(), torch.rand(2, 3, SIDE, SIDE)
    with torch.no_grad():
        expected = backbone.model.forward_features(pixels)
        found, previous = backbone.stages(pixels, previous=True)
    tokens = getattr(backbone.model, "num_prefix_tokens", 0)
    if expected.dim() == 3:
        assert torch.equal(found[:, -16:], expected[:, tokens:])
    else:
        assert torch.equal(found, expected)
    assert previous is not None
    assert previous.dim() == 4


def test_previous_stage_of_every_library_is_taken() -> None:
    for name in ("timm:test_resnet", "timm:test_vit", "small-vit"):
        model = build_model(vision=name, vocab_size=50, image_size=SIDE, vision_local="previous", projection_dim=8)
        assert model.encode_images(torch.rand(1, 1, SIDE, SIDE), local=True).local.shape[2] == 8


@pytest.mark.parametrize(
    ("name", "said"),
    [("timm:mixer_b16_225", "no model 'mixer_b16_225'.*mixer_b16_224"), ("torchvision:resnet51", "no model 'resnet51'"),
     ("torchvision:maxvit_t", "does not end in a feature map")],
)  # fmt: skip
def test_towers_that_there_are_not_are_refused(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        build_model(vision=name, vocab_size=50, image_size=50)


@pytest.mark.parametrize(
    ("name", "original"),
    [("torchvision:resnet18", torchvision.models.resnet18),
     ("timm:test_efficientnet", lambda: timm.create_model("test_efficientnet"))],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_in_a_file_are_loaded_by_the_names_of_their_library(
    name: str, original: Any, suffix: str, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    network, file = original(), tmp_path / f"weights{suffix}"
    if suffix == ".pth":  # as many training scripts save them
        torch.save({"state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}}, file)
    else:
        save_file(network.state_dict(), file)
    backbone: Any = vision_backbone(name, image_size=SIDE, weights=str(file))[1]
    theirs = network.state_dict()
    for own, value in backbone.state_dict().items():
        assert torch.equal(value, theirs[backbone.original_names()[own]])


def test_weights_of_a_hugging_face_classifier_are_loaded(swin: str, tmp_path: Path) -> None:
    source = AutoModel.from_pretrained(swin)
    state = {f"swin.{name}": value + 1 for name, value in source.state_dict().items() if value.is_floating_point()}
    save_file(state | {"classifier.weight": torch.zeros(2, 64)}, tmp_path / "w.safetensors")
    backbone: Any = vision_backbone(swin, weights=str(tmp_path / "w.safetensors"))[1]
    assert torch.equal(backbone.layernorm.weight, source.layernorm.weight + 1)


def test_weights_of_another_architecture_or_size_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), file)
    with pytest.raises(UserError, match=r"of \d+ weights of the image tower are not in it"):
        vision_backbone("timm:test_vit", image_size=SIDE, weights=str(file))
    save_file(timm.create_model("test_vit").state_dict(), file)
    with pytest.raises(UserError, match=r"pos_embed is .*--image-size"):
        vision_backbone("timm:test_vit", image_size=SIDE, weights=str(file))
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        vision_backbone("timm:test_vit", weights=str(tmp_path / "nowhere.pth"))


def test_code_in_a_file_of_weights_is_not_run(tmp_path: Path) -> None:
    class Bad:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": {"a": Bad()}}, tmp_path / "bad.pth")
    with pytest.raises(UserError, match="holds code"):
        load_weights(build_backbone({"model_type": "timm", "architecture": "test_resnet"})[0], tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["timm:test_vit", "torchvision:resnet18", "small-vit"])
def test_saved_towers_are_towers_by_name(name: str, tmp_path: Path) -> None:
    backbone: Any = build_model(vision=name, vocab_size=50, image_size=SIDE).vision.backbone
    save_tower(backbone, tmp_path / "run" / "tower")
    again: Any = vision_backbone(str(tmp_path / "run"), image_size=SIDE)[1]
    assert all(torch.equal(a, b) for a, b in zip(backbone.parameters(), again.parameters(), strict=True))
    if name != "small-vit":
        (tmp_path / "run" / "tower" / "model.safetensors").unlink()
        with pytest.raises(UserError, match="does not hold the weights"):
            load_tower(tmp_path / "run" / "tower")


def test_a_file_of_weights_is_looked_for_before_anything_else(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--vision-weights"):
        runs.train(tmp_path / "run", "--vision-weights", str(tmp_path / "nowhere.pth"))
