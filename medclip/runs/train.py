"""Trains a model: what `medclip-train` calls, and a notebook."""

from __future__ import annotations

import json
import logging
import math
import shutil
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import torch

from labelers.errors import UserError
from labelers.observations import LabelPolicy
from medclip.data.cache import PixelCache
from medclip.data.datasets import ImageSide, TextSide, image_side, text_side, with_partners
from medclip.data.gpu_transforms import DeviceAugmentation
from medclip.data.loader import Steps
from medclip.data.subsets import fingerprints
from medclip.data.tokens import cached_tokens
from medclip.data.transforms import Augmentation, augmentation_from
from medclip.evaluation.bootstrap import Metric
from medclip.evaluation.evaluators import EvaluationData
from medclip.evaluation.evaluators.zero_shot import ZeroShot
from medclip.inference.prompts import Prompts, load_prompts
from medclip.models import MedCLIPModel, MedCLIPProcessor
from medclip.models.locking import merge_lora
from medclip.objectives import Objective
from medclip.runs.model_card import model_card
from medclip.runs.settings import TrainConfig
from medclip.runs.train_data import TrainTables, find_train_sources, prepare_train_data
from medclip.runs.train_model import check_towers, new_model
from medclip.training.callbacks import Profile
from medclip.training.checkpoints import Checkpoints, damage, newest
from medclip.training.module import Optimisation, TrainingModule
from medclip.training.trainer import Machine, StepData, fit
from medclip.utils.io import locked, write_atomically
from medclip.utils.parallel import is_first_process
from medclip.utils.plugins import check_options, load_plugin
from medclip.utils.progress import Progress
from medclip.utils.text import names_in

logger = logging.getLogger(__name__)

#: Settings that may differ when a run is resumed: they change where it runs, not what comes out.
_FREE = {"output", "resume", "overwrite", "workers", "devices", "accelerator", "threads", "prepared", "data_root",
         "nodes", "strategy", "compile", "step_times", "loggers", "save_every", "keep"}  # fmt: skip
#: What a run leaves in its folder.
_LEFT = ("model", "checkpoints", "logs", "metrics.json", "config.yaml", "patients.txt", "evaluation")


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


@dataclass(frozen=True)
class _Parts:
    """What the settings name, built before any long work, so that a mistake ends the run at once."""

    objective: Objective
    policy: LabelPolicy
    augmentation: Augmentation
    prompts: dict[str, Prompts]


def train(config: TrainConfig, *, progress: Progress | None = None, bar: bool = True) -> TrainResult:
    """Trains a model as configured; resumes an interrupted run, and returns a complete one as it is.

    Args:
        config: The settings.
        progress: Called while sources are prepared.
        bar: Whether training shows a progress bar.

    Raises:
        UserError: A setting is wrong, a loss became NaN, infinite or diverged, or another run is in the folder.
        FileNotFoundError: A source is not where it was looked for.
        Stopped: The run was told to stop, and saved; the same call resumes it.
    """
    sources = find_train_sources(config)
    output, parts = Path(config.output), _parts(config)
    with locked(output) if is_first_process() else nullcontext():
        if _is_complete(output, config):
            return TrainResult(output / "model", json.loads((output / "metrics.json").read_text()), resumed=True)
        checkpoint = _checkpoint(config, output)
        return _train(config, parts, checkpoint, prepare_train_data(config, sources, progress=progress), bar=bar)


def _parts(config: TrainConfig) -> _Parts:
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
    torch.manual_seed(config.seed)  # objectives can have weights of their own
    objective = kind(**config.objective_options)
    check_towers(config, objective)
    return _Parts(
        objective=objective,
        policy=LabelPolicy(uncertain=config.uncertain, negative=config.negative),
        augmentation=augmentation_from(config.augmentation),
        prompts=load_prompts(config.prompts),
    )


def _is_complete(output: Path, config: TrainConfig) -> bool:
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
    before = asdict(TrainConfig.load(saved))
    changed = [name for name, value in asdict(config).items() if name not in _FREE and before[name] != value]
    if changed:
        raise UserError(
            f"{output} holds a run with other settings ({', '.join(changed)}). Choose another --output, give the same "
            "settings to resume it, or add --overwrite to start again."
        )
    return (output / "metrics.json").is_file()


def _checkpoint(config: TrainConfig, output: Path) -> Path | None:
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


