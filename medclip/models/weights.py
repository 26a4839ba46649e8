"""Weights of image towers in files: those of others, and folders of towers that this package wrote."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from labelers.errors import UserError
from medclip.models.backbones import OtherBackbone, build_backbone
from medclip.models.conversion.checkpoint_file import State, read_state
from medclip.models.timm_backbone import TIMM
from medclip.models.torchvision_backbone import TORCHVISION
from medclip.utils.io import write_atomically

logger = logging.getLogger(__name__)

#: Weights that a file may lack: counters, and poolers that no pooling of ours reads.
_SPARE = ("num_batches_tracked", "pooler.dense.weight", "pooler.dense.bias", "position_ids")


def load_weights(backbone: nn.Module, file: str | Path) -> None:
    """Loads weights of the same architecture from a file, by the names of the library that the backbone is of.

    A prefix of all names, such as "backbone.", and the weights of a head are left aside. Nothing in the file is run.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: The file is no checkpoint, or lacks weights of this architecture, or they have other shapes.
    """
    state, own = read_state(Path(file)), backbone.state_dict()
    names = backbone.original_names() if isinstance(backbone, OtherBackbone) else {name: name for name in own}
    prefix = _prefix(state, set(names.values()))
    found = {name: state[prefix + original] for name, original in names.items() if prefix + original in state}
    lacking = [name for name in names if name not in found and not name.endswith(_SPARE)]
    if lacking:
        raise UserError(
            f"--vision-weights {file}: {len(lacking)} of {len(names)} weights of the image tower are not in it, such "
            f"as {names[lacking[0]]!r}; it holds {len(state)}, such as {next(iter(state))!r}. Expected weights of the "
            "same architecture, by the names of the library that --vision names."
        )
    for name, value in found.items():
        _check_shape(names[name], value, own[name], file)
    backbone.load_state_dict(found, strict=False)
    used = {prefix + original for original in names.values()}
    if aside := [name for name in state if name not in used]:
        logger.info("%s: %d weights are no part of the image tower, such as %s", file, len(aside), aside[0])


def _prefix(state: State, wanted: set[str]) -> str:
    """Returns what stands before the names of `wanted` in `state`, as it fits most of them."""
    rarest = max(wanted, key=len)
    prefixes = {"", *(name.removesuffix(rarest) for name in state if name.endswith(f".{rarest}"))}
    return max(sorted(prefixes), key=lambda prefix: sum(prefix + name in state for name in wanted))


def _check_shape(name: str, value: Tensor, wanted: Tensor, file: str | Path) -> None:
    if value.shape != wanted.shape:
        raise UserError(
            f"--vision-weights {file}: {name} is {tuple(value.shape)}, and the image tower has {tuple(wanted.shape)}. "
            "Name the architecture and --image-size that the weights were trained with."
        )


def save_tower(backbone: Any, folder: Path) -> None:
    """Writes a backbone as a folder that `--vision` takes: config.json and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    if not isinstance(backbone, OtherBackbone):
        backbone.save_pretrained(folder)
        return
    state = {name: value.detach().cpu().contiguous() for name, value in backbone.state_dict().items()}
    write_atomically(folder / "model.safetensors", lambda path: save_file(state, path))
    text = json.dumps(backbone.described, indent=2)
    write_atomically(folder / "config.json", lambda path: path.write_text(text))


def load_tower(folder: Path) -> tuple[dict[str, Any], nn.Module] | None:
    """Returns the config and the backbone that `save_tower` wrote, None where it is one of transformers.

    Raises:
        UserError: The folder lacks its weights, or they are of another architecture.
    """
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if config.get("model_type") not in (TORCHVISION, TIMM):
        return None
    backbone, _ = build_backbone(config)
    try:
        backbone.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, RuntimeError) as error:
        raise UserError(f"{folder} does not hold the weights of {config['architecture']} ({error}).") from error
    return config, backbone
