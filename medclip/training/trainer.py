"""Runs training with Lightning: the machine, the loggers, the loader, and one call that trains to the last step."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.plugins import TorchCheckpointIO
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy, Strategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data import Dataset

from labelers.errors import UserError
from medclip.data.loader import step_loader
from medclip.training.callbacks import Evaluate, EvaluateEvery, Lines, Progress
from medclip.training.checkpoints import LOG_EVERY, Checkpoints
from medclip.training.distributed import world
from medclip.training.step_module import StepModule
from medclip.utils.extras import install
from medclip.utils.text import first_line


class Stopped(RuntimeError):
    """The run was told to stop before its last step; the same command resumes it."""


class StepData(lightning.LightningDataModule):
    """Loads the batches from the step at which training stands to its last."""

    def __init__(self, build: Callable[[int, int], Dataset[Any]], *, steps: int, workers: int) -> None:
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


@dataclass(frozen=True)
class Machine:
    """What a run runs on; see Lightning's Trainer.

    Attributes:
        accelerator: auto, cpu, gpu or mps.
        devices: Number of devices on each node, or auto.
        nodes: Number of nodes; torchrun and SLURM say it by themselves.
        strategy: auto or ddp.
        precision: Numeric precision; by default bf16-mixed on a GPU that has it and 32-true elsewhere.
        compile: Whether the towers are compiled.
    """

    accelerator: str = "auto"
    devices: int | str = "auto"
    nodes: int = 1
    strategy: str = "auto"
    precision: str | None = None
    compile: bool = False


@dataclass(frozen=True)
class Plan:
    """What one training run does besides drawing batches.

    Attributes:
        steps: Number of optimiser steps in all.
        output: Folder of the run; logs are written below it.
        evaluate: Called with the model; returns the validation's numbers. None for no validation.
        checkpoints: What is saved, and by which number of `evaluate` the best is picked.
        every: Steps between evaluations.
        resume: Checkpoint to resume from.
        loggers: Any of tensorboard, wandb and mlflow; a CSV is always written.
        callbacks: More of Lightning's callbacks.
        bar: Whether a progress bar is shown.
    """

    steps: int
    output: Path
    evaluate: Evaluate | None
    checkpoints: Checkpoints
    every: int
    resume: Path | None = None
    loggers: Sequence[str] = ("tensorboard",)
    callbacks: Sequence[Callback] = ()
    bar: bool = True


def fit(module: StepModule, data: StepData, plan: Plan, machine: Machine = Machine()) -> None:
    """Trains to the last step of the plan.

    Raises:
        NotFinite: The loss is NaN or infinite.
        Diverged: The loss is far above where it began.
        Stopped: The run was told to stop, and saved.
        MemoryError: The GPU's memory is not enough.
        ChildProcessError: A process that loads data died.
    """
    trainer = _lightning(plan, machine)
    module.train()
    module.ready(compiled=machine.compile)
    with _failures_explained(trainer, plan.checkpoints, module.for_memory):
        trainer.fit(module, datamodule=data, ckpt_path=plan.resume)
    if trainer.global_step < plan.steps:
        raise Stopped(f"Stopped after step {trainer.global_step} of {plan.steps}")


def _lightning(plan: Plan, machine: Machine) -> lightning.Trainer:
    evaluation = [EvaluateEvery(plan.evaluate, every=plan.every)] if plan.evaluate else []
    around = [*plan.callbacks, *evaluation, Lines(monitor=plan.checkpoints.monitor), plan.checkpoints]
    return lightning.Trainer(
        accelerator=machine.accelerator,
        devices=machine.devices,
        num_nodes=machine.nodes,
        strategy=_strategy(machine),
        precision=machine.precision or usual_precision(machine.accelerator),  # type: ignore[arg-type]
        plugins=_plugins(),
        sync_batchnorm=machine.accelerator != "cpu" and torch.cuda.is_available(),  # over all GPUs
        max_steps=plan.steps,
        max_epochs=1,  # one pass over the steps
        callbacks=[*around, LearningRateMonitor("step"), *([Progress()] if plan.bar else [])],
        logger=_loggers(plan.loggers, plan.output),
        log_every_n_steps=LOG_EVERY,
        enable_progress_bar=plan.bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


@contextmanager
def _failures_explained(trainer: lightning.Trainer, checkpoints: Checkpoints, for_memory: str) -> Iterator[None]:
    """Turns what can end a run from outside into errors that say what to do."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(f"The GPU's memory is not enough ({first_line(error)}). {for_memory}.") from error
    except SIGTERMException as error:
        raise Stopped(f"Told to stop after step {trainer.global_step}; saved as {checkpoints.last}") from error
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    except (RuntimeError, ConnectionError, EOFError) as error:
        if not _loader_died(error):
            raise
        raise ChildProcessError(
            f"A process that loads data died ({first_line(error)}), perhaps for want of memory. Give the same "
            "command again, with fewer --workers: it resumes from the last checkpoint."
        ) from error


def _loader_died(error: Exception) -> bool:
    """Tells whether a loading process is gone: its loader says so, or what it was sending is cut off."""
    if isinstance(error, RuntimeError):
        return "DataLoader worker" in str(error)
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__", "").startswith("torch.utils.data") for frame, _ in frames)


class DirectIO(TorchCheckpointIO):  # type: ignore[misc]
    """Writes where it is told; `Checkpoints` sees to it that a file is whole before it takes its name."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        torch.save(checkpoint, path)


def _plugins() -> list[Any]:
    """Returns our way of writing, and SLURM without requeueing, unless torchrun started the processes in its job."""
    on_slurm = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
    return [DirectIO(), *([SLURMEnvironment(auto_requeue=False)] if on_slurm else [])]


def _strategy(machine: Machine) -> str | Strategy:
    """Returns how processes share the work. Backbones hold parts that are never used, such as poolers."""
    visible = torch.cuda.device_count() if machine.accelerator != "cpu" else 1
    devices = machine.devices if isinstance(machine.devices, int) else visible
    launched = TorchElasticEnvironment.detect() or SLURMEnvironment.detect()
    if machine.strategy in ("auto", "ddp") and (launched or devices > 1 or machine.nodes > 1):
        return DDPStrategy(static_graph=True)
    return machine.strategy


def _loggers(names: Sequence[str], output: Path) -> list[Logger]:
    """Returns loggers that write below `output`; what they send elsewhere is for their own settings to say."""
    made: list[Logger] = [CSVLogger(output, name="logs")]
    for name in names:
        try:
            if name == "tensorboard":
                made.append(TensorBoardLogger(output, name="logs", version="tensorboard"))
            elif name == "wandb":
                made.append(WandbLogger(name=output.name, save_dir=output, project="medclip"))
            elif name == "mlflow":
                folder = str(output / "mlruns")
                made.append(MLFlowLogger(run_name=output.name, experiment_name="medclip", save_dir=folder))
            else:
                raise UserError(f"--loggers {name}: choose from tensorboard, wandb and mlflow.")
        except ModuleNotFoundError as error:
            raise UserError(f"--loggers {name} needs a package: {install(name)}") from error
    return made


def usual_precision(accelerator: str) -> str:
    """Returns the precision that `auto` means: bf16 where the hardware has it, float32 elsewhere."""
    on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    # Emulated bf16 (V100, T4) is slower than 32 bits.
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
