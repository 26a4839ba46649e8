"""Objectives: encoded images and texts in, named loss terms and their total out. One file each.

| you have                                                  | objective           |
| --------------------------------------------------------- | ------------------- |
| labels on both sides, pairs or not                        | semantic_matching   |
| pairs, a large batch                                      | clip, siglip        |
| pairs, a small batch                                      | moco, convirt       |
| pairs, and phrases that speak of small places             | gloria, filip       |

docs/objectives.md compares them on equal terms.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from medclip.encoded import Encoded


class Objective(nn.Module):
    """Base of all objectives. Constructor arguments are keys of the YAML config.

    Attributes:
        is_plugin: Marks the class that stands for its file.
        needs_pairs: Text k of a batch must be about image k.
        needs_labels: Both sides need label vectors.
        needs_local: Both sides need local features.
        needs_words: The local features of texts are words, not tokens.
        shares_projection: Only local features are compared, so they must pass through the projection that also makes
            the embeddings, which would otherwise learn nothing.
        needs_keys: Both sides need embeddings of momentum towers, which follow with `momentum`.
        initial_scale: What the model's scale starts at.
        learns_scale: Whether the scale is learned; where it is not, `initial_scale` is a fixed temperature's inverse.
        momentum: Share of a momentum tower that stays at each step.
    """

    is_plugin: ClassVar[bool] = True
    needs_pairs: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    needs_local: ClassVar[bool] = False
    needs_words: ClassVar[bool] = False
    shares_projection: ClassVar[bool] = False
    needs_keys: ClassVar[bool] = False
    learns_scale: ClassVar[bool] = True
    initial_scale: float = 1 / 0.07
    momentum: float = 0.0

    def begin(self, *, dim: int, prevalence: Tensor, images: int = 0) -> None:
        """Prepares for training; called once before the first step.

        Args:
            dim: Size of embeddings.
            prevalence: (O,) share of training images that are positive for each observation.
            images: Number of training images; 0 if unknown.
        """

    def forward(self, images: Encoded, texts: Encoded, scale: Tensor) -> dict[str, Tensor]:
        """Returns scalar terms by name; "loss" is the total to minimise.

        Args:
            images: I images.
            texts: T texts.
            scale: The multiplier of cosine similarities, already exponentiated.
        """
        raise NotImplementedError
