"""Training with Lightning: the module, the data module, optimiser groups, and the evaluation that picks checkpoints."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from medclip.distributed import gather, world
from medclip.encoded import Encoded
from medclip.gradient_cache import encode_in_parts
from medclip.models import MedCLIPModel
from medclip.models.locking import unlock
from medclip.objectives import Objective
from medclip.sampling import Batch, Steps, step_loader

logger = logging.getLogger(__name__)

#: Called with the model; returns named numbers.
Evaluate = Callable[[MedCLIPModel], dict[str, float]]


@dataclass(frozen=True)
class Optimisation:
    """How weights are updated: AdamW, linear warm-up, cosine decay to zero.

    Attributes:
        learning_rate: at its peak.
        weight_decay: of matrices; vectors, norms, biases and the scale are not decayed.
        warmup: share of the steps.
        steps: in all.
        clip_norm: bound of the gradient norm; 0 for none.
    """

    learning_rate: float
    weight_decay: float
    warmup: float
    steps: int
    clip_norm: float


class NotFinite(ArithmeticError):
    """The loss became NaN or infinite; the message names the step and the last good checkpoint."""


class TrainingModule(lightning.LightningModule):
    """A model, an objective, and one step of training.

    Args:
        model: what is trained.
        objective: what is optimised.
        optimisation: how.
        seed: of what is random inside the model.
        encode_batch: inputs encoded at once; larger batches go through the towers in parts, and again in the backward
            pass (gradient caching, Gao et al. 2021, arXiv 2101.06983). 0 for all at once.
        unlock_at: the step from which on locked parts of the model train too; 0 for never.
        own_rows: each process computes losses for its own rows only, against the inputs of all processes.
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
    ) -> None:
        super().__init__()
        self.model, self.objective = model, objective
        self.momentum = copy.deepcopy(model).requires_grad_(False) if objective.needs_keys else None
        self._optimisation, self._seed, self._unlocked = optimisation, seed, False
        self._encode_batch, self._own_rows, self._unlock_at = encode_batch, own_rows, unlock_at

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Moves a batch; from page-locked memory it does not wait."""
        return batch.each(lambda tensor: tensor.to(device, non_blocking=True))

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seeds what is random inside the model by the step, so that a resumed run draws what the first would have."""
        rank, size = world()
        if self._unlock_at and self.global_step >= self._unlock_at and not self._unlocked:
            if size > 1:
                raise ValueError(
                    "--unlock-after works in one process only, since others would not hear of new gradients. With "
                    "several, train in two runs: the second without locks, on the first's model."
                )
            unlock(self.model)
            self.model.train()
            self._unlocked = True
        torch.manual_seed((self._seed * 1_000_003 + self.global_step) * 4099 + rank)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Encodes, gathers, and returns the loss."""
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
        texts = gather(replace(texts, labels=batch.text_labels, study_ids=batch.text_studies), own_rows=self._own_rows)
        terms = self.objective(images, texts, self.model.scale())
        if not torch.isfinite(terms["loss"]):
            raise NotFinite(self._not_finite(terms))
        scale = self.model.logit_scale.detach().exp()
        self.log_dict(
            {f"train/{name}": value for name, value in terms.items()} | {"train/scale": scale}, prog_bar=False
        )
        self.log("loss", terms["loss"].detach(), prog_bar=True, logger=False)
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
        return (
            encode_in_parts(images_of, batch.pixel_values, size=self._encode_batch, model=model),
            encode_in_parts(texts_of, *tokens, size=self._encode_batch, model=model),
        )

    def _not_finite(self, terms: dict[str, Tensor]) -> str:
        values = ", ".join(f"{name} {float(value):g}" for name, value in terms.items())
        checkpoint = getattr(self.trainer.checkpoint_callback, "last_model_path", "") or "none yet"
        return (
            f"The loss is not finite at step {self.global_step} ({values}). The last good checkpoint: {checkpoint}. "
            "Lower --learning-rate, or look for images without pixels or labels that are not states."
        )

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
        optimizer = AdamW(groups, lr=o.learning_rate, fused=self.device.type == "cuda")
        schedule = LambdaLR(optimizer, lambda step: warmup_cosine(step, steps=o.steps, warmup=o.warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def warmup_cosine(step: int, *, steps: int, warmup: float) -> float:
    """Returns the share of the peak learning rate at `step`: a linear rise over `warmup`, then half a cosine."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, momentum: float) -> None:
    """Moves the weights of `slow` towards those of `fast`; `momentum` is the share that stays. Buffers are copied."""
    for kept, current in zip(slow.parameters(), fast.parameters(), strict=True):
        kept.lerp_(current, 1 - momentum)
    for stored, now in zip(slow.buffers(), fast.buffers(), strict=True):
        stored.copy_(now)


