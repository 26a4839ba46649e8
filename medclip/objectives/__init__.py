"""Objectives: encoded images and texts in, named loss terms and their total out. One file each.

| you have                                        | objective           |
| ----------------------------------------------- | ------------------- |
| labels on both sides, pairs or not              | semantic_matching   |
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from medclip.encoded import Encoded


class Objective(nn.Module):
    """Base of all objectives. Constructor arguments are keys of the YAML config.

    Attributes:
        is_plugin: marks the class that stands for its file.
        needs_pairs: images and texts must come from shared studies, in the same order.
        needs_labels: both sides need label vectors.
        needs_local: both sides need local features.
    """

    is_plugin: ClassVar[bool] = True
    needs_pairs: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    needs_local: ClassVar[bool] = False

    def forward(self, images: Encoded, texts: Encoded, scale: Tensor) -> dict[str, Tensor]:
        """Returns scalar terms by name; "loss" is the total to minimise.

        Args:
            images: I images.
            texts: T texts.
            scale: the multiplier of cosine similarities, already exponentiated.
        """
        raise NotImplementedError
