"""What every training has: seeded steps, an optimiser with its schedule, and losses that are looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import lightning
import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from labelers.errors import UserError
from medclip.training.checkpoints import LOG_EVERY
from medclip.training.distributed import world
from medclip.training.health import Diverged, LossWatch


@dataclass(frozen=True)
class Optimisation:
    """How weights are updated: AdamW, linear warm-up, cosine decay to zero.

    Attributes:
        learning_rate: Learning rate at its peak.
        weight_decay: Weight decay of matrices; vectors, norms, biases and the scale are not decayed.
        warmup: Share of the steps.
        steps: Number of steps in all.
        clip_norm: Bound of the gradient norm; 0 for none.
    """

    learning_rate: float
    weight_decay: float
    warmup: float
    steps: int
    clip_norm: float


class NotFinite(UserError):
    """The loss became NaN or infinite; the message names the step and the last good checkpoint."""


class StepModule(lightning.LightningModule):
    """Base of what is trained step by step.

    Args:
        optimisation: Settings of the optimiser.
        seed: Seed of what is random inside the model.

    Attributes:
        for_memory: What to do where the GPU's memory is not enough, for messages.
    """

    for_memory: ClassVar[str] = "Lower --batch-images"

    def __init__(self, optimisation: Optimisation, *, seed: int) -> None:
        super().__init__()
        self._optimisation, self._seed = optimisation, seed
        self._unchecked: list[tuple[int, dict[str, Tensor]]] = []
        self._watch = LossWatch()

    @property
    def steps(self) -> int:
        """Number of steps in all."""
        return self._optimisation.steps

    def step_seed(self) -> int:
        """Returns the seed of this step in this process."""
        return (self._seed * 1_000_003 + self.global_step) * 4099 + world()[0]

    def trained(self) -> list[nn.Parameter]:
        """Returns what the optimiser updates."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def ready(self, *, compiled: bool) -> None:
        """Gets what is trained ready for its steps, and compiles it if asked to."""
        raise NotImplementedError

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Moves a batch; from page-locked memory it does not wait."""
        return batch.each(lambda tensor: tensor.to(device, non_blocking=True))

    def note(self, terms: dict[str, Tensor]) -> None:
        """Keeps the losses of this step to be looked at, and looks where that does not make a GPU wait."""
        self._unchecked.append((self.global_step, {name: value.detach() for name, value in terms.items()}))
        if self.device.type == "cpu" or self.global_step % LOG_EVERY == 0:
            self.check_finite()

    def check_finite(self) -> None:
        """Looks at the losses since the last look. On a GPU each look waits for it, so there is not one every step.

        Raises:
            NotFinite: one of them was no number.
            Diverged: They are far above where they began.
        """
        unchecked, self._unchecked = self._unchecked, []
        last = self.trainer.checkpoint_callback.last
        good = f"The last good checkpoint: {last if last.is_file() else 'none yet'}."
        for step, terms in unchecked:
            if self._watch.has_diverged(float(terms["loss"])):
                raise Diverged(
                    f"The loss is far above where it began, {float(terms['loss']):.3g} at step {step}. {good} Lower "
                    "--learning-rate, or raise --warmup."
                )
            if not torch.isfinite(terms["loss"]):
                values = ", ".join(f"{name} {float(value):g}" for name, value in terms.items())
                raise NotFinite(
                    f"The loss is not finite at step {step} ({values}). {good} Lower --learning-rate, or look for "
                    "images without pixels or labels that are not states."
                )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what a resumed run must know of its losses."""
        checkpoint["watch"] = self._watch.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the loss monitor."""
        self._watch.load_state_dict(checkpoint.get("watch", {}))

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Clips the gradient norm and logs what it was before.

        Lightning's own clipping refuses fused optimizers under every mixed precision. It must refuse them only where
        the optimizer unscales gradients itself, and `configure_optimizers` fuses nothing there.
        """
        bound = self._optimisation.clip_norm or math.inf
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, bound)
        if self.global_step % LOG_EVERY == LOG_EVERY - 1:
            self.log("train/gradient_norm", norm, prog_bar=False)

    def configure_optimizers(self) -> dict[str, Any]:
        """Returns AdamW with decayed and undecayed groups, and the schedule."""
        o = self._optimisation
        parameters = self.trained()
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": o.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        optimizer = AdamW(groups, lr=o.learning_rate, fused=fuses(self.device) and not scaled)
        schedule = LambdaLR(optimizer, lambda step: warmup_cosine(step, steps=o.steps, warmup=o.warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def fuses(device: torch.device) -> bool:
    """Tells whether the optimizer updates all weights in one kernel; tests of GPU settings on a CPU replace it."""
    return device.type == "cuda"


def warmup_cosine(step: int, *, steps: int, warmup: float) -> float:
    """Returns the share of the peak learning rate at `step`: a linear rise over `warmup`, then half a cosine."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))
