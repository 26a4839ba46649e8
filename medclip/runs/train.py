"""Trains a model: what `medclip-train` calls, and a notebook."""

from __future__ import annotations

import json
import logging
import math
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import torch

from labelers.errors import UserError
from labelers.observations import LabelPolicy
from medclip.data.cache import ImageCache
from medclip.data.cleaning import CleanedPixels
from medclip.data.features import FeatureCache
from medclip.data.gpu_transforms import DeviceAugmentation
from medclip.data.overlap import keep
from medclip.data.transforms import augmentation_from
from medclip.evaluation.bootstrap import Metric
from medclip.evaluation.evaluators import EvaluationData
from medclip.evaluation.evaluators.zero_shot import ZeroShot
from medclip.inference.prompts import load_prompts
from medclip.models import MedCLIPModel, MedCLIPProcessor
from medclip.models.locking import merge_lora
from medclip.models.vision_names import tower_folder
from medclip.runs.model_card import model_card
from medclip.runs.settings import TrainConfig
from medclip.runs.train_batches import Parts, batches_of
from medclip.runs.train_data import TrainTables, cache_of, find_train_sources, preparation_of, prepare_train_data
from medclip.runs.train_features import check_features, image_features, with_text_features
from medclip.runs.train_model import check_towers, new_model
from medclip.runs.train_resume import checkpoint_of, is_complete
from medclip.training.callbacks import Profile
from medclip.training.checkpoints import Checkpoints
from medclip.training.module import TrainingModule
from medclip.training.stages import SecondStage
from medclip.training.step_module import Optimisation
from medclip.training.trainer import Machine, Plan, StepData, fit
from medclip.utils.io import locked, write_atomically
from medclip.utils.parallel import is_first_process
from medclip.utils.plugins import check_options, load_plugin
from medclip.utils.progress import Progress
from medclip.utils.text import names_in

logger = logging.getLogger(__name__)

_SAVE_EVERY = 500  # steps between checkpoints of a run that is not evaluated


@dataclass(frozen=True)
class TrainResult:
    """What a training run left behind.

    Attributes:
        model: Folder of the best model, for `medclip.load_model`.
        metrics: Contents of metrics.json: the best and the last validation, and the sources.
        resumed: Whether the run had been complete before, so that nothing was trained.
        profile: Where the time of a step goes, if that was asked for.
    """

    model: Path
    metrics: dict[str, Any]
    resumed: bool = False
    profile: Profile | None = None


def train(config: TrainConfig, *, progress: Progress | None = None, bar: bool = True) -> TrainResult:
    """Trains a model as configured; resumes an interrupted run, and returns a complete one as it is.

    Args:
        config: The settings.
        progress: Called while sources are prepared, and features of locked towers computed.
        bar: Whether training shows a progress bar.

    Raises:
        UserError: A setting is wrong, a loss became NaN, infinite or diverged, or another run is in the folder.
        FileNotFoundError: A source is not where it was looked for.
        Stopped: The run was told to stop, and saved; the same call resumes it.

    Examples:
        >>> import medclip
        >>> config = medclip.TrainConfig(
        ...     images="phantom", source_options={"phantom": {"studies": 120, "size": 32}}, cache_size=32,
        ...     image_size=32, batch_images=8, batch_texts=8, steps=4, evaluate_every=2, output="runs/mine",
        ... )
        >>> run = medclip.train(config, bar=False)
        >>> run.metrics["steps"]
        4
    """
    sources = find_train_sources(config)
    output, parts = Path(config.output), _parts(config)
    with locked(output) if is_first_process() else nullcontext():
        if is_complete(output, config):
            return TrainResult(output / "model", json.loads((output / "metrics.json").read_text()), resumed=True)
        checkpoint = checkpoint_of(config, output)
        return _train(
            config, parts, checkpoint, prepare_train_data(config, sources, progress=progress), progress, bar=bar
        )


def _parts(config: TrainConfig) -> Parts:
    if config.resume not in ("auto", "never") and not Path(config.resume).is_file():
        raise FileNotFoundError(
            f"--resume {config.resume}: there is no such checkpoint. Write auto, never, or its path."
        )
    kind = load_plugin("objectives", config.objective)
    check_options("objective", config.objective, kind, config.objective_options)
    if kind.shares_projection and config.vision_local != "shared":
        raise UserError(
            f"{config.objective} compares local features only, so with --vision-local {config.vision_local} the "
            "projection of whole images would learn nothing. Use --vision-local shared."
        )
    if config.objective_options.get("unknown") == "mask" and config.negative != "opposite":
        raise UserError(
            f"unknown: mask needs label vectors that tell silence from denial. Found --negative {config.negative}; use "
            "--negative opposite."
        )
    torch.manual_seed(config.seed)  # objectives can have weights of their own
    objective = kind(**config.objective_options)
    check_features(config, objective)
    check_towers(config, objective)
    return Parts(
        objective=objective,
        policy=LabelPolicy(uncertain=config.uncertain, negative=config.negative),
        augmentation=augmentation_from(config.augmentation),
        prompts=load_prompts(config.prompts),
    )


