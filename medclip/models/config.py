"""The configuration of a MedCLIP model, saved as config.json beside its weights."""

from __future__ import annotations

import math
from typing import Any

from transformers import PretrainedConfig

from labelers.errors import UserError

#: What the arguments of `MedCLIPConfig` may be.
CHOICES = {
    "vision_pooling": ("mean", "cls", "pooler"),
    "text_pooling": ("mean", "max", "layers", "layers_unmasked", "last4", "cls", "eos"),
    "projection": ("linear", "biased", "mlp", "none"),
    "text_projection": ("linear", "biased", "mlp", "none"),
    "vision_local": ("shared", "last", "previous"),
}

#: Towers small enough to train on a laptop.
SMALL_VISION: dict[str, Any] = {
    "model_type": "resnet",
    "embedding_size": 32,
    "hidden_sizes": [32, 64, 128, 256],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
}
SMALL_TEXT: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "max_position_embeddings": 128,
}
#: Half as wide, a third of the work: for curves of many runs.
TINY_VISION: dict[str, Any] = SMALL_VISION | {"embedding_size": 16, "hidden_sizes": [16, 32, 64, 128]}
TINY_TEXT: dict[str, Any] = SMALL_TEXT | {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128}
#: A vision transformer, of about as many weights as the small tower; it has to know the side of its images.
SMALL_VIT: dict[str, Any] = {
    "model_type": "vit",
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "patch_size": 8,
}
#: Towers that are built in, by the names the command line knows them under.
BUILT_IN_VISION = {"small": SMALL_VISION, "tiny": TINY_VISION, "small-vit": SMALL_VIT}
BUILT_IN_TEXT = {"small": SMALL_TEXT, "tiny": TINY_TEXT}


class MedCLIPConfig(PretrainedConfig):  # type: ignore[misc]
    """What a MedCLIP model is made of.

    Args:
        vision_config: The vision backbone: a Hugging Face config as a dict with its `model_type`, or
            `{"model_type": "torchvision", "architecture": "resnet50"}`, or the same of timm.
        text_config: The text backbone: a Hugging Face config as a dict with its `model_type`.
        projection_dim: D, the size of embeddings.
        logit_scale_init_value: Start of the learned log-space scale; ln(1/0.07) as in CLIP and MedCLIP.
        logit_scale_max: Its upper bound; ln(100).
        logit_scale_min: Its lower bound; none, and 0 in the official MedCLIP.
        vision_pooling: "mean" over patches; "cls", the first token; or "pooler", what the backbone itself pools.
        text_pooling: Over the tokens that are not padding: "mean" or "max" of the last layer, "layers" for the mean
            of layers 1, 2 and the last as in MedCLIP, "last4" for the summed last four layers as in GLoRIA, "cls", or
            "eos", the token with the highest id, as in CLIP. "layers_unmasked" counts padding too, so that an
            embedding depends on its neighbours in the batch: the official MedCLIP does, and only its converted
            weights should.
        projection: "linear", without bias; "biased"; "mlp", with one hidden layer as in ConVIRT; or "none".
        text_projection: The same of the text tower, by default as `projection`.
        vision_local: Where patches come from: "shared" for the last stage and the projection of the whole image,
            "last" or "previous" for the last or the last but one stage and a projection of their own (GLoRIA's is
            "previous").
        vision_resize: Side to which the vision tower itself resizes its images, bilinearly; 0 for not at all.

    Examples:
        >>> import medclip
        >>> text = {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        ...         "intermediate_size": 32, "vocab_size": 100}
        >>> vision = {"model_type": "torchvision", "architecture": "resnet18"}
        >>> medclip.MedCLIPConfig(vision, text, projection_dim=16).projection_dim
        16
    """

    model_type = "medclip"

    def __init__(
        self,
        vision_config: dict[str, Any] | None = None,
        text_config: dict[str, Any] | None = None,
        projection_dim: int = 512,
        logit_scale_init_value: float = math.log(1 / 0.07),
        logit_scale_max: float = math.log(100.0),
        logit_scale_min: float | None = None,
        vision_pooling: str = "mean",
        text_pooling: str = "mean",
        projection: str = "linear",
        text_projection: str | None = None,
        vision_local: str = "shared",
        vision_resize: int = 0,
        **kwargs: Any,
    ) -> None:
        given = {
            "vision_pooling": vision_pooling,
            "text_pooling": text_pooling,
            "projection": projection,
            "text_projection": text_projection or projection,
            "vision_local": vision_local,
        }
        for name, value in given.items():
            if value not in CHOICES[name]:
                raise UserError(f"Found {name}={value!r}; choose from {', '.join(CHOICES[name])}.")
        self.vision_config = dict(vision_config or SMALL_VISION)
        self.text_config = dict(text_config or SMALL_TEXT)
        self.projection_dim = projection_dim
        self.logit_scale_init_value = logit_scale_init_value
        self.logit_scale_max = logit_scale_max
        self.logit_scale_min = logit_scale_min
        self.vision_pooling = vision_pooling
        self.text_pooling = text_pooling
        self.projection = projection
        self.text_projection = text_projection or projection
        self.vision_resize = vision_resize
        self.vision_local = vision_local
        super().__init__(**kwargs)
