"""medclip-train: from sources to a trained model in one command."""

from __future__ import annotations

import logging
import math
import shutil
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medclip.cli.console import command, quieten
from medclip.cli.trained import finish, means, show_profile
from medclip.cli.training_data import check_pairs, patients, prepare, tables, warn_of_flips
from medclip.config import read_config, write_config
from medclip.settings import TrainConfig
from medclip.sources import find_sources
from medclip.utils.io import locked
from medclip.utils.parallel import is_first_process

if TYPE_CHECKING:
    import pandas as pd

    from labelers.observations import LabelPolicy
    from medclip.data.cache import PixelCache
    from medclip.data.datasets import ImageSide, TextSide
    from medclip.data.prepare import Prepared
    from medclip.data.source import Source
    from medclip.data.transforms import Augmentation
    from medclip.inference.prompts import Prompts
    from medclip.models import MedCLIPModel, MedCLIPProcessor
    from medclip.objectives import Objective

logger = logging.getLogger(__name__)

_EXAMPLES = """\
examples:
  medclip-train --config configs/phantom.yaml
  medclip-train --images chexpert --texts mimic-reports --data-root /data --config configs/medclip-swin.yaml
  medclip-train --images nih=/data/CXR8,csv=my/images.csv --texts openi=/data/openi --output runs/mine

Images and texts need not belong together: labels say what fits. Whatever is not yet prepared is prepared first.
The run folder holds model/ (for from_pretrained), checkpoints/, logs/, config.yaml and metrics.json.
A killed run goes on where it was when the same command is given again, and ends as if it had not been killed; one
that gets SIGTERM saves, and ends with code 75. Several GPUs and machines: docs/cluster.md."""

#: Exit code of a run that was told to stop (SIGTERM) and saved: not done, no error, to be given again.
STOPPED = 75
#: Settings that may differ when a run is resumed: they change where it runs, not what comes out.
_FREE = {"resume", "overwrite", "workers", "devices", "accelerator", "threads", "prepared", "data_root",
         "nodes", "strategy", "compile", "profile", "loggers", "save_every", "keep"}  # fmt: skip


def run(argv: list[str]) -> int:
    """Trains a model as configured."""
    config = read_config(
        TrainConfig, argv, prog="medclip-train",
        description="Train MedCLIP on images and texts that need no pairs.", examples=_EXAMPLES,
    )  # fmt: skip
    find = partial(find_sources, data_root=config.data_root, options=config.source_options)
    images, texts = find(config.images), find(config.texts)
    excluded = find(config.exclude) if config.exclude else []
    check_pairs(config, images, texts)
    output = Path(config.output)
    parts = _parts(config)
    with locked(output) if is_first_process() else nullcontext():
        if _is_complete(output, config):
            print(f"{output} holds this run, complete: {output / 'metrics.json'}. To repeat it, add --overwrite.")
            return 0
        checkpoint = _checkpoint(config, output)
        prepared = prepare(config, images, texts)
        return _train(config, output, parts, checkpoint, *prepared, excluded)


@dataclass(frozen=True)
class _Parts:
    """What the settings name, built before any long work, so that a mistake ends it at once."""

    objective: Objective
    policy: LabelPolicy
    augmentation: Augmentation
    prompts: dict[str, Prompts]


def _parts(config: TrainConfig) -> _Parts:
    import torch

    from labelers.observations import LabelPolicy
    from medclip.data.transforms import augmentation_from
    from medclip.inference.prompts import load_prompts
    from medclip.utils.plugins import check_options, load_plugin

    if config.resume not in ("auto", "never") and not Path(config.resume).is_file():
        raise FileNotFoundError(
            f"--resume {config.resume}: there is no such checkpoint. Write auto, never, or its path."
        )
    torch.manual_seed(config.seed)  # objectives can have weights of their own
    kind = load_plugin("objectives", config.objective)
    check_options("objective", config.objective, kind, config.objective_options)
    return _Parts(
        objective=kind(**config.objective_options),
        policy=LabelPolicy(uncertain=config.uncertain, negative=config.negative),
        augmentation=augmentation_from(config.augmentation),
        prompts=load_prompts(config.prompts),
    )


