"""Checkpoints in the layout of OpenAI's CLIP, such as CheXzero's, by the names transformers gives them."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from medclip.models.conversion.shapes import count

State = dict[str, Tensor]
Renamed = tuple[State, dict[str, Any], dict[str, str]]
_LAYER = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1",
          "mlp.c_proj": "mlp.fc2"}  # fmt: skip


def is_openai_clip(state: State) -> bool:
    """Tells whether the weights are of a CLIP with a vision transformer."""
    return {"visual.conv1.weight", "visual.proj", "token_embedding.weight", "text_projection"} <= set(state)


def openai_vision(state: State) -> Renamed:
    """Returns weights, configuration and the original name of each, of the image tower."""
    width, _, patch, _ = state["visual.conv1.weight"].shape
    positions = state["visual.positional_embedding"]
    layers = count(state, r"visual\.transformer\.resblocks\.(\d+)\.")
    names = {
        "embeddings.class_embedding": "visual.class_embedding",
        "embeddings.patch_embedding.weight": "visual.conv1.weight",
        "embeddings.position_embedding.weight": "visual.positional_embedding",
        **_both("pre_layrnorm", "visual.ln_pre"),
        **_both("post_layernorm", "visual.ln_post"),
    }
    config = {
        "model_type": "clip_vision_model", "hidden_size": width, "num_hidden_layers": layers, "patch_size": patch,
        "num_attention_heads": max(1, width // 64), "intermediate_size": 4 * width,
        "image_size": math.isqrt(len(positions) - 1) * patch,
    }  # fmt: skip
    return _renamed(state, names, config, "visual.transformer.resblocks", layers, "vision_model")


def openai_text(state: State) -> Renamed:
    """Returns the same of the text tower."""
    vocabulary, width = state["token_embedding.weight"].shape
    layers = count(state, r"transformer\.resblocks\.(\d+)\.")
    names = {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        **_both("final_layer_norm", "ln_final"),
    }
    config = {
        "model_type": "clip_text_model", "hidden_size": width, "num_hidden_layers": layers, "vocab_size": vocabulary,
        "num_attention_heads": max(1, width // 64), "intermediate_size": 4 * width,
        "max_position_embeddings": len(state["positional_embedding"]), "eos_token_id": vocabulary - 1,
        "bos_token_id": max(0, vocabulary - 2), "pad_token_id": vocabulary - 1,
    }  # fmt: skip
    return _renamed(state, names, config, "transformer.resblocks", layers, "text_model")


def _both(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.{part}": f"{theirs}.{part}" for part in ("weight", "bias")}


def _renamed(
    state: State, names: dict[str, str], config: dict[str, Any], blocks: str, layers: int, prefix: str
) -> Renamed:
    """Returns everything renamed; the joint query, key and value of a layer are cut in three."""
    for i in range(layers):
        for theirs, ours in _LAYER.items():
            names |= _both(f"encoder.layers.{i}.{ours}", f"{blocks}.{i}.{theirs}")
    weights = {ours: state[theirs] for ours, theirs in names.items()}
    for i in range(layers):
        for part in ("weight", "bias"):
            joint = f"{blocks}.{i}.attn.in_proj_{part}"
            for name, value in zip("qkv", state[joint].chunk(3), strict=True):
                ours = f"encoder.layers.{i}.self_attn.{name}_proj.{part}"
                weights[ours], names[ours] = value, joint
    return (
        {f"{prefix}.{name}": value for name, value in weights.items()},
        config,
        {f"{prefix}.{name}": origin for name, origin in names.items()},
    )
