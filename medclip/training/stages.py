"""Two stages of training: locked parts rest, then train too (Chinese-CLIP, Yang et al. 2022, arXiv 2211.01335)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lightning.pytorch.strategies import DDPStrategy

from medclip.models.locking import unlock
from medclip.training.checkpoints import Checkpoints


@dataclass
class SecondStage:
    """When the second stage begins: after a step, or where validation no longer improves, whichever comes first.

    Attributes:
        at: The step from which on locked parts train too; 0 for none.
        patience: Validations in a row without a better one after which they do; 0 for any number.
        began: The step at which it began.
    """

    at: int = 0
    patience: int = 0
    began: int | None = None

    @property
    def planned(self) -> bool:
        """Whether there is a second stage at all."""
        return bool(self.at or self.patience)

    def is_due(self, step: int, checkpoints: Checkpoints) -> bool:
        """Tells whether it begins before this step; the same in all processes, and in a resumed run."""
        if self.at and step >= self.at:
            return True
        if not self.patience or checkpoints.best_score is None:
            return False
        return step - checkpoints.best_step >= self.patience * checkpoints.every

    def begin(self, trainer: Any, module: Any) -> None:
        """Lets all of the model train, and processes hear of the gradients that are new."""
        unlock(module.model)
        module.train()
        if isinstance(trainer.strategy, DDPStrategy):
            trainer.strategy.model = module
            trainer.strategy.configure_ddp()
