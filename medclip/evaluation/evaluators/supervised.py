"""The supervised ceiling: the same vision tower, from scratch, on the labels themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch

from labelers.observations import CHEXPERT5
from medclip.data.tables import label_matrix
from medclip.data.transforms import Augmentation
from medclip.evaluation.bootstrap import bootstrap
from medclip.evaluation.evaluators import EvaluationData, Evaluator, Result
from medclip.evaluation.metrics import mean_auroc, multiclass, multilabel
from medclip.models.towers import VisionTower
from medclip.training.supervised import SupervisedSettings, predict, train_tower

if TYPE_CHECKING:
    from medclip.models import MedCLIPModel, MedCLIPProcessor


class Supervised(Evaluator):
    """What labels alone would give: a network like the model's vision tower, trained on the train split.

    It takes of the model its architecture only; see `medclip.training.supervised`. The pass that does best on the
    validation split is kept, the last one where the report is about that split. With few images it is a weak
    ceiling: it overfits sooner than it saturates, so state how many there were.

    Args:
        data: Images and their states, in all three splits.
        seed: Seed of weights, order, augmentation and bootstrap.
        observations: Observations to learn; by default all that have states.
        classes: Classes of the multiclass score.
        epochs: Passes over the train split.
        steps: Steps instead of passes; 0 for none.
        every: Steps between validations; 0 for one a pass.
        pretrained: Whether the tower starts with the weights of the model that is given, and not from scratch.
        batch_size: Images in a step.
        learning_rate: Peak, of AdamW.
        augmentation: Random changes of training images.
        resamples: Number of bootstrap resamples; 0 for none.
        min_count: See `ZeroShot`.
        progress: Called with (step, steps).
    """

    primary = "auroc/mean"
    settings: ClassVar[Mapping[str, str]] = {"epochs": "supervised_epochs"}

    def __init__(
        self,
        data: EvaluationData,
        *,
        seed: int = 0,
        observations: Sequence[str] = (),
        classes: Sequence[str] = (),
        epochs: float = 10.0,
        steps: int = 0,
        every: int = 0,
        pretrained: bool = False,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        augmentation: Augmentation | None = None,
        resamples: int = 1000,
        min_count: int = 5,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._train = data.training_rows("the supervised baseline")
        self._data, self._seed, self._min_count, self._progress = data, seed, min_count, progress
        self._names = data.observations(observations)
        self._classes = [name for name in (classes or CHEXPERT5) if name in self._names]
        self._batch_size, self._learning_rate, self._epochs = batch_size, learning_rate, epochs
        self._steps, self._every, self._pretrained = steps, every, pretrained
        self._augmentation = augmentation
        patients = data.rows()["patient_id"].to_numpy()
        self._resamples = bootstrap(patients, resamples=resamples, seed=seed)

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Trains the network and scores it; `model` itself is not touched."""
        torch.manual_seed(self._seed)
        config, train = model.config, self._train
        tower = VisionTower(config.vision_config, projection_dim=len(self._names), pooling=config.vision_pooling)
        if self._pretrained:
            tower.backbone.load_state_dict(model.vision.backbone.state_dict())
        tower = tower.to(model.device).to(memory_format=torch.channels_last)
        lap = max(1, len(train) // self._batch_size)
        settings = SupervisedSettings(
            steps=self._steps or max(1, round(self._epochs * lap)), every=self._every or lap, seed=self._seed,
            batch_size=self._batch_size, learning_rate=self._learning_rate,
            augmentation=self._augmentation or Augmentation(),
        )  # fmt: skip
        # Nothing may be chosen on what is reported on; an empty table keeps the last pass.
        valid = train.iloc[:0] if self._data.split == "valid" else self._data.other("valid")
        train_tower(
            tower, self._data.labelled(train, self._names), self._data.labelled(valid, self._names),
            cache=self._data.cache, processor=processor, settings=settings,
            score=mean_auroc(self._names, self._min_count), progress=self._progress,
        )  # fmt: skip
        rows = self._data.rows()
        scores, states = (
            predict(tower, rows["_key"].tolist(), self._data.cache, processor),
            label_matrix(rows, self._names),
        )
        metrics, table = multilabel(states, scores, self._names, resamples=self._resamples, min_count=self._min_count)
        tables = {"supervised": table}
        if len(self._classes) > 1:
            more, tables["classes"] = multiclass(states, scores, self._names, self._classes, resamples=self._resamples)
            metrics |= more
        return Result(metrics, tables=tables)
