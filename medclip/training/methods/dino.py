"""DINO: to say of one view what a slow copy says of another (Caron et al. 2021, arXiv 2104.14294)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightly.loss.dino_loss import DINOLoss
from lightly.models.modules.heads import DINOProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor, nn

from medclip.training.methods._base import Method, Start, features_of, slow_copy

_STEPS = 1_000_000  # into which schedules are cut


class DINO(Method):
    """Algorithm 1 with two large views and no small ones: a small part of a film seldom tells what the whole one does.

    Args:
        start: What it starts from.
        momentum: Share of the slow copy that stays at the first step; it rises to 1 by half a cosine.
        output_dim: Number of dimensions in which views are told apart; the paper's 65,536 are for a million images.
        student_temperature: Divides the outputs that are trained.
        teacher_temperature: Divides those of the slow copy, after the warm-up.
        warmup: Share of the steps in which the temperature of the slow copy rises from 0.04.
        frozen: Share of the steps in which the last layer keeps its weights.
    """

    def __init__(
        self,
        start: Start,
        *,
        momentum: float = 0.99,
        output_dim: int = 4096,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        warmup: float = 0.1,
        frozen: float = 0.05,
    ) -> None:
        super().__init__(start)

        def head(freeze: int) -> DINOProjectionHead:
            return DINOProjectionHead(
                start.features, 2 * start.features, 128, output_dim, freeze_last_layer=freeze, norm_last_layer=True
            )

        self.head, slow_head = head(1), head(0)
        slow_head.load_state_dict(self.head.state_dict())  # what normalises its weights cannot be copied
        deactivate_requires_grad(slow_head)
        self.slow = nn.ModuleList([slow_copy(self.tower), slow_head])
        self.loss = DINOLoss(output_dim, student_temp=student_temperature)
        self.momentum, self.frozen = momentum, frozen
        self.warmup, self.teacher_temperature = warmup, teacher_temperature

    def forward(self, views: Sequence[Tensor], *, progress: float) -> dict[str, Tensor]:
        """Returns the loss; see `Method.forward`."""
        tower, head = self.slow
        momentum = cosine_schedule(round(progress * _STEPS), _STEPS, self.momentum, 1.0)
        update_momentum(self.tower, tower, momentum)
        update_momentum(self.head, head, momentum)
        students = [self.head(features_of(self.tower, view)) for view in views]  # each (I, K)
        with torch.no_grad():
            teachers = [head(features_of(tower, view)) for view in views]
        return {"loss": self.loss(teachers, students, teacher_temp=self.temperature(progress))}

    def temperature(self, progress: float) -> float:
        """Returns the temperature of the slow copy when a share of the steps is done."""
        risen = min(1.0, progress / self.warmup) if self.warmup else 1.0
        return 0.04 + risen * (self.teacher_temperature - 0.04)

    def after_backward(self, *, progress: float) -> None:
        """Keeps the last layer as it is in the first steps."""
        self.head.cancel_last_layer_gradients(current_epoch=int(progress >= self.frozen))