def _train(
    config: TrainConfig, parts: _Parts, checkpoint: Path | None, tables: TrainTables, *, bar: bool
) -> TrainResult:
    if config.threads:
        torch.set_num_threads(config.threads)
    lightning.seed_everything(config.seed, verbose=False)
    _warn_of_flips(parts.augmentation.flip, tables)
    model, processor = new_model(config, tables.sentences, parts.objective)
    cache = PixelCache(Path(config.prepared) / "cache", config.cache_size, dicom=config.dicom)
    data = _StepSettings(config, parts, *_sides(config, parts, tables, cache, processor))
    steps = config.steps or max(1, round(config.epochs * len(data.images.keys) / config.batch_images))
    logger.info("Training on %d images and %d sentences for %d steps", len(data.images.keys), data.texts.drawn, steps)
    prevalence = torch.from_numpy((data.images.labels > 0).mean(axis=0)).float()
    parts.objective.begin(dim=config.projection_dim, prevalence=prevalence, images=len(data.images.keys))
    evaluator = _validation(config, parts, tables, cache)
    output = Path(config.output)
    if is_first_process():
        config.save(output / "config.yaml")
    module = _module(config, parts, model, steps)
    checkpoints = Checkpoints(
        output / "checkpoints", monitor=evaluator.primary, every=min(config.evaluate_every, steps),
        save_every=config.save_every, keep=config.keep,
    )  # fmt: skip
    profile = Profile() if config.step_times else None
    fit(
        module, StepData(data, steps=steps, workers=config.workers), steps=steps, output=output,
        evaluate=lambda m: means(evaluator(m, processor).metrics), checkpoints=checkpoints,
        every=min(config.evaluate_every, steps), resume=checkpoint, machine=_machine(config),
        loggers=names_in(config.loggers), callbacks=[profile] if profile else [], progress=bar,
    )  # fmt: skip
    metrics = _finish(config, module, checkpoints, processor, tables) if module.global_rank == 0 else {}
    return TrainResult(output / "model", metrics, profile=profile)


def _machine(config: TrainConfig) -> Machine:
    return Machine(
        accelerator=config.accelerator, devices=config.devices if config.devices == "auto" else int(config.devices),
        nodes=config.nodes, strategy=config.strategy, precision=config.precision, compile=config.compile,
    )  # fmt: skip


def _module(config: TrainConfig, parts: _Parts, model: MedCLIPModel, steps: int) -> TrainingModule:
    on_device = config.augment_on == "device"
    return TrainingModule(
        model, parts.objective, seed=config.seed, encode_batch=config.encode_batch, own_rows=config.own_rows,
        optimisation=Optimisation(config.learning_rate, config.weight_decay, config.warmup, steps, config.clip_norm),
        unlock_at=round(config.unlock_after * steps),
        augment=DeviceAugmentation(config.image_size, parts.augmentation) if on_device else None,
    )  # fmt: skip


def _validation(config: TrainConfig, parts: _Parts, tables: TrainTables, cache: PixelCache) -> ZeroShot:
    data = EvaluationData(pd.concat(tables.images, ignore_index=True), cache, split="valid")
    return ZeroShot(data, observations=tables.observations(config), prompts=parts.prompts, resamples=0)


@dataclass(frozen=True)
class _StepSettings:
    """Builds the batches of each process; see `Steps`."""

    config: TrainConfig
    parts: _Parts
    images: ImageSide
    texts: TextSide

    def __call__(self, rank: int, world: int) -> Steps:
        config, paired = self.config, self.parts.objective.needs_pairs
        return Steps(
            self.images, self.texts, batch_images=config.batch_images,
            batch_texts=config.batch_images if paired else config.batch_texts, image_size=config.image_size,
            augmentation=self.parts.augmentation, seed=config.seed, pairs=1.0 if paired else config.pairs,
            rank=rank, world=world, raw=config.augment_on == "device",
        )  # fmt: skip


def _sides(
    config: TrainConfig, parts: _Parts, tables: TrainTables, cache: PixelCache, processor: MedCLIPProcessor
) -> tuple[ImageSide, TextSide]:
    """Returns what batches are drawn from."""
    shared: dict[str, Any] = {"observations": tables.observations(config), "policy": parts.policy}
    shared["study_numbers"] = {}
    images = image_side(
        tables.images, cache=cache, wanted=config.image_weights or None, balance=config.balance_images, **shared
    )
    tokenize = partial(
        cached_tokens, folder=Path(config.prepared) / "tokens", tokenizer=processor.tokenizer,
        max_length=config.max_length, words=parts.objective.needs_words,
    )  # fmt: skip
    texts = text_side(
        tables.sentences, tables.occurrences, reports=tables.reports, tokenize=tokenize,
        wanted=config.text_weights or None, balance=config.balance_texts, repeats=config.repeats,
        denials=config.denials, **shared,
    )  # fmt: skip
    return (with_partners(images, texts) if parts.objective.needs_pairs else images), texts


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
    if checkpoints.best_score is None:
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
        "observations": tables.observations(config),
        "sources": tables.manifests,
    }
    card = model_card(config, metrics=metrics, manifests=tables.manifests, observations=tables.observations(config))
    write_atomically(output / "model" / "README.md", lambda path: path.write_text(card, encoding="utf-8"))
    trained = "\n".join(sorted(fingerprints(tables.patients())))
    write_atomically(output / "patients.txt", lambda path: path.write_text(trained))
    text = json.dumps(metrics, indent=2)
    write_atomically(output / "metrics.json", lambda path: path.write_text(text))
    return metrics
