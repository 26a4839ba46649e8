"""One step of training: encode, gather, the objective, and how weights are updated."""

from __future__ import annotations

import copy
import logging
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from medclip.data.gpu_transforms import DeviceAugmentation
from medclip.data.loader import Batch
from medclip.encoded import Encoded
from medclip.models import MedCLIPModel
from medclip.objectives import Objective
from medclip.training.checkpoints import LOG_EVERY
from medclip.training.distributed import gather
from medclip.training.gradient_cache import encode_in_parts
from medclip.training.health import alignment, uniformity
from medclip.training.stages import SecondStage
from medclip.training.step_module import Optimisation, StepModule

logger = logging.getLogger(__name__)

_WORTH_IT = 0.8  # share of the work that two groups of texts may cost


class TrainingModule(StepModule):
    """A model, an objective, and one step of training.

    Args:
        model: What is trained.
        objective: What is optimised.
        optimisation: Settings of the optimiser.
        seed: Seed of what is random inside the model.
        encode_batch: Inputs encoded at once; larger batches go through the towers in parts, and again in the backward
            pass (gradient caching, Gao et al. 2021, arXiv 2101.06983). 0 for all at once.
        second_stage: When locked parts of the model train too; by default never.
        own_rows: Each process computes losses for its own rows only, against the inputs of all processes.
        augment: Makes pixel values of batches that hold cached squares.
    """

    for_memory: ClassVar[str] = (
        "Encode batches in parts, which changes no number: --encode-batch 32; or lower --batch-images and --batch-texts"
    )

    def __init__(
        self,
        model: MedCLIPModel,
        objective: Objective,
        *,
        optimisation: Optimisation,
        seed: int,
        encode_batch: int = 0,
        own_rows: bool = False,
        second_stage: SecondStage | None = None,
        augment: DeviceAugmentation | None = None,
    ) -> None:
        super().__init__(optimisation, seed=seed)
        self.model, self.objective = model, objective
        self.momentum = copy.deepcopy(model).requires_grad_(False) if objective.needs_keys else None
        self._encode_batch, self._own_rows = encode_batch, own_rows
        self._augment, self._unlocked = augment, False
        self.second_stage = second_stage or SecondStage()

    def train(self, mode: bool = True) -> TrainingModule:
        """Switches training mode. Momentum towers follow those they are copies of, and keep what these lock locked.

        Their batch normalisation reads the batch, as in He et al. 2020, algorithm 1.
        """
        super().train(mode)
        if self.momentum is not None:
            for slow, fast in zip(self.momentum.modules(), self.model.modules(), strict=True):
                slow.training = fast.training
        return self

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Updates the weights and brings the scale back into its bounds, where a later step can move it again."""
        super().optimizer_step(*args, **kwargs)
        self.model.clamp_scale()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seeds what is random inside the model by the step, so that a resumed run draws what the first would have."""
        if not self._unlocked:
            self._begin_second_stage()
        torch.manual_seed(self.step_seed())

    def _begin_second_stage(self) -> None:
        """Begins the second stage where it is due, or where the run that is resumed was in it."""
        stage = self.second_stage
        if stage.began is None and stage.is_due(self.global_step, self.trainer.checkpoint_callback):
            stage.began = self.global_step
            logger.info("After step %d: locked layers are trained, too", self.global_step)
        if stage.began is not None:
            stage.begin(self.trainer, self)
            self._unlocked = True

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Encodes, gathers, and returns the loss."""
        if self._augment is not None:
            batch = replace(batch, pixel_values=self._augment(batch.pixel_values, seed=self.step_seed()))
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
        texts = gather(
            replace(texts, labels=batch.text_labels, study_ids=batch.text_studies, ids=batch.text_ids),
            own_rows=self._own_rows,
        )
        terms = self.objective(images, texts, self.model.scale())
        self.note(terms)
        done = self.global_step + 1
        if not (done % LOG_EVERY and done % self.trainer.checkpoint_callback.every and done < self.steps):
            self._log(terms, images, texts)
        return terms["loss"]

    def _log(self, terms: dict[str, Tensor], images: Encoded, texts: Encoded) -> None:
        """Logs what the loggers write after this step, or a checkpoint keeps; at other steps nobody would look."""
        logged = {f"train/{name}": value for name, value in terms.items()}
        logged["train/scale"] = self.model.logit_scale.detach().exp()
        if self.global_step % LOG_EVERY == LOG_EVERY - 1:
            apart = {"train/uniformity_images": images.embeds, "train/uniformity_texts": texts.embeds}
            logged |= {name: uniformity(embeds) for name, embeds in apart.items()}
            logged["train/alignment"] = alignment(images, texts)
        if self._own_rows:  # a process knows its share of the loss only
            reduce = self.trainer.strategy.reduce
            logged = {name: reduce(value.detach(), reduce_op="mean") for name, value in logged.items()}
        self.log_dict(logged, prog_bar=False)

    def _encode(self, model: MedCLIPModel, batch: Batch, *, local: bool) -> tuple[Encoded, Encoded]:
        words = batch.word_ids if local else None

        def images_of(pixel_values: Tensor) -> Encoded:
            return model.encode_images(_channels_last(pixel_values), local=local)

        def texts_of(input_ids: Tensor, attention_mask: Tensor, *word_ids: Tensor) -> Encoded:
            return model.encode_texts(
                input_ids, attention_mask, local=local, word_ids=word_ids[0] if word_ids else None
            )

        tokens = (batch.input_ids, batch.attention_mask, *(() if words is None else (words,)))
        images = encode_in_parts(images_of, batch.pixel_values, size=self._encode_batch, model=model)
        by_length = None
        if self.device.type == "cpu" and not self._encode_batch and not local:
            by_length = long_and_short(batch.attention_mask.sum(dim=1))
        if by_length is None:
            texts = encode_in_parts(texts_of, *tokens, size=self._encode_batch, model=model)
        else:
            parts = [texts_of(*(t[rows, :length] for t in tokens)).embeds for rows, length in by_length]
            texts = Encoded(torch.cat(parts)[torch.cat([rows for rows, _ in by_length]).argsort()])
        return images, texts.take(batch.text_rows)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what a resumed run must know of its losses and its stage."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["second_stage"] = self.second_stage.began

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the loss monitor and the stage."""
        super().on_load_checkpoint(checkpoint)
        self.second_stage.began = checkpoint.get("second_stage")

    def trained(self) -> list[nn.Parameter]:
        """Returns what the optimiser updates."""
        parameters = [*self.model.parameters(), *self.objective.parameters()]
        return parameters if self.second_stage.planned else [p for p in parameters if p.requires_grad]

    def ready(self, *, compiled: bool) -> None:
        """Lays the weights of the image tower out as its inputs are, and compiles the towers if asked to."""
        self.model.vision.to(memory_format=torch.channels_last)
        if compiled:
            self.model.vision.compile()
            self.model.text.compile(dynamic=True)


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, momentum: float) -> None:
    """Moves the weights of `slow` towards those of `fast`; `momentum` is the share that stays.

    Buffers are not touched: statistics of batch normalisation belong to the weights that made them.
    """
    for kept, current in zip(slow.parameters(), fast.parameters(), strict=True):
        kept.lerp_(current, 1 - momentum)


def long_and_short(lengths: Tensor) -> list[tuple[Tensor, int]] | None:
    """Returns texts (T,) in two groups by length, as indices and the longest length of each; None if it saves little.

    Texts are padded to the longest of those encoded together, and what is padding is work for nothing.
    """
    ordered, rows = lengths.sort(stable=True)
    count = torch.arange(1, len(lengths) + 1)
    work = count * ordered + (len(lengths) - count) * ordered[-1]
    cut = int(work.argmin())
    if cut + 1 == len(lengths) or int(work[cut]) > _WORTH_IT * len(lengths) * int(ordered[-1]):
        return None
    return [(rows[: cut + 1], int(ordered[cut])), (rows[cut + 1 :], int(ordered[-1]))]


def _channels_last(pixel_values: Tensor) -> Tensor:
    if pixel_values.dim() == 2:  # features
        return pixel_values
    return pixel_values.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
