"""MedCLIPModel: a vision tower, a text tower and the scale between them, as a Hugging Face model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from labelers.errors import UserError
from labelers.hub import not_to_be_had, on_disk
from medclip.encoded import Encoded
from medclip.models.config import BUILT_IN_TEXT, MedCLIPConfig
from medclip.models.loading import no_bar, of_run
from medclip.models.locking import keep_locked
from medclip.models.towers import TextTower, VisionTower
from medclip.models.vision_names import pretrained, vision_backbone
from medclip.utils.text import first_line


@dataclass
class MedCLIPOutput(ModelOutput):  # type: ignore[misc]
    """Embeddings of unit length and their scaled similarities.

    Attributes:
        image_embeds: (I, D).
        text_embeds: (T, D).
        logits_per_image: (I, T).
        logits_per_text: (T, I).
    """

    image_embeds: Tensor | None = None
    text_embeds: Tensor | None = None
    logits_per_image: Tensor | None = None
    logits_per_text: Tensor | None = None


class MedCLIPModel(PreTrainedModel):  # type: ignore[misc]
    """Two towers into one space (MedCLIP, Wang et al. 2022, section 3.2).

    Examples:
        >>> import medclip, torch
        >>> model = medclip.MedCLIPModel.from_pretrained("runs/mine/model")
        >>> embeds = model.get_image_features(pixel_values=torch.zeros(2, 3, 32, 32))
        >>> tuple(embeds.shape) == (2, model.config.projection_dim)
        True
    """

    config_class = MedCLIPConfig
    base_model_prefix = "medclip"
    main_input_name = "pixel_values"

    def __init__(self, config: MedCLIPConfig) -> None:
        super().__init__(config)
        self.vision = VisionTower(
            config.vision_config, projection_dim=config.projection_dim, pooling=config.vision_pooling,
            projection=config.projection, local=config.vision_local, resize=config.vision_resize,
        )  # fmt: skip
        self.text = TextTower(
            config.text_config, projection_dim=config.projection_dim, pooling=config.text_pooling,
            projection=config.text_projection,
        )  # fmt: skip
        self.logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leaves weights as their layers made them; backbones initialise themselves."""

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Returns the model in a folder, of a training run or of a hub id, in evaluation mode.

        Raises:
            OSError: It is neither here nor to be had; the message says what to do without a network.
        """
        name = str(args[0]) if args else ""
        try:
            with no_bar():
                given = {option: kwargs[option] for option in ("revision", "cache_dir") if option in kwargs}
                found = (on_disk(of_run(name), **given), *args[1:]) if args else ()
                return super().from_pretrained(*found, **kwargs)
        except OSError as error:
            raise OSError(not_to_be_had("model", name, error)) from error

    def train(self, mode: bool = True) -> MedCLIPModel:
        """Switches training mode; locked parts stay in evaluation mode."""
        super().train(mode)
        if mode:
            keep_locked(self)
        return self

    def encode_images(self, pixel_values: Tensor, *, local: bool = False) -> Encoded:
        """Encodes pixel values (I, 1 or 3, H, W); with `local`, patches too."""
        return self.vision(pixel_values, local=local)  # type: ignore[no-any-return]

    def encode_texts(
        self, input_ids: Tensor, attention_mask: Tensor, *, local: bool = False, word_ids: Tensor | None = None
    ) -> Encoded:
        """Encodes token ids (T, L); with `local`, tokens too, or words where `word_ids` (T, L) says which is which."""
        return self.text(input_ids, attention_mask, local=local, word_ids=word_ids)  # type: ignore[no-any-return]

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """Returns image embeddings (I, D), unit length."""
        return self.encode_images(pixel_values).embeds

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Returns text embeddings (T, D), unit length; without a mask (T, L), every token counts."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return self.encode_texts(input_ids, mask).embeds

    def scale(self) -> Tensor:
        """Returns the multiplier of similarities: the exponential of `logit_scale`, bounded.

        The bound takes no part in the gradient, so that a scale at its bound can come back.
        """
        bounded = self.logit_scale.clamp(min=self.config.logit_scale_min, max=self.config.logit_scale_max)
        return (self.logit_scale + (bounded - self.logit_scale).detach()).exp()

    @torch.no_grad()
    def clamp_scale(self) -> None:
        """Brings `logit_scale` back into its bounds, which each training step does after its update."""
        self.logit_scale.clamp_(min=self.config.logit_scale_min, max=self.config.logit_scale_max)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> MedCLIPOutput:
        """Encodes what is given; with both sides, compares them."""
        images = self.get_image_features(pixel_values) if pixel_values is not None else None
        texts = None
        if input_ids is not None:
            texts = self.get_text_features(input_ids, attention_mask)
        logits = self.scale() * images @ texts.T if images is not None and texts is not None else None
        return MedCLIPOutput(images, texts, logits, None if logits is None else logits.T)


@torch.no_grad()
def check_inputs(model: MedCLIPModel, *, image_size: int, max_length: int) -> None:
    """Encodes an empty image and a text of the greatest length, which the towers must be able to take.

    Raises:
        UserError: A tower cannot take inputs of this size.
    """
    training = model.training
    model.eval()
    try:
        model.encode_images(torch.zeros(1, 3, image_size, image_size))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise UserError(
            f"--image-size {image_size}: the image tower cannot take it ({first_line(error)}). Choose the size it was "
            "made for, or a multiple of 32."
        ) from error
    try:
        ids = torch.ones(1, max_length, dtype=torch.long)
        model.encode_texts(ids, torch.ones_like(ids))
    except (RuntimeError, ValueError, IndexError) as error:
        limit = getattr(getattr(model.text.backbone, "config", None), "max_position_embeddings", "unknown")
        raise UserError(
            f"--max-length {max_length}: the text tower cannot take so many tokens; it has {limit} positions "
            f"({first_line(error)}). Choose a smaller --max-length."
        ) from error
    model.train(training)


def check_tokens(model: MedCLIPModel, count: int, name: str) -> None:
    """Checks that the text tower has an embedding for each of the `count` tokens of the tokenizer called `name`.

    Raises:
        UserError: It has fewer; both sizes are named.
    """
    rows = token_rows(model)
    if count > rows:
        raise UserError(
            f"--text {name}: its tokenizer has {count:,} tokens, but its text encoder has embeddings of {rows:,}. "
            "Are the files of two models in one folder?"
        )


def token_rows(model: MedCLIPModel) -> int:
    """Returns the number of rows in the text tower's table of embeddings."""
    table: Any = model.text.backbone.get_input_embeddings()  # type: ignore[operator]
    return int(table.num_embeddings)


