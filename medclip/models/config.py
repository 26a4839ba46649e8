"""The configuration of a MedCLIP model, saved as config.json beside its weights."""

from __future__ import annotations

import math
from typing import Any

from transformers import PretrainedConfig

#: What the arguments of `MedCLIPConfig` may be.
CHOICES = {
    "vision_pooling": ("mean", "cls"),
    "text_pooling": ("mean", "layers", "last4", "cls", "max"),
    "projection": ("linear", "mlp"),
    "vision_local": ("shared", "last", "previous"),
}

#: Towers small enough to train on a laptop; by the names the command line knows them under.
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


class MedCLIPConfig(PretrainedConfig):  # type: ignore[misc]
    """What a MedCLIP model is made of.

    Args:
        vision_config: the vision backbone: a Hugging Face config as a dict with its `model_type`, or
            `{"model_type": "torchvision", "architecture": "resnet50"}`.
        text_config: the text backbone: a Hugging Face config as a dict with its `model_type`.
        projection_dim: D, the size of embeddings.
        logit_scale_init_value: start of the learned log-space scale; ln(1/0.07) as in CLIP and MedCLIP.
        logit_scale_max: its upper bound; ln(100).
        vision_pooling: "mean" over patches, or "cls", the first token.
        text_pooling: over the tokens that are not padding: "mean" or "max" of the last layer, "layers" for the mean
            of layers 1, 2 and the last as in MedCLIP, "last4" for the summed last four layers as in GLoRIA, or "cls".
        projection: "linear", without bias, or "mlp", with one hidden layer as in ConVIRT.
        vision_local: where patches come from: "shared" for the last stage and the projection of the whole image,
            "last" or "previous" for the last or the last but one stage and a projection of their own (GLoRIA's is
            "previous").
    """

    model_type = "medclip"

    def __init__(
        self,
        vision_config: dict[str, Any] | None = None,
        text_config: dict[str, Any] | None = None,
        projection_dim: int = 512,
        logit_scale_init_value: float = math.log(1 / 0.07),
        logit_scale_max: float = math.log(100.0),
        vision_pooling: str = "mean",
        text_pooling: str = "mean",
        projection: str = "linear",
        vision_local: str = "shared",
        **kwargs: Any,
    ) -> None:
        given = {
            "vision_pooling": vision_pooling,
            "text_pooling": text_pooling,
            "projection": projection,
            "vision_local": vision_local,
        }
        for name, value in given.items():
            if value not in CHOICES[name]:
                raise ValueError(f"Found {name}={value!r}; choose from {', '.join(CHOICES[name])}.")
        self.vision_config = dict(vision_config or SMALL_VISION)
        self.text_config = dict(text_config or SMALL_TEXT)
        self.projection_dim = projection_dim
        self.logit_scale_init_value = logit_scale_init_value
        self.logit_scale_max = logit_scale_max
        self.vision_pooling = vision_pooling
        self.text_pooling = text_pooling
        self.projection = projection
        self.vision_local = vision_local
        super().__init__(**kwargs)