def _train(
    config: TrainConfig,
    parts: Parts,
    checkpoint: Path | None,
    tables: TrainTables,
    progress: Progress | None,
    *,
    bar: bool,
) -> TrainResult:
    if config.threads:
        torch.set_num_threads(config.threads)
    lightning.seed_everything(config.seed, verbose=False)
    _warn_of_flips(parts.augmentation.flip, tables)
    model, processor = new_model(config, tables.sentences, parts.objective)
    cache = cache_of(preparation_of(config))
    cleaning = processor.preprocessing.cleaning
    pixels = CleanedPixels(cache, cleaning) if cleaning else cache
    data, features = batches_of(config, parts, tables, pixels, processor), None
    if config.cache_features:
        features = image_features(config, model, processor, cache, tables.images, progress=progress)
        images = replace(data.images, cache=features)
        texts = with_text_features(config, model, data.texts, progress=progress)
        data = replace(data, images=images, texts=texts)
    count = len(data.images.keys)
    steps = config.steps or max(1, round(config.epochs * count / config.batch_images))
    logger.info("Training on %d images and %d sentences for %d steps", count, data.texts.drawn, steps)
    prevalence = torch.from_numpy((data.images.labels > 0).mean(axis=0)).float()
    parts.objective.begin(dim=config.projection_dim, prevalence=prevalence, images=count)
    evaluator = _validation(config, parts, tables, cache, features) if config.evaluate_every else None
    output = Path(config.output)
    if is_first_process():
        config.save(output / "config.yaml")
    module = _module(config, parts, model, steps)
    checkpoints = _checkpoints(config, steps)
    profile = Profile() if config.step_times else None
    plan = Plan(
        steps=steps, output=output, checkpoints=checkpoints, every=checkpoints.every, resume=checkpoint,
        evaluate=None if evaluator is None else lambda m: means(evaluator(m, processor).metrics),
        loggers=names_in(config.loggers), callbacks=[profile] if profile else [], bar=bar,
    )  # fmt: skip
    fit(module, StepData(data, steps=steps, workers=config.workers), plan, _machine(config))
    metrics = _finish(config, module, checkpoints, processor, tables) if module.global_rank == 0 else {}
    return TrainResult(output / "model", metrics, profile=profile)


def _checkpoints(config: TrainConfig, steps: int) -> Checkpoints:
    every = min(config.evaluate_every or steps, steps)
    save_every = config.save_every or (0 if config.evaluate_every else min(_SAVE_EVERY, steps))
    return Checkpoints(
        Path(config.output) / "checkpoints", monitor=ZeroShot.primary, every=every, save_every=save_every,
        keep=config.keep,
    )  # fmt: skip


def _machine(config: TrainConfig) -> Machine:
    return Machine(
        accelerator=config.accelerator, devices=config.devices if config.devices == "auto" else int(config.devices),
        nodes=config.nodes, strategy=config.strategy, precision=config.precision, compile=config.compile,
    )  # fmt: skip


def _module(config: TrainConfig, parts: Parts, model: MedCLIPModel, steps: int) -> TrainingModule:
    on_device = config.augment_on == "device"
    return TrainingModule(
        model, parts.objective, seed=config.seed, encode_batch=config.encode_batch, own_rows=config.own_rows,
        optimisation=Optimisation(config.learning_rate, config.weight_decay, config.warmup, steps, config.clip_norm),
        second_stage=SecondStage(round(config.unlock_after * steps), config.unlock_patience),
        augment=DeviceAugmentation(config.image_size, parts.augmentation) if on_device else None,
    )  # fmt: skip


def _validation(
    config: TrainConfig, parts: Parts, tables: TrainTables, cache: ImageCache, features: FeatureCache | None
) -> ZeroShot:
    images = pd.concat(tables.images, ignore_index=True)
    data = EvaluationData(images, cache, split="valid", features=features)
    return ZeroShot(data, observations=tables.observations(config), prompts=parts.prompts, resamples=0)


def _warn_of_flips(flip: float, tables: TrainTables) -> None:
    """Warns where left and right are mixed up: sentences name sides, and images are flipped."""
    sided = tables.names_a_side()
    if flip and sided:
        logger.warning(
            "%.0f %% of the sentences name a side, and images are flipped left to right with chance %.2f. Set "
            "augmentation flip to 0 unless a published recipe is to be repeated.", 100 * sided, flip,
        )  # fmt: skip


def means(metrics: dict[str, Metric]) -> dict[str, float]:
    """Returns the metrics worth a curve: the values of those that are defined."""
    return {name: metric.value for name, metric in metrics.items() if metric.value == metric.value}


def _finish(
    config: TrainConfig,
    module: TrainingModule,
    checkpoints: Checkpoints,
    processor: MedCLIPProcessor,
    tables: TrainTables,
) -> dict[str, Any]:
    """Saves the best model by validation and what is known of the run; returns the contents of metrics.json."""
    output = Path(config.output)
    score = math.nan if checkpoints.best_score is None else checkpoints.best_score
    if checkpoints.best_score is None and config.evaluate_every:
        logger.warning("%s is not defined on so few images; the model of the last step is kept", checkpoints.monitor)
    saved = torch.load(checkpoints.best, map_location="cpu", weights_only=True)
    weights = {
        name.removeprefix("model."): value for name, value in saved["state_dict"].items() if name.startswith("model.")
    }
    module.model.load_state_dict(weights)
    merge_lora(module.model)
    module.model.eval().float().save_pretrained(output / "model")
    processor.save_pretrained(output / "model")
    metrics = {
        "steps": module.steps,
        "best": {"step": saved["global_step"], checkpoints.monitor: None if math.isnan(score) else round(score, 6)},
        "last": checkpoints.logged,
        **({} if module.second_stage.began is None else {"second_stage": module.second_stage.began}),
        "observations": tables.observations(config),
        "sources": tables.manifests,
    }
    card = model_card(config, metrics=metrics, manifests=tables.manifests, observations=tables.observations(config))
    write_atomically(output / "model" / "README.md", lambda path: path.write_text(card, encoding="utf-8"))
    cache = cache_of(preparation_of(config))
    keep(tables.images, cache, output, patients=tables.patients(), before=Path(tower_folder(config.vision)))
    text = json.dumps(metrics, indent=2)
    write_atomically(output / "metrics.json", lambda path: path.write_text(text))
    return metrics
