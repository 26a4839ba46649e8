"""One step of training: encode, gather, the objective, and how weights are updated."""

from __future__ import annotations

import copy
import logging
import math
from dataclasses import dataclass, replace
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from labelers.errors import UserError
from medclip.data.gpu_transforms import DeviceAugmentation
from medclip.data.loader import Batch
from medclip.encoded import Encoded
from medclip.models import MedCLIPModel
from medclip.models.locking import unlock
from medclip.objectives import Objective
from medclip.training.checkpoints import LOG_EVERY
from medclip.training.distributed import gather, world
from medclip.training.gradient_cache import encode_in_parts
from medclip.training.health import Diverged, LossWatch, alignment, uniformity

logger = logging.getLogger(__name__)

_WORTH_IT = 0.8  # share of the work that two groups of texts may cost


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


class TrainingModule(lightning.LightningModule):
    """A model, an objective, and one step of training.

    Args:
        model: What is trained.
        objective: What is optimised.
        optimisation: Settings of the optimiser.
        seed: Seed of what is random inside the model.
        encode_batch: Inputs encoded at once; larger batches go through the towers in parts, and again in the backward
            pass (gradient caching, Gao et al. 2021, arXiv 2101.06983). 0 for all at once.
        unlock_at: The step from which on locked parts of the model train too; 0 for never.
        own_rows: Each process computes losses for its own rows only, against the inputs of all processes.
        augment: Makes pixel values of batches that hold cached squares.
    """

    def __init__(
        self,
        model: MedCLIPModel,
        objective: Objective,
        *,
        optimisation: Optimisation,
        seed: int,
        encode_batch: int = 0,
        own_rows: bool = False,
        unlock_at: int = 0,
        augment: DeviceAugmentation | None = None,
    ) -> None:
        super().__init__()
        self.model, self.objective = model, objective
        self.momentum = copy.deepcopy(model).requires_grad_(False) if objective.needs_keys else None
        self._optimisation, self._seed, self._unlocked = optimisation, seed, False
        self._encode_batch, self._own_rows, self._unlock_at = encode_batch, own_rows, unlock_at
        self._augment = augment
        self._unchecked: list[tuple[int, dict[str, Tensor]]] = []
        self._watch = LossWatch()

    @property
    def steps(self) -> int:
        """Number of steps in all."""
        return self._optimisation.steps

    def train(self, mode: bool = True) -> TrainingModule:
        """Switches training mode. Momentum towers follow those they are copies of, and keep what these lock locked.

        Their batch normalisation reads the batch, as in He et al. 2020, algorithm 1.
        """
        super().train(mode)
        if self.momentum is not None:
            for slow, fast in zip(self.momentum.modules(), self.model.modules(), strict=True):
                slow.training = fast.training
        return self

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Updates the weights and brings the scale back into its bounds, where a later step can move it again."""
        super().optimizer_step(*args, **kwargs)
        self.model.clamp_scale()

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Moves a batch; from page-locked memory it does not wait."""
        return batch.each(lambda tensor: tensor.to(device, non_blocking=True))

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seeds what is random inside the model by the step, so that a resumed run draws what the first would have."""
        if self._unlock_at and self.global_step >= self._unlock_at and not self._unlocked:
            unlock(self.model)
            self.train()
            self._unlocked = True
        torch.manual_seed((self._seed * 1_000_003 + self.global_step) * 4099 + world()[0])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Encodes, gathers, and returns the loss."""
        if self._augment is not None:
            seed = (self._seed * 1_000_003 + self.global_step) * 4099 + world()[0]
            batch = replace(batch, pixel_values=self._augment(batch.pixel_values, seed=seed))
        images, texts = self._encode(self.model, batch, local=self.objective.needs_local)
        if self.momentum is not None:
            # Here and not after the step, since a checkpoint may be written in between.
            follow(self.momentum, self.model, self.objective.momentum)
            with torch.no_grad():
                image_keys, text_keys = self._encode(self.momentum, batch, local=False)
            images, texts = replace(images, keys=image_keys.embeds), replace(texts, keys=text_keys.embeds)
        images = gather(
            replace(images, labels=batch.image_labels, study_ids=batch.image_studies), own_rows=self._own_rows
        )
        texts = gather(
            replace(texts, labels=batch.text_labels, study_ids=batch.text_studies, ids=batch.text_ids),
            own_rows=self._own_rows,
        )
        terms = self.objective(images, texts, self.model.scale())
        self._unchecked.append((self.global_step, {name: value.detach() for name, value in terms.items()}))
        if self.device.type == "cpu" or self.global_step % LOG_EVERY == 0:
            self.check_finite()
        logged = {f"train/{name}": value for name, value in terms.items()}
        logged["train/scale"] = self.model.logit_scale.detach().exp()
        if self.global_step % LOG_EVERY == LOG_EVERY - 1:
            logged["train/alignment"] = alignment(images, texts)
            logged["train/uniformity_images"] = uniformity(images.embeds)
            logged["train/uniformity_texts"] = uniformity(texts.embeds)
        if self._own_rows and self.global_step % LOG_EVERY == LOG_EVERY - 1:
            # With rows of its own a process knows its share of the loss only.
            logged = {
                name: self.trainer.strategy.reduce(value.detach(), reduce_op="mean") for name, value in logged.items()
            }
        self.log_dict(logged, prog_bar=False)
        return terms["loss"]

    def _encode(self, model: MedCLIPModel, batch: Batch, *, local: bool) -> tuple[Encoded, Encoded]:
        words = batch.word_ids if local else None

        def images_of(pixel_values: Tensor) -> Encoded:
            return model.encode_images(_channels_last(pixel_values), local=local)

        def texts_of(input_ids: Tensor, attention_mask: Tensor, *word_ids: Tensor) -> Encoded:
            return model.encode_texts(
                input_ids, attention_mask, local=local, word_ids=word_ids[0] if word_ids else None
            )

        tokens = (batch.input_ids, batch.attention_mask, *(() if words is None else (words,)))
        images = encode_in_parts(images_of, batch.pixel_values, size=self._encode_batch, model=model)
        by_length = None
        if self.device.type == "cpu" and not self._encode_batch and not local:
            by_length = long_and_short(batch.attention_mask.sum(dim=1))
        if by_length is None:
            texts = encode_in_parts(texts_of, *tokens, size=self._encode_batch, model=model)
        else:
            parts = [texts_of(*(t[rows, :length] for t in tokens)).embeds for rows, length in by_length]
            texts = Encoded(torch.cat(parts)[torch.cat([rows for rows, _ in by_length]).argsort()])
        return images, texts.take(batch.text_rows)

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

    def on_fit_start(self) -> None:
        """Refuses what several processes cannot do, before the first step.

        Raises:
            UserError: Parts are to be unlocked later.
        """
        if self._unlock_at and world()[1] > 1:
            raise UserError(
                "--unlock-after works in one process only, since others would not hear of new gradients. With several, "
                "train in two runs: the second without locks, on the first's model."
            )

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
        parameters = [*self.model.parameters(), *self.objective.parameters()]
        if not self._unlock_at:
            parameters = [p for p in parameters if p.requires_grad]
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


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, momentum: float) -> None:
    """Moves the weights of `slow` towards those of `fast`; `momentum` is the share that stays.

    Buffers are not touched: statistics of batch normalisation belong to the weights that made them.
    """
    for kept, current in zip(slow.parameters(), fast.parameters(), strict=True):
        kept.lerp_(current, 1 - momentum)


def long_and_short(lengths: Tensor) -> list[tuple[Tensor, int]] | None:
    """Returns texts (T,) in two groups by length, as indices and the longest length of each; None if it saves little.

    Texts are padded to the longest of those encoded together, and what is padding is work for nothing.
    """
    ordered, rows = lengths.sort(stable=True)
    count = torch.arange(1, len(lengths) + 1)
    work = count * ordered + (len(lengths) - count) * ordered[-1]
    cut = int(work.argmin())
    if cut + 1 == len(lengths) or int(work[cut]) > _WORTH_IT * len(lengths) * int(ordered[-1]):
        return None
    return [(rows[: cut + 1], int(ordered[cut])), (rows[cut + 1 :], int(ordered[-1]))]


def _channels_last(pixel_values: Tensor) -> Tensor:
    if pixel_values.dim() == 2:  # features
        return pixel_values
    return pixel_values.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
