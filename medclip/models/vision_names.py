"""Image towers by name: built-in ones, those of torchvision and timm, and folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoModel

from labelers.hub import not_to_be_had, on_disk
from medclip.models.backbones import build_backbone
from medclip.models.config import BUILT_IN_VISION
from medclip.models.loading import no_bar
from medclip.models.timm_backbone import TIMM, TimmBackbone
from medclip.models.torchvision_backbone import TORCHVISION, torchvision_backbone
from medclip.models.towers import VisionTower
from medclip.models.weights import load_tower, load_weights


def vision_backbone(name: str, *, image_size: int = 224, weights: str = "") -> tuple[dict[str, Any], nn.Module | None]:
    """Returns the config of an image tower's backbone and, where it has weights of its own, the backbone.

    Args:
        name: See `build_model`.
        image_size: Side of the images, for architectures that have to know it.
        weights: File of weights to load.

    Raises:
        OSError: It is neither on disk nor to be had; the message says what to do.
        UserError: There is no such architecture, or the file does not hold its weights.
    """
    config, backbone = _named(name, image_size)
    if weights:
        backbone = build_backbone(config)[0] if backbone is None else backbone
        load_weights(backbone, weights)
    return config, backbone


def vision_tower(
    name: str, *, image_size: int = 224, weights: str = "", pooling: str = "mean"
) -> tuple[VisionTower, int]:
    """Returns an image tower without a projection, and the size of its features; see `vision_backbone`."""
    config, backbone = vision_backbone(name, image_size=image_size, weights=weights)
    tower = VisionTower(config, projection_dim=0, pooling=pooling, projection="none")
    if backbone is not None:
        tower.backbone = backbone.float()
    return tower, tower.features


def _named(name: str, image_size: int) -> tuple[dict[str, Any], nn.Module | None]:
    if name in BUILT_IN_VISION:
        config = BUILT_IN_VISION[name]
        return config | ({"image_size": image_size} if "patch_size" in config else {}), None
    library, _, rest = name.partition(":")
    if library == TORCHVISION:
        architecture, _, fetched = rest.partition(":")
        sized = {"image_size": image_size} if architecture.startswith("vit_") else {}
        made = torchvision_backbone(architecture, image_size=image_size, weights=fetched) if fetched else None
        return {"model_type": TORCHVISION, "architecture": architecture, **sized}, made
    if library == TIMM:
        architecture, _, tag = rest.partition(".")
        network = TimmBackbone(rest, image_size=image_size, pretrained=True) if tag else None
        return {"model_type": TIMM, "architecture": architecture, "image_size": image_size}, network
    folder = tower_folder(name)
    if (own := load_tower(Path(folder))) is not None:
        return own
    backbone = pretrained(folder, "vision backbone")
    return backbone.config.to_dict(), backbone


def tower_folder(name: str) -> str:
    """Returns the tower's folder of a run of medclip-pretrain, any other name as it is."""
    inside = Path(name) / "tower"
    return str(inside) if (inside / "config.json").is_file() else name


def pretrained(name: str, role: str) -> Any:
    """Returns the Hugging Face model in a folder or of a hub id.

    Raises:
        OSError: It is neither on disk nor to be had; the message says what to do.
    """
    try:
        with no_bar():
            return AutoModel.from_pretrained(on_disk(name))
    except (OSError, ValueError) as error:
        raise OSError(not_to_be_had(role, name, error, " Or train with 'small'.")) from error