def build_model(
    *,
    vision: str = "small",
    text: str = "small",
    vocab_size: int | None = None,
    pad_token_id: int = 0,
    image_size: int = 224,
    vision_weights: str = "",
    **options: Any,
) -> MedCLIPModel:
    """Returns a new model to train.

    Args:
        vision: "small", "tiny" or "small-vit"; "torchvision:ARCHITECTURE" or "timm:ARCHITECTURE" (untrained),
            "torchvision:ARCHITECTURE:WEIGHTS" or "timm:ARCHITECTURE.TAG" (fetched by that library, e.g.
            IMAGENET1K_V2); a run of medclip-pretrain; or a folder or hub id of a Hugging Face backbone.
        text: "small" or "tiny", or a folder or hub id of a Hugging Face text encoder.
        vocab_size: Size of the tokenizer's vocabulary, for the small and the tiny text tower.
        pad_token_id: Padding token of the tokenizer.
        image_size: Side of the images, for image towers that have to know it.
        vision_weights: File of weights for the image tower.
        options: Further arguments of `MedCLIPConfig`.

    Raises:
        OSError: A named backbone is neither on disk nor to be had; the message says what to do.
    """
    vision_config, backbone = vision_backbone(vision, image_size=image_size, weights=vision_weights)
    if text in BUILT_IN_TEXT:
        text_config, text_backbone = (
            BUILT_IN_TEXT[text] | {"vocab_size": vocab_size, "pad_token_id": pad_token_id},
            None,
        )
    else:
        text_backbone = pretrained(text, "text encoder")
        text_config = text_backbone.config.to_dict()
    model = MedCLIPModel(MedCLIPConfig(vision_config=vision_config, text_config=text_config, **options))
    if backbone is not None:
        model.vision.backbone = backbone
    if text_backbone is not None:
        model.text.backbone = text_backbone
    return model.float()  # type: ignore[no-any-return]