def _channels_last(pixel_values: Tensor) -> Tensor:
    return pixel_values.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


class StepData(lightning.LightningDataModule):
    """Loads the batches from the step at which training stands to its last."""

    def __init__(self, build: Callable[[int, int], Steps], *, steps: int, workers: int) -> None:
        super().__init__()
        self._build, self._steps, self._workers = build, steps, workers

    def train_dataloader(self) -> Any:
        """Returns the loader; called after a checkpoint was restored, so `global_step` is where to go on."""
        assert self.trainer is not None
        pinned = self.trainer.strategy.root_device.type == "cuda"
        start = self.trainer.global_step
        return step_loader(
            self._build(*world()), start=start, stop=self._steps, workers=self._workers, pin_memory=pinned
        )


def _is_due(trainer: Any, every: int) -> bool:
    """Tells whether this step ends with an evaluation and a checkpoint: every so many, and the last."""
    return bool(trainer.global_step % every == 0 or trainer.global_step >= trainer.max_steps)


class EvaluateEvery(Callback):
    """Runs an evaluation every so many steps and at the end; checkpoints are chosen by what it logs."""

    def __init__(self, evaluate: Evaluate, *, every: int) -> None:
        self._evaluate, self._every = evaluate, every

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Evaluates where it is due."""
        if _is_due(trainer, self._every):
            pl_module.log_dict({f"valid/{k}": v for k, v in evaluate_now(pl_module.model, self._evaluate).items()})


class Checkpoints(ModelCheckpoint):
    """The best and the last checkpoint, written where an evaluation has just been."""

    def __init__(self, folder: Path, *, monitor: str, every: int) -> None:
        super().__init__(
            dirpath=folder, filename="best", monitor=f"valid/{monitor}", mode="max", save_last=True, save_top_k=1,
            every_n_train_steps=1, enable_version_counter=False, save_on_train_epoch_end=False,
        )  # fmt: skip
        self._every = every

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Saves where it is due."""
        if _is_due(trainer, self._every):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


def evaluate_now(model: MedCLIPModel, evaluate: Evaluate) -> dict[str, float]:
    """Returns what `evaluate` says of the model in evaluation mode, leaving mode and random state as they were."""
    training, state = model.training, torch.get_rng_state()
    model.eval()
    try:
        with torch.inference_mode():
            return evaluate(model)
    finally:
        model.train(training)
        torch.set_rng_state(state)


class _Progress(RichProgressBar):
    """The bar with the loss, and without the logger's version number."""

    def get_metrics(self, *args: Any) -> dict[str, Any]:
        """Returns what stands behind the bar."""
        return {name: value for name, value in super().get_metrics(*args).items() if name != "v_num"}


def fit(
    module: TrainingModule,
    data: StepData,
    *,
    optimisation: Optimisation,
    output: Path,
    evaluate: Evaluate,
    monitor: str,
    every: int,
    resume: Path | None = None,
    accelerator: str = "auto",
    devices: int | str = "auto",
    precision: str | None = None,
    progress: bool = True,
) -> ModelCheckpoint:
    """Trains to the last step; returns the checkpoint callback, which knows the best and the last checkpoint.

    Args:
        monitor: the key of `evaluate` that picks the best checkpoint; higher is better.
        every: steps between evaluations.
        resume: the checkpoint to go on from.
        precision: of Lightning; by default bf16-mixed on a GPU that has it and 32-true elsewhere.

    Raises:
        NotFinite: the loss is no number any more.
    """
    checkpoints = Checkpoints(output / "checkpoints", monitor=monitor, every=every)
    callbacks: list[Callback] = [EvaluateEvery(evaluate, every=every), checkpoints, LearningRateMonitor("step")]
    if progress:
        callbacks.append(_Progress())
    loggers: list[Logger] = [
        TensorBoardLogger(output, name="logs", version="tensorboard"),
        CSVLogger(output, name="logs"),
    ]
    trainer = lightning.Trainer(
        accelerator=accelerator,
        devices=devices,
        precision=precision or _precision(accelerator),  # type: ignore[arg-type]
        max_steps=optimisation.steps,
        max_epochs=1,  # one pass over the steps
        gradient_clip_val=optimisation.clip_norm or None,
        callbacks=callbacks,
        logger=loggers,
        log_every_n_steps=10,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    module.train()
    module.model.vision.to(memory_format=torch.channels_last)
    trainer.fit(module, datamodule=data, ckpt_path=resume)
    return checkpoints


def _precision(accelerator: str) -> str:
    on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"
