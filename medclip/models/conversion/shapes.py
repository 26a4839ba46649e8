"""Configurations read off the shapes of weights."""

from __future__ import annotations

import math
import re
from typing import Any

from torch import Tensor

from labelers.errors import UserError

State = dict[str, Tensor]
_RESNETS: dict[tuple[str, tuple[int, ...]], str] = {
    ("basic", (2, 2, 2, 2)): "resnet18",
    ("basic", (3, 4, 6, 3)): "resnet34",
    ("bottleneck", (3, 4, 6, 3)): "resnet50",
    ("bottleneck", (3, 4, 23, 3)): "resnet101",
}


def bert_config(state: State, *, heads: int | None = None) -> dict[str, Any]:
    """Returns the configuration of a BERT; heads, which no shape tells, default to one for 64 features.

    Raises:
        UserError: These are no weights of a BERT.
    """
    try:
        vocabulary, hidden = state["embeddings.word_embeddings.weight"].shape
        return {
            "model_type": "bert",
            "vocab_size": vocabulary,
            "hidden_size": hidden,
            "num_hidden_layers": count(state, r"encoder\.layer\.(\d+)\."),
            "num_attention_heads": heads or max(1, hidden // 64),
            "intermediate_size": state["encoder.layer.0.intermediate.dense.weight"].shape[0],
            "max_position_embeddings": state["embeddings.position_embeddings.weight"].shape[0],
            "type_vocab_size": state["embeddings.token_type_embeddings.weight"].shape[0],
        }
    except KeyError as error:
        raise UserError(f"The text tower is no BERT: it has no {error}.") from error


def swin_config(state: State) -> dict[str, Any]:
    """Returns the configuration of a Swin transformer of 224-pixel images."""
    weight = state["embeddings.patch_embeddings.projection.weight"]
    stages = count(state, r"encoder\.layers\.(\d+)\.")
    tables = [state[f"encoder.layers.{i}.blocks.0.attention.self.relative_position_bias_table"] for i in range(stages)]
    return {
        "model_type": "swin",
        "image_size": 224,
        "patch_size": weight.shape[2],
        "num_channels": weight.shape[1],
        "embed_dim": weight.shape[0],
        "depths": [count(state, rf"encoder\.layers\.{i}\.blocks\.(\d+)\.") for i in range(stages)],
        "num_heads": [table.shape[1] for table in tables],
        "window_size": (math.isqrt(tables[0].shape[0]) + 1) // 2,
    }


def resnet_name(state: State, *, by_number: bool = False) -> str:
    """Returns torchvision's name of a ResNet, whose stages are called layer1 to layer4, or 4 to 7 `by_number`.

    Raises:
        UserError: It is none of resnet18, 34, 50 and 101.
    """
    names = [str(i) for i in range(4, 8)] if by_number else [f"layer{i}" for i in range(1, 5)]
    depths = tuple(count(state, rf"{name}\.(\d+)\.") for name in names)
    block = "bottleneck" if f"{names[0]}.0.conv3.weight" in state else "basic"
    if (block, depths) not in _RESNETS:
        raise UserError(f"The image tower is no ResNet that is known: {block} blocks {depths}.")
    return _RESNETS[block, depths]


def count(state: State, pattern: str) -> int:
    """Returns how many different numbers the group of `pattern` takes at the beginning of names."""
    return len({found.group(1) for name in state if (found := re.match(pattern, name))})
