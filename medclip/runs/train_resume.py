"""Whether a folder holds this run of training, finished or begun, and where to resume it."""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict
from pathlib import Path

from labelers.errors import UserError
from medclip.data.overlap import FINGERPRINTS, PATIENTS
from medclip.runs.settings import PretrainConfig, TrainConfig
from medclip.runs.settings.base import read_yaml
from medclip.training.checkpoints import damage, newest
from medclip.utils.parallel import is_first_process

logger = logging.getLogger(__name__)

#: Settings that may differ when a run is resumed: they change where it runs, not what comes out.
FREE = {"output", "resume", "overwrite", "workers", "devices", "accelerator", "threads", "prepared", "data_root",
         "nodes", "strategy", "compile", "step_times", "loggers", "save_every", "keep"}  # fmt: skip
#: What a run leaves in its folder.
_LEFT = (
    "model",
    "tower",
    "checkpoints",
    "logs",
    "metrics.json",
    "config.yaml",
    PATIENTS,
    FINGERPRINTS,
    "evaluation",
    "benchmark",
)


def is_complete(output: Path, config: TrainConfig | PretrainConfig) -> bool:
    """Tells whether `output` holds this very run, finished; removes an old run with --overwrite.

    Raises:
        UserError: It holds another run.
    """
    saved = output / "config.yaml"
    begun = saved.is_file() and (any((output / "checkpoints").glob("*.ckpt")) or (output / "metrics.json").is_file())
    if config.overwrite:
        for name in _LEFT if is_first_process() else ():
            path = output / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return False
    if not begun:
        return False
    before = asdict(type(config).load(saved))
    changed = [name for name, value in asdict(config).items() if name not in FREE and before[name] != value]
    if changed:
        raise UserError(
            f"{output} holds a run with other settings ({', '.join(changed)}). Choose another --output, give the same "
            "settings to resume it, or add --overwrite to start again."
        )
    return (output / "metrics.json").is_file()


def threads_of(config: TrainConfig | PretrainConfig) -> int:
    """Returns the number of threads of the run in --output that `config` resumes, 0 where it begins anew.

    Sums in another order differ in their last digits, so a run is resumed with the threads that it began with.
    """
    saved = Path(config.output) / "config.yaml"
    resumes = saved.is_file() and not config.overwrite and config.resume != "never"
    return int(read_yaml(saved).get("threads") or 0) if resumes else 0


def checkpoint_of(config: TrainConfig | PretrainConfig, output: Path) -> Path | None:
    """Returns the checkpoint to resume from, None to start anew.

    Raises:
        UserError: The named checkpoint is damaged or holds more than weights.
    """
    if config.resume == "never" or config.overwrite:  # with several processes, one may still be deleting
        return None
    if config.resume == "auto":
        found = newest(output / "checkpoints")
        if found is not None:
            logger.info("Resuming from %s", found)
        return found
    if reason := damage(Path(config.resume)):
        raise UserError(f"--resume {config.resume}: not a usable checkpoint ({reason}).")
    return Path(config.resume)
