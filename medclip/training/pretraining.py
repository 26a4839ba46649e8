"""One step of training an image tower by images alone."""

from __future__ import annotations

import torch
from torch import Tensor

from medclip.data.views import ViewBatch
from medclip.training.checkpoints import LOG_EVERY
from medclip.training.health import uniformity
from medclip.training.methods._base import Method, features_of
from medclip.training.step_module import Optimisation, StepModule


class PretrainingModule(StepModule):
    """A method, which holds the tower, and one step of training.

    Args:
        method: What is trained.
        optimisation: Settings of the optimiser.
        seed: Seed of what is random inside the method.
    """

    def __init__(self, method: Method, *, optimisation: Optimisation, seed: int) -> None:
        super().__init__(optimisation, seed=seed)
        self.method = method

    def ready(self, *, compiled: bool) -> None:
        """Lays the weights of the tower out as its inputs are, and compiles it if asked to."""
        self.method.tower.to(memory_format=torch.channels_last)
        if compiled:
            self.method.tower.compile()

    def on_train_batch_start(self, batch: ViewBatch, batch_idx: int) -> None:
        """Seeds what is random inside the method by the step, so that a resumed run draws what the first would have."""
        torch.manual_seed(self.step_seed())

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        """Returns the loss."""
        views = list(batch.views)
        terms = self.method(views, progress=self._progress())
        self.note(terms)
        self.log_dict({f"train/{name}": value for name, value in terms.items()}, prog_bar=False)
        if self.global_step % LOG_EVERY == LOG_EVERY - 1:
            self.log("train/uniformity", self._uniformity(views[0]), prog_bar=False)
        return terms["loss"]

    def on_after_backward(self) -> None:
        """Lets the method change its gradients."""
        self.method.after_backward(progress=self._progress())

    def _progress(self) -> float:
        return self.global_step / max(1, self.steps)

    @torch.no_grad()
    def _uniformity(self, images: Tensor) -> Tensor:
        """Returns how evenly the features spread; near 0, all images are one to the tower."""
        tower = self.method.tower
        tower.eval()  # so that no statistics of the tower change
        features = features_of(tower, images)
        tower.train()
        return uniformity(torch.nn.functional.normalize(features.float(), dim=1))
