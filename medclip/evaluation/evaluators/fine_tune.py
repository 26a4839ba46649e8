"""Fine-tuning: the image tower trained further on few, some and all labels."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import pandas as pd
import torch

from medclip.data.subsets import label_share
from medclip.data.tables import label_matrix
from medclip.data.transforms import Augmentation
from medclip.evaluation import figures
from medclip.evaluation.bootstrap import Metric, bootstrap
from medclip.evaluation.evaluators import EvaluationData, Evaluator, Result
from medclip.evaluation.films import Answers
from medclip.evaluation.metrics import mean_auroc, multilabel, over_draws
from medclip.models.towers import VisionTower
from medclip.training.supervised import SupervisedSettings, predict, train_tower

if TYPE_CHECKING:
    from medclip.models import MedCLIPModel, MedCLIPProcessor


class FineTune(Evaluator):
    """The whole image tower, from the model's weights, on 1 %, 10 % and all labels of the train split.

    Labels are taken by patient, a smaller share being part of a larger one. Every share is passed over `epochs`
    times, but for `least_steps` at least, so that a small one is not merely trained less; what does best on the
    whole validation split is kept.

    It can mislead: the validation split is larger than a small share of the labels, and choosing on it uses labels
    that somebody with so few would not have. All shares do.

    Args:
        data: Images and their states, in all three splits.
        seed: Seed of the draws, the new head, order, augmentation and bootstrap.
        observations: Observations to learn; by default all that have states.
        shares: Shares of the training images to learn from.
        label_draws: Number of draws of each share but the whole.
        epochs: Passes over the share.
        least_steps: Least number of steps, for every share.
        learning_rate: Peak, of AdamW.
        augmentation: Random changes of training images.
        resamples: Number of bootstrap resamples; 0 for none.
        min_count: See `ZeroShot`.
        progress: Called with (step, steps).
    """

    primary = "fine-tune/auroc/100%"
    settings: ClassVar[Mapping[str, str]] = {"epochs": "supervised_epochs"}

    def __init__(
        self,
        data: EvaluationData,
        *,
        seed: int = 0,
        observations: Sequence[str] = (),
        shares: Sequence[float] = (0.01, 0.1, 1.0),
        label_draws: int = 3,
        epochs: float = 5.0,
        least_steps: int = 50,
        learning_rate: float = 3e-4,
        augmentation: Augmentation | None = None,
        resamples: int = 1000,
        min_count: int = 5,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._train = data.training_rows("fine-tune")
        self._data, self._seed, self._min_count, self._progress = data, seed, min_count, progress
        self._names, self._shares, self._draws = data.observations(observations), tuple(shares), label_draws
        self._epochs, self._least, self._learning_rate = epochs, least_steps, learning_rate
        self._augmentation = augmentation
        patients = data.rows()["patient_id"].to_numpy()
        self._resamples = bootstrap(patients, resamples=resamples, seed=seed)

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Trains a copy of the tower as often as there are shares and draws; `model` itself is not touched."""
        train, valid, test = self._train, self._data.other("valid"), self._data.rows()
        states, keys = label_matrix(test, self._names), test["_key"].tolist()
        rows: list[dict[str, object]] = []
        ends: dict[float, Metric] = {}
        runs = [(share, draw) for share in self._shares for draw in range(1 if share >= 1 else self._draws)]
        for done, (share, draw) in enumerate(runs, start=1):
            part = label_share(train, share=share, seed=self._seed + draw)
            tower = self._tower(model, self._seed + draw)
            steps = max(self._least, round(self._epochs * len(part) / 64))
            settings = SupervisedSettings(
                steps=steps, every=max(1, -(-steps // 10)), seed=self._seed + draw, learning_rate=self._learning_rate,
                augmentation=self._augmentation or Augmentation(),
            )  # fmt: skip
            train_tower(
                tower, self._data.labelled(part, self._names), self._data.labelled(valid, self._names),
                cache=self._data.cache, processor=processor, settings=settings,
                score=mean_auroc(self._names, self._min_count),
            )  # fmt: skip
            scores = predict(tower, keys, self._data.cache, processor)
            whole = self._resamples if share >= 1 else None
            found, _ = multilabel(states, scores, self._names, resamples=whole, min_count=self._min_count)
            rows.append(
                {"share": share, "draw": draw, "images": len(part), "patients": part["patient_id"].nunique(),
                 "steps": steps, "auroc_mean": found["auroc/mean"].value,
                 "ap_mean": found["ap/mean"].value if "ap/mean" in found else None}
            )  # fmt: skip
            if share >= 1:
                ends[share] = found["auroc/mean"]
            if self._progress is not None:
                self._progress(done, len(runs))
        table = pd.DataFrame(rows)
        figure = figures.learning(table, "Fine-tuning")
        metrics = over_draws(table, "fine-tune", ends)
        answers = partial(Answers.by_threshold, keys, states, scores, self._names)  # of the last share and draw
        return Result(metrics, tables={"fine_tune": table}, figures={"fine_tune": figure}, answers=answers)

    def _tower(self, model: MedCLIPModel, seed: int) -> VisionTower:
        """Returns a copy of the model's image tower with a new head."""
        torch.manual_seed(seed)
        tower = copy.deepcopy(model.vision)
        new = VisionTower(model.config.vision_config, projection_dim=len(self._names), pooling=tower.pooling)
        tower.projection = new.projection.to(model.device)
        return tower.requires_grad_(True).to(memory_format=torch.channels_last)
