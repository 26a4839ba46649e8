"""Trains an image tower by images alone: what `medclip-pretrain` calls, and a notebook."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import torch

from labelers.errors import UserError
from medclip.data.cache import ImageCache
from medclip.data.cache_formats import open_cache
from medclip.data.overlap import keep
from medclip.data.transforms import ViewAugmentation, views_from
from medclip.data.views import ViewSteps
from medclip.models.vision_names import tower_folder, vision_tower
from medclip.models.weights import save_tower
from medclip.runs.pretrain_data import find_pretrain_sources, images_drawn, prepare_pretrain_data
from medclip.runs.settings import PretrainConfig
from medclip.runs.train_resume import checkpoint_of, is_complete
from medclip.training.checkpoints import Checkpoints
from medclip.training.methods._base import Method, Start
from medclip.training.pretraining import PretrainingModule
from medclip.training.step_module import Optimisation
from medclip.training.trainer import Machine, Plan, StepData, fit
from medclip.utils.io import locked, write_atomically
from medclip.utils.parallel import is_first_process
from medclip.utils.plugins import check_options, load_plugin
from medclip.utils.progress import Progress
from medclip.utils.text import first_line, names_in

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PretrainResult:
    """What a run left behind.

    Attributes:
        tower: Folder of the tower, for `--vision`.
        metrics: Contents of metrics.json: method, steps, the last losses, and the sources.
        resumed: Whether the run had been complete before, so that nothing was trained.
    """

    tower: Path
    metrics: dict[str, Any]
    resumed: bool = False


def pretrain(config: PretrainConfig, *, progress: Progress | None = None, bar: bool = True) -> PretrainResult:
    """Trains an image tower as configured; resumes an interrupted run, and returns a complete one as it is.

    Only images of the train split are used.

    Args:
        config: The settings.
        progress: Called while sources are prepared.
        bar: Whether training shows a progress bar.

    Raises:
        UserError: A setting is wrong, a loss became NaN, infinite or diverged, or another run is in the folder.
        FileNotFoundError: A source is not where it was looked for.
        ImportError: Lightly is not installed; the message says how.
        Stopped: The run was told to stop, and saved; the same call resumes it.

    Examples:
        >>> import medclip
        >>> config = medclip.PretrainConfig(
        ...     images="phantom", source_options={"phantom": {"studies": 60, "size": 32}}, cache_size=32,
        ...     image_size=32, batch_images=8, steps=2, method="rotation", output="runs/tower",
        ... )
        >>> medclip.pretrain(config, bar=False).tower.name
        'tower'
    """
    sources = find_pretrain_sources(config)
    output = Path(config.output)
    augmentation = views_from(config.augmentation)
    with locked(output) if is_first_process() else nullcontext():
        if is_complete(output, config):
            return PretrainResult(output / "tower", json.loads((output / "metrics.json").read_text()), resumed=True)
        with torch.random.fork_rng(devices=[]):
            _method(config, images=config.batch_images)  # a wrong name or size is told before data are prepared
        checkpoint = checkpoint_of(config, output)
        tables, manifests = prepare_pretrain_data(config, sources, progress=progress)
        return _pretrain(config, augmentation, checkpoint, tables, manifests, bar=bar)


def _method(config: PretrainConfig, *, images: int) -> Method:
    """Returns the method, with its tower.

    Raises:
        UserError: The tower, the method or one of its options is unknown, or they do not go together.
    """
    kind = load_plugin("training.methods", config.method)
    check_options("method", config.method, kind, config.method_options)
    torch.manual_seed(config.seed)
    tower, features = vision_tower(
        config.vision, image_size=config.image_size, weights=config.vision_weights, pooling=config.vision_pooling
    )
    method: Method = kind(Start(tower, features, config.image_size, images), **config.method_options)
    try:
        with torch.no_grad():
            tower.eval().pool(torch.zeros(1, 1, config.image_size, config.image_size))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise UserError(
            f"--image-size {config.image_size}: the image tower cannot take it ({first_line(error)}). Choose the size "
            "it was made for, or a multiple of 32."
        ) from error
    return method


def _pretrain(
    config: PretrainConfig,
    augmentation: ViewAugmentation,
    checkpoint: Path | None,
    tables: Sequence[pd.DataFrame],
    manifests: list[dict[str, object]],
    *,
    bar: bool,
) -> PretrainResult:
    if config.threads:
        torch.set_num_threads(config.threads)
    lightning.seed_everything(config.seed, verbose=False)
    output, cache = Path(config.output), open_cache(Path(config.prepared), config.cache_size, dicom=config.dicom)
    table, weights = images_drawn(tables, source_shares=config.image_weights)
    method, keys = _method(config, images=len(table)), table["_key"].to_numpy(dtype=object)
    steps = config.steps or max(1, round(config.epochs * len(keys) / config.batch_images))
    logger.info("Training by %d images for %d steps", len(keys), steps)
    if is_first_process():
        config.save(output / "config.yaml")

    def batches(rank: int, world: int) -> ViewSteps:
        return ViewSteps(
            keys, cache, views=method.views, batch_images=config.batch_images, image_size=config.image_size,
            augmentation=augmentation, seed=config.seed, weights=weights, rank=rank, world=world,
        )  # fmt: skip

    optimisation = Optimisation(config.learning_rate, config.weight_decay, config.warmup, steps, config.clip_norm)
    module = PretrainingModule(method, optimisation=optimisation, seed=config.seed)
    checkpoints = Checkpoints(
        output / "checkpoints", monitor="none", every=steps, save_every=min(config.save_every, steps), keep=config.keep
    )
    plan = Plan(
        steps=steps, output=output, evaluate=None, checkpoints=checkpoints, every=steps, resume=checkpoint,
        loggers=names_in(config.loggers), bar=bar,
    )  # fmt: skip
    fit(module, StepData(batches, steps=steps, workers=config.workers), plan, _machine(config))
    metrics = _finish(config, module, checkpoints, tables, manifests, cache) if module.global_rank == 0 else {}
    return PretrainResult(output / "tower", metrics)


def _machine(config: PretrainConfig) -> Machine:
    return Machine(
        accelerator=config.accelerator, devices=config.devices if config.devices == "auto" else int(config.devices),
        nodes=config.nodes, strategy=config.strategy, precision=config.precision, compile=config.compile,
    )  # fmt: skip


def _finish(
    config: PretrainConfig,
    module: PretrainingModule,
    checkpoints: Checkpoints,
    tables: Sequence[pd.DataFrame],
    manifests: list[dict[str, object]],
    cache: ImageCache,
) -> dict[str, Any]:
    """Saves the tower and what is known of the run; returns the contents of metrics.json."""
    output = Path(config.output)
    save_tower(module.method.tower.backbone.eval().float(), output / "tower")
    patients = set().union(*(table.loc[table["split"] == "train", "patient_id"] for table in tables))
    keep(tables, cache, output / "tower", patients=patients, before=Path(tower_folder(config.vision)))
    metrics = {"method": config.method, "steps": module.steps, "last": checkpoints.logged, "sources": manifests}
    text = json.dumps(metrics, indent=2)
    write_atomically(output / "metrics.json", lambda path: path.write_text(text))
    return metrics
