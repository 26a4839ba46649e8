"""Weights of other code to ours: official MedCLIP (ResNet and ViT), GLoRIA, CheXzero and ConVIRT-pytorch checkpoints.

Files are read without running any code in them. Every key of a checkpoint is accounted for.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel

from medclip.models.config import MedCLIPConfig
from medclip.models.conversion.checkpoint_file import CheckpointError, State, read_state
from medclip.models.conversion.openai_clip import is_openai_clip, openai_text, openai_vision
from medclip.models.conversion.shapes import bert_config, resnet_name, swin_config
from medclip.models.model import MedCLIPModel, token_rows

#: Buffers that are the same in every model of a kind; newer code makes them when it needs them.
_COMPUTED = re.compile(r"position_ids$|relative_position_index$|attn_mask$|num_batches_tracked$")
#: What newer transformers calls the parts of a Swin, and what files call them that every version can read.
_SWIN = {
    "attention.q_proj": "attention.self.query", "attention.k_proj": "attention.self.key",
    "attention.v_proj": "attention.self.value", "attention.o_proj": "attention.output.dense",
    "attention.relative_position_bias.": "attention.self.", "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}  # fmt: skip
_TORCHVISION = {"conv1": "body.0", "bn1": "body.1", "layer1": "body.4", "layer2": "body.5", "layer3": "body.6",
                "layer4": "body.7"}  # fmt: skip


#: Of an embedding table, rows that may belong to no token: tables are padded to a multiple of 128 at most.
_PADDING = 127


@dataclass(frozen=True)
class Conversion:
    """What became of a checkpoint.

    Attributes:
        kind: Which code wrote it.
        model: Ours, in evaluation mode.
        used: Its keys that are in the model now.
        unused: Its keys that are not.
        missing: Keys of ours that it did not have.
        processor: Arguments of `MedCLIPProcessor`, by which images are to be prepared.
    """

    kind: str
    model: MedCLIPModel
    used: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]
    processor: dict[str, Any]


@dataclass(frozen=True)
class _Plan:
    """How a kind of checkpoint becomes a model.

    Attributes:
        config: Arguments of `MedCLIPConfig`, without the towers.
        vision: Prefix of the image backbone's keys.
        text: Prefix of the text backbone's keys.
        names: Our name of every other key.
        processor: Arguments of `MedCLIPProcessor`.
    """

    config: dict[str, Any]
    vision: str
    text: str
    names: dict[str, str]
    processor: dict[str, Any] = field(default_factory=dict)


_MEDCLIP: dict[str, Any] = {"text_pooling": "layers_unmasked", "logit_scale_min": 0.0, "logit_scale_max": 4.6052}
_PLANS: dict[str, _Plan] = {
    "medclip-resnet": _Plan(
        _MEDCLIP, "vision_model.model.", "text_model.model.",
        {"logit_scale": "logit_scale", "vision_model.model.fc.weight": "vision.projection.weight",
         "text_model.projection_head.weight": "text.projection.weight"},
        {"resize": "pad-bicubic"},
    ),
    "medclip-vit": _Plan(
        _MEDCLIP, "vision_model.model.", "text_model.model.",
        {"logit_scale": "logit_scale", "vision_model.projection_head.weight": "vision.projection.weight",
         "text_model.projection_head.weight": "text.projection.weight",
         "text_model.projection_head.bias": "text.projection.bias"},
        {"resize": "pad-bicubic"},
    ),
    "gloria": _Plan(
        {"text_pooling": "last4", "projection": "biased", "text_projection": "none", "vision_local": "previous",
         "vision_resize": 299},
        "gloria.img_encoder.model.", "gloria.text_encoder.model.",
        {"gloria.img_encoder.global_embedder.weight": "vision.projection.weight",
         "gloria.img_encoder.global_embedder.bias": "vision.projection.bias",
         "gloria.img_encoder.local_embedder.weight": "vision.local_projection.weight"},
        {"mean": 0.5, "std": 0.5},
    ),
    "chexzero": _Plan(
        {"vision_pooling": "pooler", "text_pooling": "eos"}, "visual.", "",
        {"logit_scale": "logit_scale", "visual.proj": "vision.projection.weight",
         "text_projection": "text.projection.weight"},
        {"mean": 101.48761 / 255, "std": 83.43944 / 255},
    ),
    "convirt": _Plan(
        {"projection": "mlp"}, "res_features.", "bert_model.",
        {f"{theirs}.{what}": f"{tower}.projection.{layer}.{what}"
         for theirs, tower, layer in (("res_l1", "vision", 0), ("res_l2", "vision", 2), ("bert_l1", "text", 0),
                                      ("bert_l2", "text", 2))
         for what in ("weight", "bias")},
        {"mean": 0.0, "std": 1.0},
    ),
}  # fmt: skip


def convert(path: str | Path, *, text_heads: int | None = None) -> Conversion:
    """Returns the model in a checkpoint: a .bin, .pt, .pth, .ckpt or .safetensors file, or a .zip or folder of one.

    Args:
        path: The checkpoint.
        text_heads: Attention heads of its text tower, which no weight tells; by default one for 64 features.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is damaged, holds code, or none of the kinds that are known.
    """
    state = {name.removeprefix("module."): value for name, value in read_state(Path(path)).items()}
    kind = _kind_of(state)
    plan, config = _PLANS[kind], dict(_PLANS[kind].config)
    vision, text = _backbones(kind, state, plan, text_heads)
    named = {ours: state[theirs] for theirs, ours in plan.names.items() if theirs in state}
    if kind == "chexzero":
        named |= {name: value.T.contiguous() for name, value in named.items() if name.endswith("projection.weight")}
    if "vision.local_projection.weight" in named:
        named["vision.local_projection.weight"] = named["vision.local_projection.weight"].flatten(1)
    if "text.projection.bias" in named and config.get("text_projection") is None and kind.startswith("medclip"):
        config["text_projection"] = "biased"
    dim = _projection_dim(named)
    model = MedCLIPModel(
        MedCLIPConfig(vision_config=vision.config, text_config=text.config, projection_dim=dim, **config)
    )
    model.vision.backbone, model.text.backbone = vision.module, text.module
    missing = [*(f"vision.backbone.{m}" for m in vision.missing), *(f"text.backbone.{m}" for m in text.missing)]
    missing += _load_rest(model, named, kind)
    used = sorted({theirs for theirs in plan.names if theirs in state} | vision.used | text.used)
    unused = sorted(set(state) - set(used))
    return Conversion(kind, model.float().eval(), tuple(used), tuple(unused), tuple(missing), plan.processor)


def _kind_of(state: State) -> str:
    if "vision_model.model.conv1.weight" in state:
        return "medclip-resnet"
    if "vision_model.model.embeddings.patch_embeddings.projection.weight" in state:
        return "medclip-vit"
    if "gloria.img_encoder.global_embedder.weight" in state:
        return "gloria"
    if is_openai_clip(state):
        return "chexzero"
    if "res_l1.weight" in state and "bert_l1.weight" in state:
        return "convirt"
    raise CheckpointError(_unknown(state))


def _unknown(state: State) -> str:
    """Returns the message for weights of no known kind."""
    names = ", ".join(list(state)[:4])
    known = f"These {len(state)} weights are of none of {', '.join(_PLANS)}; their keys begin with {names}."
    if any(name.startswith("vision.backbone.") for name in state):
        return f"{known} This is a model of this package already: give its folder to the commands as it is."
    if not any("proj" in name or "embedder" in name for name in state):
        return (
            f"{known} They hold one tower and no projection into a shared space. To train from them, give a folder in "
            "the format of Hugging Face to medclip-train: --vision FOLDER or --text FOLDER."
        )
    return f"{known} Expected is the state_dict of one of these, with the names its authors' code gives."


def check_tokenizer(model: MedCLIPModel, size: int, name: str) -> None:
    """Checks that a tokenizer of `size` tokens is one that the text tower can have been trained with.

    Raises:
        CheckpointError: The table of embeddings has fewer rows, or many more; both sizes are named.
    """
    rows = token_rows(model)
    if not size <= rows <= size + _PADDING:
        raise CheckpointError(
            f"The tokenizer {name!r} has {size:,} tokens, but the text tower of the checkpoint has embeddings of "
            f"{rows:,}. With another tokenizer than it was trained with, a model reads nonsense. Name the right one: "
            "--tokenizer FOLDER or NAME/MODEL."
        )


@dataclass(frozen=True)
class _Backbone:
    module: torch.nn.Module
    config: dict[str, Any]
    used: set[str]
    missing: list[str]


def _backbones(kind: str, state: State, plan: _Plan, heads: int | None) -> tuple[_Backbone, _Backbone]:
    if kind == "chexzero":
        return (
            _hugging_face(*openai_vision(state), set(state)),
            _hugging_face(*openai_text(state), set(state)),
        )
    theirs = {n: v for n, v in state.items() if n.startswith(plan.text) and n not in plan.names}
    inner = {name.removeprefix(plan.text): value for name, value in theirs.items()}
    text = _hugging_face(inner, bert_config(inner, heads=heads), {n: plan.text + n for n in inner}, set(state))
    theirs = {n: v for n, v in state.items() if n.startswith(plan.vision) and n not in plan.names}
    if kind == "medclip-vit":
        origins = {_swin_name(name.removeprefix(plan.vision)): name for name in theirs}
        inner = {ours: theirs[origin] for ours, origin in origins.items()}
        return _hugging_face(inner, swin_config(inner), origins, set(state)), text
    inner = {name.removeprefix(plan.vision): value for name, value in theirs.items()}
    return _torchvision(inner, plan.vision, by_number=kind == "convirt"), text


def _hugging_face(inner: State, config: dict[str, Any], origins: dict[str, str], known: set[str]) -> _Backbone:
    """Returns a backbone read the way transformers reads its own old files, so that renamed parts find their place.

    Args:
        inner: Its weights, by the names transformers once gave them.
        config: Config with its `model_type`.
        origins: The checkpoint's name of each.
        known: All names of the checkpoint.
    """
    full = AutoConfig.for_model(**config)
    with tempfile.TemporaryDirectory() as folder:
        save_file({name: value.contiguous() for name, value in inner.items()}, Path(folder) / "model.safetensors",
                  metadata={"format": "pt"})  # fmt: skip
        full.save_pretrained(folder)
        module, info = AutoModel.from_pretrained(folder, output_loading_info=True)
    unexpected = set(info["unexpected_keys"])
    used = {origin for name, origin in origins.items() if name not in unexpected and origin in known}
    missing = [name for name in info["missing_keys"] if not _COMPUTED.search(name)]
    return _Backbone(module, module.config.to_dict(), used, missing)


def _torchvision(inner: State, prefix: str, *, by_number: bool) -> _Backbone:
    name = resnet_name(inner, by_number=by_number)
    model = MedCLIPModel(
        MedCLIPConfig(vision_config={"model_type": "torchvision", "architecture": name}, projection_dim=2)
    )
    module = model.vision.backbone
    renamed = {_body_name(key, by_number): key for key in inner}
    found = {ours: inner[theirs] for ours, theirs in renamed.items() if ours in module.state_dict()}
    missing = module.load_state_dict(found, strict=False).missing_keys
    config = {"model_type": "torchvision", "architecture": name}
    return _Backbone(module, config, {prefix + renamed[ours] for ours in found}, list(missing))


def _swin_name(name: str) -> str:
    for newer, older in _SWIN.items():
        name = name.replace(newer, older)
    return name


def _body_name(key: str, by_number: bool) -> str:
    first, _, rest = key.partition(".")
    return f"body.{first}.{rest}" if by_number else f"{_TORCHVISION.get(first, first)}.{rest}"


def _projection_dim(named: State) -> int:
    for name in ("vision.projection.weight", "vision.projection.2.weight"):
        if name in named:
            return int(named[name].shape[0])
    raise CheckpointError("The checkpoint has no projection of images, so the size of embeddings is not known.")


def _load_rest(model: MedCLIPModel, named: State, kind: str) -> list[str]:
    """Loads projections and scale; returns what of them is missing."""
    own = {name: value for name, value in model.state_dict().items() if ".backbone." not in name}
    for name, value in named.items():
        if name not in own or own[name].shape != value.shape:
            raise CheckpointError(
                f"{kind}: {name} is {tuple(value.shape)} in the checkpoint and "
                f"{tuple(own[name].shape) if name in own else 'absent'} in the model."
            )
    model.load_state_dict(named, strict=False)
    if kind == "gloria":  # has no learned scale; its similarities are multiplied by ten
        with torch.no_grad():
            model.logit_scale.fill_(torch.tensor(10.0).log())
    return [name for name in own if name not in named and not (name == "logit_scale" and kind in ("gloria", "convirt"))]


#: The kinds of checkpoints that `convert` knows.
KINDS: tuple[str, ...] = tuple(_PLANS)
