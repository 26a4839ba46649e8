"""Checkpoints that survive: written whole or not at all, the newest few and the best, and looked at before use."""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
import threading
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from medclip.utils.text import first_line

logger = logging.getLogger(__name__)

#: Steps between logged values, and between questions to all processes or to the GPU.
LOG_EVERY = 10

_LAST, _BEST = "last.ckpt", "best.ckpt"


class Checkpoints(Checkpoint):
    """Saves the state of training every so many steps, where it ends, and where it is told to stop.

    `last.ckpt` is the newest, `last.1.ckpt` the one before it, and so on; `best.ckpt` is the one with the highest
    monitored metric. A new one is written beside them and takes its name when it is whole, so a kill at any moment
    leaves one to go on from.

    Args:
        folder: Folder of the checkpoints.
        monitor: A logged metric; higher is better.
        every: Steps between evaluations, after which the best is looked for.
        save_every: Steps between checkpoints; 0 for `every`.
        keep: Number of the newest checkpoints that are kept.

    Attributes:
        every: Steps between evaluations.
        best_score: The highest value of the metric so far, None where it was never defined.
        best_step: After which step.
        logged: Loss and validation metrics of the last evaluation.
    """

    def __init__(self, folder: Path, *, monitor: str, every: int, save_every: int = 0, keep: int = 2) -> None:
        self._folder, self.monitor, self.every, self._keep = folder, monitor, every, keep
        self._save_every = save_every or every
        self._told, self._before = False, dict[signal.Signals, Any]()
        self.best_score: float | None = None
        self.best_step = 0
        self.logged: dict[str, float] = {}

    @property
    def best(self) -> Path:
        """The checkpoint whose model is to be kept: the best, or the last where the metric was never defined."""
        return self._folder / (_LAST if self.best_score is None else _BEST)

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self._folder / _LAST

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Removes what a killed run left unfinished."""
        if trainer.is_global_zero:
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in self._folder.glob(".*.part"):
                path.unlink()

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed run must know of the best."""
        return {"best_score": self.best_score, "best_step": self.best_step, "logged": self.logged}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.best_score, self.best_step = state_dict["best_score"], state_dict["best_step"]
        self.logged = state_dict["logged"]

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Saves where it is due, and where the run was told to stop."""
        told = self._all_told(trainer)
        if told or is_due(trainer, self.every) or is_due(trainer, self._save_every):
            self.save(trainer, evaluated=is_due(trainer, self.every))
        if told and trainer.global_step < trainer.max_steps:
            raise SIGTERMException

    def _all_told(self, trainer: Any) -> bool:
        """Tells whether to stop. Processes agree on it every `LOG_EVERY` steps, since asking waits for all of them."""
        if trainer.world_size == 1:
            return self._told
        if trainer.global_step % LOG_EVERY and not is_due(trainer, self.every):
            return False
        return bool(trainer.strategy.reduce_boolean_decision(self._told, all=False))

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Handles SIGTERM and Ctrl-C: the run stops between two steps, in all processes together."""

        self._told = trainer.received_sigterm

        def tell(number: int, frame: Any) -> None:
            self._told = True
            if number == signal.SIGINT:
                logger.warning("Stopping after this step, to save. Once more to end at once, without saving")
                signal.signal(signal.SIGINT, signal.default_int_handler)

        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGINT)}

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Gives signals back to the trainer, before it gives them back itself."""
        self._give_back()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Gives signals back to the trainer, before it gives them back itself."""
        self._give_back()

    def _give_back(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def save(self, trainer: Any, *, evaluated: bool) -> None:
        """Writes the newest checkpoint, and makes it the best if it is.

        Raises:
            OSError: It cannot be written; those before are as they were.
        """
        trainer.lightning_module.check_finite()
        score = float(trainer.callback_metrics.get(f"valid/{self.monitor}", math.nan))
        is_best = evaluated and math.isfinite(score) and (self.best_score is None or score > self.best_score)
        if evaluated:
            wanted = {k: v for k, v in trainer.callback_metrics.items() if k == "train/loss" or k.startswith("valid/")}
            self.logged = {name: round(float(value), 6) for name, value in wanted.items()}
        if is_best:
            self.best_score, self.best_step = score, trainer.global_step
        part = self._folder / f".{_LAST}.part"
        state, failed = trainer._checkpoint_connector.dump_checkpoint(), ""
        if trainer.is_global_zero:
            try:
                trainer.strategy.checkpoint_io.save_checkpoint(state, part)
                self._take_over(part, is_best=is_best)
            except (OSError, RuntimeError) as error:
                failed = str(error) or type(error).__name__
                part.unlink(missing_ok=True)
        failed = trainer.strategy.broadcast(failed)
        if failed:
            before = next((path for path in candidates(self._folder) if path.is_file()), None)
            raise OSError(
                f"The checkpoint after step {trainer.global_step} could not be written to {self._folder} ({failed}). "
                f"The last good one: {before or 'none yet'}. Free some space, or make the folder writable, and give "
                "the same command again: it resumes from there."
            )

    def _take_over(self, part: Path, *, is_best: bool) -> None:
        with part.open("rb") as file:
            os.fsync(file.fileno())
        if is_best:
            again = self._folder / f".{_BEST}.part"
            again.unlink(missing_ok=True)
            try:
                os.link(part, again)  # the same bytes under two names
            except OSError:
                shutil.copyfile(part, again)
            os.replace(again, self._folder / _BEST)
        for older in range(self._keep - 1, 0, -1):
            before = self._folder / _name(older - 1)
            if before.is_file():
                os.replace(before, self._folder / _name(older))
        os.replace(part, self._folder / _LAST)


def is_due(trainer: Any, every: int) -> bool:
    """Tells whether something is done after this step: every so many, and after the last."""
    return bool(trainer.global_step % every == 0 or trainer.global_step >= trainer.max_steps)


def candidates(folder: Path) -> list[Path]:
    """Returns the checkpoints to go on from, in order; not all need be there."""
    older = sorted(folder.glob("last.*.ckpt"), key=lambda path: int(path.suffixes[0][1:]))
    return [folder / _LAST, *older, folder / _BEST]


def newest(folder: Path) -> Path | None:
    """Returns the newest checkpoint that is whole, None if there is none; warns of those that are not."""
    for path in candidates(folder):
        if not path.is_file():
            continue
        reason = damage(path)
        if reason is None:
            return path
        logger.warning("%s is damaged (%s); going on from the one before", path, reason)
    return None


def damage(path: Path) -> str | None:
    """Returns what is wrong with a checkpoint, None if nothing is: its archive, its checksums and its keys."""
    try:
        with zipfile.ZipFile(path) as archive:
            if broken := archive.testzip():
                return f"{broken} does not have its checksum"
        saved = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever it is, the file cannot be used
        return first_line(error)
    missing = {"state_dict", "optimizer_states", "global_step"} - set(saved)
    return f"it holds no {', '.join(sorted(missing))}" if missing else None


def _name(age: int) -> str:
    return _LAST if age == 0 else f"last.{age}.ckpt"
