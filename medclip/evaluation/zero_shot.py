"""Zero-shot classification: an image belongs to the prompts it is nearest to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from labelers.observations import CHEXPERT5
from medclip.classifier import ZeroShotClassifier
from medclip.encode import encode_images
from medclip.evaluation import EvaluationData, Evaluator, Result
from medclip.metrics import bootstrap_weights, multiclass, multilabel
from medclip.prompts import Prompts, load_prompts, select_prompts
from medclip.tables import label_matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from medclip.models import MedCLIPModel, MedCLIPProcessor


class ZeroShot(Evaluator):
    """Multilabel AUROC with positive and negative prompts, and multiclass accuracy with positive ones.

    Multilabel: the score of an observation is the cosine with its positive prompts minus that with its negative
    ones; rows whose state is neither 1 nor 0 do not count for it. Multiclass, as in CheXpert-5x200: rows with
    exactly one of the classes positive, the nearest class wins. Prompts of one side are averaged as unit vectors.

    It can mislead where disease goes with something else that shows (a portable film, a hospital's border): read it
    beside the untrained model, and within one view and source. The mean AUROC leaves out observations with fewer
    than `min_count` positives or negatives; each is listed with its counts.

    Args:
        data: images and their states.
        seed: of the bootstrap over patients.
        observations: to ask about; by default all that have states and prompts.
        classes: of the multiclass score.
        prompts: a set by name, a YAML file, or prompts.
        resamples: of the bootstrap; 0 for none.
        min_count: positives and negatives an observation needs to count in the mean.
    """

    primary = "auroc/mean"

    def __init__(
        self,
        data: EvaluationData,
        *,
        seed: int = 0,
        observations: Sequence[str] = (),
        classes: Sequence[str] = (),
        prompts: str | dict[str, Prompts] = "chexpert14",
        resamples: int = 1000,
        min_count: int = 5,
    ) -> None:
        self._data, self._min_count = data, min_count
        loaded = load_prompts(prompts) if isinstance(prompts, str) else prompts
        self._prompts = select_prompts(loaded, data.observations(observations))
        if not self._prompts:
            raise ValueError(
                f"No observation of these images has prompts. The images know {', '.join(data.observations())}; "
                f"the prompts {', '.join(loaded)}."
            )
        self._table = data.rows()
        self._states = label_matrix(self._table, list(self._prompts))
        self._classes = [name for name in (classes or CHEXPERT5) if name in self._prompts]
        patients = self._table["patient_id"].to_numpy()
        self._resamples = bootstrap_weights(patients, resamples=resamples, seed=seed) if resamples else None

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Encodes every image and every prompt once, and scores them."""
        classifier = ZeroShotClassifier(model, processor, self._prompts)
        images = encode_images(model, self._table["_key"].tolist(), self._data.cache, processor)
        positive, scores = images @ classifier.positive.T, classifier.scores(images)  # (I, O)
        names = list(self._prompts)
        metrics, table = multilabel(self._states, scores, names, weights=self._resamples, min_count=self._min_count)
        tables = {"zero_shot": table}
        if len(self._classes) > 1:
            more, tables["classes"] = multiclass(self._states, positive, names, self._classes, weights=self._resamples)
            metrics |= more
        figures = {}
        if self._resamples is not None:
            figures = {"roc": self._roc(scores, metrics), "prompts": self._similarity(positive)}
        return Result(metrics, tables, figures)

    def _roc(self, scores: np.ndarray, metrics: dict[str, float]) -> Figure:
        from matplotlib import colormaps
        from matplotlib.figure import Figure
        from sklearn.metrics import roc_curve

        figure = Figure(figsize=(7, 6), layout="constrained")
        axes = figure.subplots()
        axes.set_prop_cycle(color=[colormaps["tab20"](i) for i in range(20)])
        for j, name in enumerate(self._prompts):
            known = np.isin(self._states[:, j], (0.0, 1.0))
            truth = self._states[known, j] == 1
            if min(truth.sum(), (~truth).sum()) >= self._min_count:
                false, true, _ = roc_curve(truth, scores[known, j])
                axes.plot(false, true, label=f"{name} {metrics[f'auroc/{name}']:.2f}")
        axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
        axes.set(xlabel="false positive rate", ylabel="true positive rate", title="Zero-shot ROC by observation")
        axes.legend(fontsize=8, loc="lower right")
        return figure

    def _similarity(self, positive: np.ndarray) -> Figure:
        """Mean cosine of images with a label to prompts of an observation, less the prompt's mean over all images."""
        from matplotlib.figure import Figure

        names = list(self._prompts)
        lifted = positive - positive.mean(axis=0)
        has = (self._states == 1).astype(float)
        cells = has.T @ lifted / np.maximum(has.sum(axis=0)[:, None], 1)
        figure = Figure(figsize=(8, 7), layout="constrained")
        axes = figure.subplots()
        bound = max(float(np.abs(cells).max()), 1e-6)
        drawn = axes.imshow(cells, cmap="RdBu_r", vmin=-bound, vmax=bound)
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set(xlabel="prompt", ylabel="images labelled", title="Similarity of labelled images to prompts")
        figure.colorbar(drawn, ax=axes, label="cosine above the prompt's mean")
        return figure