def _is_complete(output: Path, config: TrainConfig) -> bool:
    """Tells whether `output` holds this very run, finished; makes room for a new one.

    Raises:
        ValueError: it holds another run.
    """
    saved = output / "config.yaml"
    begun = saved.is_file() and (any((output / "checkpoints").glob("*.ckpt")) or (output / "metrics.json").is_file())
    if config.overwrite or not begun:
        for name in (
            ("model", "checkpoints", "logs", "metrics.json", "config.yaml", "patients.txt", "evaluation")
            if config.overwrite and is_first_process()
            else ()
        ):
            path = output / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return False
    before = asdict(read_config(TrainConfig, ["--config", str(saved)], prog="medclip-train", description=""))
    changed = [name for name, value in asdict(config).items() if name not in _FREE and before[name] != value]
    if changed:
        raise ValueError(
            f"{output} holds a run with other settings ({', '.join(changed)}). Choose another --output, give the same "
            "settings to go on with it, or add --overwrite to start again."
        )
    return (output / "metrics.json").is_file()


def _train(
    config: TrainConfig,
    output: Path,
    parts: _Parts,
    checkpoint: Path | None,
    images: list[Prepared],
    texts: list[Prepared],
    excluded: list[Source],
) -> int:
    import lightning
    import pandas as pd
    import torch

    from labelers.observations import CHEXPERT14
    from medclip.data.cache import PixelCache
    from medclip.data.gpu_transforms import DeviceAugmentation
    from medclip.data.loader import Steps
    from medclip.data.subsets import fingerprints
    from medclip.evaluation.evaluators import EvaluationData
    from medclip.evaluation.evaluators.zero_shot import ZeroShot
    from medclip.training.callbacks import Profile
    from medclip.training.checkpoints import Checkpoints
    from medclip.training.module import Optimisation, TrainingModule
    from medclip.training.trainer import Machine, StepData, Stopped, fit
    from medclip.utils.io import write_atomically

    quieten()
    if config.threads:
        torch.set_num_threads(config.threads)
    lightning.seed_everything(config.seed, verbose=False)
    warn_of_flips(parts.augmentation.flip, texts)

    image_tables, text_tables, occurrences = tables(config, images, texts, excluded)
    model, processor = _model(config, text_tables, parts.objective)
    cache = PixelCache(Path(config.prepared) / "cache", config.cache_size, dicom=config.dicom)
    image_rows, text_rows, batch_texts, pairs = _sides(
        config, parts, image_tables, (text_tables, occurrences), cache, processor
    )
    prevalence = torch.from_numpy((image_rows.labels > 0).mean(axis=0)).float()
    parts.objective.begin(dim=config.projection_dim, prevalence=prevalence)
    steps = config.steps or max(1, round(config.epochs * len(image_rows.keys) / config.batch_images))
    optimisation = Optimisation(config.learning_rate, config.weight_decay, config.warmup, steps, config.clip_norm)
    logger.info("Training on %d images and %d sentences for %d steps", len(image_rows.keys), text_rows.drawn, steps)

    def build(rank: int, world: int) -> Steps:
        return Steps(
            image_rows, text_rows, batch_images=config.batch_images, batch_texts=batch_texts,
            image_size=config.image_size, augmentation=parts.augmentation, seed=config.seed, pairs=pairs,
            rank=rank, world=world, raw=config.augment_on == "device",
        )  # fmt: skip

    valid = EvaluationData(pd.concat(image_tables, ignore_index=True), cache, split="valid")
    evaluator = ZeroShot(valid, observations=config.observations or CHEXPERT14, prompts=parts.prompts, resamples=0)
    output.mkdir(parents=True, exist_ok=True)
    if is_first_process():
        write_atomically(output / "config.yaml", lambda path: write_config(config, path))
    module = TrainingModule(
        model, parts.objective, optimisation=optimisation, seed=config.seed, encode_batch=config.encode_batch,
        own_rows=config.own_rows, unlock_at=round(config.unlock_after * steps),
        augment=DeviceAugmentation(config.image_size, parts.augmentation) if config.augment_on == "device" else None,
    )  # fmt: skip
    checkpoints = Checkpoints(
        output / "checkpoints", monitor=evaluator.primary, every=min(config.evaluate_every, steps),
        save_every=config.save_every, keep=config.keep,
    )  # fmt: skip
    machine = Machine(
        accelerator=config.accelerator, devices=config.devices if config.devices == "auto" else int(config.devices),
        nodes=config.nodes, strategy=config.strategy, precision=config.precision, compile=config.compile,
    )  # fmt: skip
    profile = Profile() if config.profile else None
    try:
        fit(
            module, StepData(build, steps=steps, workers=config.workers), optimisation=optimisation, output=output,
            evaluate=lambda m: means(evaluator(m, processor).metrics), checkpoints=checkpoints,
            every=min(config.evaluate_every, steps), resume=checkpoint, machine=machine,
            loggers=[name.strip() for name in config.loggers.split(",") if name.strip()],
            callbacks=[profile] if profile else [],
        )  # fmt: skip
    except Stopped as stopped:
        print(f"{stopped}. Give the same command again to go on.")
        return STOPPED
    finally:
        if profile is not None and module.global_rank == 0:
            show_profile(profile, config)
    if module.global_rank == 0:
        trained = fingerprints(patients([*image_tables, *occurrences]))
        finish(output, module, checkpoints, processor, steps, [*images, *texts], trained)
    return 0


