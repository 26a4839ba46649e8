"""The model of `medclip-serve` alone: small, trained on synthetic films when it is first asked for, and kept."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

from medclip.runs.settings import EvaluateConfig, SearchConfig, ServeConfig, TrainConfig
from medclip.utils.progress import Progress

logger = logging.getLogger(__name__)

#: Steps of the training: two minutes on two CPU cores, after which the model tells most observations apart.
STEPS = 300
_SIZE = 64
#: Films of the phantom stand as they stand: only their grey is changed.
_AUGMENTATION = {"crop": 1.0, "flip": 0.0, "jitter": 0.15, "rotate": 0.0, "shift": 0.0, "scale": [1.0, 1.0]}


def folder() -> Path:
    """Returns where the model is kept: in the user's cache folder."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "medclip" / "phantom-1"


def with_first_model(config: ServeConfig, *, steps: int = STEPS, progress: Progress | None = None) -> ServeConfig:
    """Returns the settings with a model: the one they name, or that of synthetic films, which is made if need be.

    Args:
        config: The settings.
        steps: Steps of the training.
        progress: Called with what is done.

    Raises:
        BlockingIOError: Another process makes it now.
    """
    if config.model or config.onnx:
        return config
    root = folder()
    run, index = root / "run", root / "films.safetensors"
    if not index.is_file():
        logger.info("No model is named, so a small one is trained on synthetic films and kept in %s.", root)
        _make(root, run, index, steps=steps, threads=config.threads, progress=progress)
    return replace(config, model=str(run), index=config.index or str(index))


def _make(root: Path, run: Path, index: Path, *, steps: int, threads: int, progress: Progress | None) -> None:
    """Trains, calibrates and evaluates the model, and builds the index, which comes last and says that all is there."""
    from medclip.runs.evaluate import evaluate
    from medclip.runs.search import search
    from medclip.runs.train import train

    studies = 40 * max(20, steps // 4)
    prepared = str(root / "prepared")
    train(
        TrainConfig(
            images="phantom", texts="phantom", source_options={"phantom": {"studies": studies, "size": _SIZE}},
            prepared=prepared, output=str(run), image_size=_SIZE, cache_size=_SIZE, projection_dim=128,
            batch_images=64, batch_texts=64, augmentation=_AUGMENTATION,
            objective_options={"target_temperature": 0.3}, steps=steps,
            evaluate_every=steps // 2, learning_rate=1e-3, loggers="", threads=threads,
        ),
        progress=progress,
    )  # fmt: skip
    evaluate(
        EvaluateConfig(
            model=str(run), on="phantom", evaluators="zero-shot,calibration", calibrate=True, prepared=prepared,
            resamples=100, overwrite=True, threads=threads,
        ),
        progress=progress,
    )  # fmt: skip
    wanted = SearchConfig(model=str(run), index=str(index), images="phantom", prepared=prepared, threads=threads)
    search(wanted, progress=progress)
