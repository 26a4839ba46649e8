"""What happens around the steps of training: evaluation, the bar on screen, and where the time goes."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar

from medclip.models import MedCLIPModel
from medclip.training.checkpoints import is_due

logger = logging.getLogger(__name__)

#: Called with the model; returns named numbers.
Evaluate = Callable[[MedCLIPModel], dict[str, float]]
#: The parts of a step, in order.
PARTS = ("data", "transfer", "forward", "backward", "optimiser", "validation and checkpoints")


class EvaluateEvery(Callback):
    """Runs an evaluation every so many steps and at the end; checkpoints are chosen by what it logs.

    With several processes the first one evaluates, and the others wait for its numbers. Loggers get them once, at
    their step.
    """

    def __init__(self, evaluate: Evaluate, *, every: int) -> None:
        self._evaluate, self._every = evaluate, every

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Evaluates where it is due."""
        if not is_due(trainer, self._every):
            return
        metrics = evaluate_now(pl_module.model, self._evaluate) if trainer.is_global_zero else {}
        named = {f"valid/{name}": value for name, value in trainer.strategy.broadcast(metrics).items()}
        pl_module.log_dict(named, logger=False)
        for logger in trainer.loggers:
            logger.log_metrics(named, step=trainer.global_step)


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


class Lines(Callback):
    """Logs a line with loss, validation and time left after each validation, and between them where nobody watches.

    Args:
        monitor: Metric of the validation that is named.
        every: Steps between lines where there is no terminal.
    """

    def __init__(self, *, monitor: str, every: int = 50) -> None:
        self._monitor, self._every, self._began, self._validated = monitor, every, (0.0, 0), math.nan

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begins to count time."""
        self._began = time.monotonic(), trainer.global_step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Logs a line where one is due."""
        if not trainer.is_global_zero:
            return
        score = float(trainer.callback_metrics.get(f"valid/{self._monitor}", math.nan))
        validated = score != self._validated and score == score
        if not validated and (sys.stderr.isatty() or trainer.global_step % self._every):
            return
        since, first = self._began
        left = (
            (time.monotonic() - since) / max(1, trainer.global_step - first) * (trainer.max_steps - trainer.global_step)
        )
        said = f", {self._monitor} {score:.4f}" if validated else ""
        self._validated = score
        logger.info(
            "Step %d of %d: loss %.4f%s, %.0f min %02.0f s left", trainer.global_step, trainer.max_steps,
            float(outputs["loss"]), said, left // 60, left % 60,
        )  # fmt: skip


class Progress(RichProgressBar):
    """The bar with loss and time left, without the logger's version number; it looks at the loss now and then only."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=10)
        self._loss: float | None = None

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Looks at the loss now and then; each look waits for the GPU."""
        if self._loss is None or trainer.global_step % self.refresh_rate == 0:
            self._loss = float(outputs["loss"])
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training"

    def get_metrics(self, *args: Any) -> dict[str, Any]:
        """Returns what stands behind the bar."""
        return {} if self._loss is None else {"loss": round(self._loss, 4)}


class Profile(Callback):
    """Measures what each part of a step takes; a GPU is waited for after each, so the whole is slower than usual.

    Args:
        skip: First steps that do not count.

    Attributes:
        seconds: By part, over all counted steps.
        steps: How many were counted.
    """

    def __init__(self, *, skip: int = 5) -> None:
        self._skip, self._since, self._on_gpu = skip, 0.0, False
        self.seconds, self.steps, self._seen = dict.fromkeys(PARTS, 0.0), 0, 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begins to measure."""
        self._on_gpu = pl_module.device.type == "cuda"
        for name, before, after in (
            ("transfer_batch_to_device", "data", "transfer"),
            ("on_train_batch_end", "", "validation and checkpoints"),
        ):
            setattr(pl_module, name, self._around(getattr(pl_module, name), before, after))
        self._since = time.perf_counter()

    def _around(self, hook: Callable[..., Any], before: str, after: str) -> Callable[..., Any]:
        @wraps(hook)
        def measured(*args: Any, **kwargs: Any) -> Any:
            if before:
                self._mark(before)
            result = hook(*args, **kwargs)
            self._mark(after)
            return result

        return measured

    def _mark(self, part: str) -> None:
        """Counts the time since the last mark for `part`."""
        if self._on_gpu:
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self._seen >= self._skip:
            self.seconds[part] += now - self._since
        self._since = now

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        """Ends the forward pass."""
        self._mark("forward")

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Ends the backward pass."""
        self._mark("backward")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Ends the update."""
        self._mark("optimiser")
        self._seen += 1
        self.steps += self._seen > self._skip

    def rows(self) -> list[tuple[str, float, float]]:
        """Returns each part with its milliseconds a step and its share."""
        steps, whole = max(self.steps, 1), max(sum(self.seconds.values()), 1e-12)
        return [(part, 1000 * value / steps, value / whole) for part, value in self.seconds.items()]