def _sides(
    config: TrainConfig,
    parts: _Parts,
    images: list[pd.DataFrame],
    texts: tuple[list[pd.DataFrame], list[pd.DataFrame]],
    cache: PixelCache,
    processor: MedCLIPProcessor,
) -> tuple[ImageSide, TextSide, int, float]:
    """Returns what batches are drawn from, how many texts are in one, and which share of them are partners."""
    from labelers.observations import CHEXPERT14
    from medclip.data.datasets import image_side, text_side, with_partners

    numbers: dict[str, int] = {}
    shared: dict[str, Any] = {"observations": config.observations or list(CHEXPERT14), "policy": parts.policy}
    shared["study_numbers"] = numbers
    image_rows = image_side(
        images, cache=cache, wanted=config.image_weights or None, balance=config.balance_images, **shared
    )
    text_rows = text_side(
        *texts, tokenizer=processor.tokenizer, max_length=config.max_length, wanted=config.text_weights or None,
        balance=config.balance_texts, repeats=config.repeats, words=parts.objective.needs_words,
        pair_text=config.pair_text, **shared,
    )  # fmt: skip
    if parts.objective.needs_pairs:
        return with_partners(image_rows, text_rows), text_rows, config.batch_images, 1.0
    return image_rows, text_rows, config.batch_texts, config.pairs


def _model(config: TrainConfig, tables: list[Any], objective: Objective) -> tuple[MedCLIPModel, MedCLIPProcessor]:
    from medclip.models import MedCLIPProcessor
    from medclip.models.locking import add_lora, lock
    from medclip.models.model import build_model
    from medclip.models.processor import load_tokenizer, train_tokenizer

    if config.text == "small":
        train = [text for table in tables for text in table.loc[table["split"] == "train", "text"]]
        tokenizer = train_tokenizer(train, vocab_size=config.vocab_size)
    else:
        tokenizer = load_tokenizer(config.text)
    model = build_model(
        vision=config.vision, text=config.text, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id,
        projection_dim=config.projection_dim, text_pooling=config.text_pooling, vision_pooling=config.vision_pooling,
        projection=config.projection, vision_local=config.vision_local,
        logit_scale_init_value=math.log(objective.initial_scale),
    )  # fmt: skip
    model.logit_scale.requires_grad_(objective.learns_scale)
    lock(model.vision.backbone, config.lock_vision)
    lock(model.text.backbone, config.lock_text)
    for tower, rank in ((model.vision, config.lora_vision), (model.text, config.lora_text)):
        if rank:
            add_lora(tower.backbone, rank)
    processor = MedCLIPProcessor(
        tokenizer, image_size=config.image_size, cache_size=config.cache_size, max_length=config.max_length,
        dicom=config.dicom,
    )  # fmt: skip
    return model, processor


def _checkpoint(config: TrainConfig, output: Path) -> Path | None:
    if config.resume == "never":
        return None
    if config.resume == "auto":
        from medclip.training.checkpoints import newest

        found = newest(output / "checkpoints")
        if found is not None:
            logger.info("Going on from %s", found)
        return found
    return Path(config.resume)


main = command(run)
