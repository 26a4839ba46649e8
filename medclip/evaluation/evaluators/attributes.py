"""Sides and sizes of findings: what a label vector of observations does not tell."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from labelers.attribute_states import VALUES, observation_of
from labelers.errors import UserError
from medclip.data.tables import label_matrix, observations_of
from medclip.evaluation.bootstrap import Metric, bootstrap
from medclip.evaluation.evaluators import EvaluationData, Evaluator, Result
from medclip.evaluation.films import Answers
from medclip.evaluation.metrics import multilabel
from medclip.inference.embed import embed_images, embed_texts
from medclip.inference.prompts import Prompts, load_prompts

if TYPE_CHECKING:
    from medclip.models import MedCLIPModel, MedCLIPProcessor


class Attributes(Evaluator):
    """Whether prompts tell a left finding from a right one, and a small from a large one.

    For each column such as "Pleural Effusion (left)", the score of an image is its similarity to prompts for a left
    effusion minus that to prompts for a right one. Images count whose column is 1 or 0: where that is so only if there
    is an effusion, as on the phantom, nothing is gained by seeing it. A moderate finding is neither small nor large, so
    "small" is small against larger ones. Chance is .5.

    Args:
        data: Images, with columns of sides or sizes.
        seed: Seed of the bootstrap over patients.
        resamples: Number of bootstrap resamples; 0 for none.
        min_count: Images with and without that a column needs to count in the means.
    """

    primary = "side/mean"

    def __init__(self, data: EvaluationData, *, seed: int = 0, resamples: int = 1000, min_count: int = 20) -> None:
        rows = data.rows()
        prompts = load_prompts("attributes")
        self._prompts = {name: prompts[name] for name in observations_of(rows) if name in prompts}
        if not self._prompts:
            raise UserError(
                "attributes needs images with states of sides or sizes, in columns such as 'Pleural Effusion (left)'; "
                "these have none. For the phantom: --source-options '{phantom: {attributes: [side, size]}}'."
            )
        self._kinds = {name: found[1] for name in self._prompts if (found := observation_of(name))}
        self._data, self._rows, self._min_count = data, rows, min_count
        self._resamples = bootstrap(rows["patient_id"].to_numpy(), resamples=resamples, seed=seed)

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Encodes every image and every prompt once, and scores them."""
        images = embed_images(model, self._rows["_key"].tolist(), processor, cache=self._data.cache)

        def side(entry: Prompts) -> np.ndarray:
            positive, negative = (embed_texts(model, list(p), processor) for p in (entry.positive, entry.negative))
            return positive.mean(axis=0) - negative.mean(axis=0)

        directions = np.stack([side(entry) for entry in self._prompts.values()])
        metrics: dict[str, Metric] = {}
        tables: dict[str, pd.DataFrame] = {}
        for kind in VALUES:
            names = [name for name in self._prompts if self._kinds[name] == kind]
            if not names:
                continue
            columns = [list(self._prompts).index(name) for name in names]
            found, tables[kind] = multilabel(
                label_matrix(self._rows, names), images @ directions[columns].T, names, resamples=self._resamples,
                min_count=self._min_count,
            )  # fmt: skip
            metrics |= {name.replace("auroc/", f"{kind}/"): value for name, value in found.items() if "auroc/" in name}
        answers = partial(
            Answers.by_threshold,
            self._rows["_key"].tolist(), label_matrix(self._rows, list(self._prompts)), images @ directions.T,
            list(self._prompts), directions=directions,
        )  # fmt: skip
        return Result(metrics, tuple(f"{kind}/mean" for kind in tables), tables, answers=answers)
