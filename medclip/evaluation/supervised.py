"""The supervised ceiling: the same vision tower, from scratch, on the labels themselves."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from labelers.observations import CHEXPERT5
from medclip.evaluation import EvaluationData, Evaluator, Result
from medclip.metrics import bootstrap_weights, multiclass, multilabel
from medclip.models.towers import VisionTower
from medclip.streams import Stream
from medclip.tables import label_matrix
from medclip.transforms import Augmentation, apply, eval_pipeline, train_pipeline

if TYPE_CHECKING:
    from medclip.models import MedCLIPModel, MedCLIPProcessor


class Supervised(Evaluator):
    """What labels alone would give: a network like the model's vision tower, trained on the train split.

    It takes of the model its architecture only. Each observation is a binary question; states that are neither 1
    nor 0 are masked. The pass that does best on the validation split is kept. With few images it is a weak ceiling:
    it overfits sooner than it saturates, so state how many there were.

    Args:
        data: images and their states, in all three splits.
        seed: of weights, order, augmentation and bootstrap.
        observations: to learn; by default all that have states.
        classes: of the multiclass score.
        epochs: passes over the train split.
        batch_size: images in a step.
        learning_rate: peak, of AdamW.
        augmentation: how training images vary.
        resamples: of the bootstrap; 0 for none.
        min_count: see `ZeroShot`.
        progress: called with (step, steps).
    """

    primary = "auroc/mean"

    def __init__(
        self,
        data: EvaluationData,
        *,
        seed: int = 0,
        observations: Sequence[str] = (),
        classes: Sequence[str] = (),
        epochs: float = 10.0,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        augmentation: Augmentation | None = None,
        resamples: int = 1000,
        min_count: int = 5,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._data, self._seed, self._min_count, self._progress = data, seed, min_count, progress
        self._names = data.observations(observations)
        self._classes = [name for name in (classes or CHEXPERT5) if name in self._names]
        self._batch_size, self._learning_rate = batch_size, learning_rate
        self._augmentation = augmentation or Augmentation()
        self._per_epoch = max(1, len(data.rows("train")) // batch_size)
        self._steps = max(1, round(epochs * self._per_epoch))
        patients = data.rows()["patient_id"].to_numpy()
        self._resamples = bootstrap_weights(patients, resamples=resamples, seed=seed) if resamples else None

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Trains the network and scores it; `model` itself is not touched."""
        torch.manual_seed(self._seed)
        config = model.config
        tower = VisionTower(config.vision_config, projection_dim=len(self._names), pooling=config.vision_pooling)
        tower = tower.to(model.device).to(memory_format=torch.channels_last)
        self._train(tower, processor.image_size)
        scores = self._predict(tower, self._data.split, processor.image_size)
        states = label_matrix(self._data.rows(), self._names)
        metrics, table = multilabel(states, scores, self._names, weights=self._resamples, min_count=self._min_count)
        tables = {"supervised": table}
        if len(self._classes) > 1:
            more, tables["classes"] = multiclass(states, scores, self._names, self._classes, weights=self._resamples)
            metrics |= more
        return Result(metrics, tables)

    def _train(self, tower: VisionTower, image_size: int) -> None:
        rows = self._data.rows("train")
        keys, states = rows["_key"].to_numpy(), label_matrix(rows, self._names)
        valid = label_matrix(self._data.rows("valid"), self._names)
        stream = Stream(len(keys), batch_size=self._batch_size, seed=self._seed)
        pipeline = train_pipeline(image_size, self._augmentation)
        optimizer = torch.optim.AdamW(tower.parameters(), lr=self._learning_rate, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self._learning_rate, total_steps=self._steps + 1)
        best, kept = -np.inf, copy.deepcopy(tower.state_dict())
        for step in range(self._steps):
            chosen = stream.rows(step)
            pixels = apply(pipeline, self._data.cache.get(keys[chosen].tolist()), seed=self._seed * 1_000_003 + step)
            loss = masked_bce(
                _logits(tower, pixels), torch.from_numpy(states[chosen]).to(next(tower.parameters()).device)
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            if (step + 1) % self._per_epoch == 0 or step + 1 == self._steps:
                scores = self._predict(tower, "valid", image_size)
                found, _ = multilabel(valid, scores, self._names, weights=None, min_count=self._min_count)
                if found["auroc/mean"] > best:
                    best, kept = found["auroc/mean"], copy.deepcopy(tower.state_dict())
                if self._progress is not None:
                    self._progress(step + 1, self._steps)
        tower.load_state_dict(kept)

    def _predict(self, tower: VisionTower, split: str, image_size: int) -> np.ndarray:
        keys = self._data.rows(split)["_key"].tolist()
        pipeline = eval_pipeline(image_size)
        tower.eval()
        with torch.inference_mode():
            parts = [
                _logits(tower, apply(pipeline, self._data.cache.get(keys[i : i + 128]))).float().cpu().numpy()
                for i in range(0, len(keys), 128)
            ]
        tower.train()
        return np.concatenate(parts)


def masked_bce(logits: Tensor, states: Tensor) -> Tensor:
    """Returns the mean binary cross entropy over states that are 1 or 0, for logits and states (N, O)."""
    known = (states == 1) | (states == 0)
    losses = functional.binary_cross_entropy_with_logits(logits, (states == 1).to(logits.dtype), reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


def _logits(tower: VisionTower, pixels: np.ndarray) -> Tensor:
    """Returns (N, O): the tower's features through its projection, which serves as the classifier here."""
    values = torch.from_numpy(pixels).to(next(tower.parameters()).device).expand(-1, 3, -1, -1)
    pooled, _, _ = tower.pool(values.contiguous(memory_format=torch.channels_last))
    return tower.projection(pooled)
