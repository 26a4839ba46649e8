"""Subgroups: whom the model fails, by sex, age, view and race, and where two of these meet."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from labelers.errors import UserError
from labelers.observations import NO_FINDING
from medclip.data.tables import label_matrix
from medclip.evaluation import figures
from medclip.evaluation.bootstrap import Metric, Resamples, Sampled, bootstrap, mean_sampled, sample
from medclip.evaluation.evaluators import EvaluationData, Evaluator, Result
from medclip.evaluation.films import Answers
from medclip.evaluation.groups import COLUMNS, LEAST_PATIENTS, Group, groups_by, intersections
from medclip.evaluation.metrics import calibration_error, weighted_mean
from medclip.inference.calibration import best_thresholds, fit_platt, sigmoid
from medclip.inference.classifier import ZeroShotClassifier
from medclip.inference.embed import embed_images
from medclip.inference.prompts import Prompts

if TYPE_CHECKING:
    from medclip.models import MedCLIPModel, MedCLIPProcessor

#: The two errors: of the images with a state (the key says which), how many are called otherwise.
_ERRORS = {"fnr": True, "fpr": False}


class Subgroups(Evaluator):
    """False-negative and false-positive rates by group at thresholds chosen on the validation split, with their gaps.

    The threshold of an observation is the score with the best F1 on the validation split, one for all groups. `fnr` is
    the share of positives that are not called, `fpr` that of negatives that are, as means over observations; `gap` is a
    group's mean less that of everybody else, over observations that both have enough of: rates of two groups are of
    different observations where their counts differ, so compare gaps. `worst_sensitivity` is 1 less the highest `fnr`
    of a group. `underdiagnosed` is the share of sick images called No Finding (Seyyed-Kalantari et al. 2021).
    `subgroups/fnr_gap/sex` is the largest difference of two groups, each over observations that both have enough of.
    Probabilities for `brier` and `ece` are fitted on the validation split, for all groups together.

    It can mislead: `ece` is the higher the smaller a group is, even where probabilities are right; rates depend on who
    gets an image, on the machine (portable films of the very ill) and on labels that may be wrong more often in one
    group; a gap is a question, not an answer. The two of many small groups that differ most do so by chance, too: the
    interval is that of these two, picked before resampling. Groups of fewer than ten patients are named and not
    reported.

    Args:
        data: Images and their states, in the valid split and in the one to report on.
        seed: Seed of the bootstrap.
        observations: Observations to ask about; by default all that have states and prompts.
        prompts: A set by name, a file, or prompts.
        ensemble: What several prompts come to, see `medclip.inference.scoring`.
        groups: Columns whose values are looked at apart, and where two of them meet.
        resamples: Number of bootstrap resamples over patients; 0 for none.
        min_count: Images of a state that a rate of an observation needs, in a group.
    """

    primary = "subgroups/worst_sensitivity"

    def __init__(
        self,
        data: EvaluationData,
        *,
        seed: int = 0,
        observations: Sequence[str] = (),
        prompts: str | dict[str, Prompts] = "chexpert14",
        ensemble: str = "embeddings",
        groups: Sequence[str] = COLUMNS,
        resamples: int = 1000,
        min_count: int = 5,
    ) -> None:
        self._prompts = data.questions(prompts, observations, who="subgroups")
        self._data, self._table, self._valid = data, data.rows(), data.other("valid")
        self._ensemble, self._min_count = ensemble, min_count
        if self._valid.empty:
            raise UserError("subgroups chooses thresholds on a valid split, and there is none in this data.")
        found = [group for column in groups for group in groups_by(self._table, column)]
        found += intersections(self._table, groups)
        self._groups = [group for group in found if group.large_enough]
        self._small = [group for group in found if not group.large_enough]
        if not self._groups:
            raise UserError(
                f"subgroups: these images know nothing that tells groups of {LEAST_PATIENTS} patients or more apart; "
                f"looked for the columns {', '.join(groups)}."
            )
        patients = self._table["patient_id"].to_numpy()
        self._resamples = bootstrap(patients, resamples=resamples, seed=seed)

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Encodes each image of both splits once, chooses thresholds, and counts errors by group."""
        classifier = ZeroShotClassifier(model, processor, self._prompts, ensemble=self._ensemble)
        valid, scores = (
            classifier.scores(embed_images(model, table["_key"].tolist(), processor, cache=self._data.cache))
            for table in (self._valid, self._table)
        )
        learned = self._data.learning_labels(self._valid, classifier.observations)
        thresholds = best_thresholds(learned, valid, classifier.observations, least=self._min_count)
        if not thresholds:
            raise UserError(
                f"subgroups: no observation has {self._min_count} positives and {self._min_count} negatives in the "
                "valid split, so there is no threshold to judge. Report on a source with a larger one."
            )
        columns = [classifier.observations.index(name) for name in thresholds]
        states = label_matrix(self._table, list(thresholds))
        called = scores[:, columns] >= np.array(list(thresholds.values()))
        rates = Rates(states, called, list(thresholds), self._resamples, self._min_count)
        chances = _probabilities(learned[:, columns], valid[:, columns], scores[:, columns], self._min_count)
        answers = partial(
            Answers.by_threshold,
            self._table["_key"].tolist(), states, scores[:, columns], list(thresholds), thresholds=thresholds,
            directions=classifier.directions()[columns],
        )  # fmt: skip
        return replace(self._result(rates, chances), answers=answers)

    def _result(self, rates: Rates, chances: np.ndarray) -> Result:
        everybody = Group("all", "all", np.ones(len(self._table), dtype=bool), self._table["patient_id"].nunique())
        rows, by_observation = [], []
        metrics: dict[str, Metric] = {}
        for group in [everybody, *self._groups]:
            row: dict[str, object] = {"group": group.column, "value": group.value, "patients": group.patients,
                                      "images": int(group.rows.sum()),
                                      "positives": rates.positives(group.rows)}  # fmt: skip
            ending = "all" if group is everybody else f"{group.column}={group.value}"
            for name, metric in self._of_group(rates, group, chances).items():
                metrics[f"subgroups/{name}/{ending}"] = metric
                row |= {name: metric.value, f"{name}_low": metric.low, f"{name}_high": metric.high}
                row |= {f"{name} observations": metric.count} if name in _ERRORS else {}
            rows.append(row)
            by_observation += rates.by_observation(group)
        metrics |= largest_gaps(rates, self._groups)
        worst = [metrics[f"subgroups/fnr/{group.column}={group.value}"].value for group in self._groups]
        if np.isfinite(worst).any():
            metrics["subgroups/worst_sensitivity"] = Metric(1 - float(np.nanmax(worst)))
        small = pd.DataFrame([(g.column, g.value, f"fewer than {LEAST_PATIENTS} patients: not reported")
                              for g in self._small], columns=["group", "value", "reason"])  # fmt: skip
        tables = {"subgroups": pd.DataFrame(rows), "subgroups_observations": pd.DataFrame(by_observation)}
        if len(small):
            tables["subgroups_too_small"] = small
        table = pd.DataFrame(rows)
        return Result(metrics, self._headline(metrics), tables, {"subgroups": figures.by_group(table, "fnr")})

    def _of_group(self, rates: Rates, group: Group, chances: np.ndarray) -> dict[str, Metric]:
        found = {}
        for error in _ERRORS:
            found[error] = rates.mean(error, group.rows)
            if group.column != "all":
                found[f"{error}_gap"] = rates.difference(error, group.rows, ~group.rows)
        if NO_FINDING in rates.names:
            found["underdiagnosed"] = rates.one("fpr", rates.names.index(NO_FINDING), group.rows).metric()
        return found | self._calibration(rates.states, chances, group.rows)

    def _calibration(self, states: np.ndarray, chances: np.ndarray, rows: np.ndarray) -> dict[str, Metric]:
        """Returns Brier score and calibration error over all observations of a group, where there are probabilities."""
        known = np.isin(states, (0.0, 1.0)) & np.isfinite(chances) & rows[:, None]
        if not known.any():
            return {}
        truth, chance = states[known] == 1, chances[known]
        drawn = None if self._resamples is None else self._resamples.take(np.nonzero(known)[0])
        brier = sample(partial(weighted_mean, (chance - truth) ** 2), drawn).metric()
        return {"brier": brier, "ece": Metric(calibration_error(truth, chance)[0])}

    def _headline(self, metrics: Mapping[str, Metric]) -> tuple[str, ...]:
        columns = list(dict.fromkeys(group.column for group in self._groups))
        wanted = ["subgroups/worst_sensitivity"]
        wanted += [f"subgroups/{name}/all" for name in ("fnr", "fpr", "underdiagnosed", "brier", "ece")]
        wanted += [f"subgroups/{error}_gap/{column}" for error in _ERRORS for column in columns]
        return tuple(name for name in wanted if name in metrics)


class Rates:
    """Error rates of any rows, and of each resample of their patients."""

    def __init__(
        self, states: np.ndarray, called: np.ndarray, names: Sequence[str], resamples: Resamples | None, min_count: int
    ) -> None:
        self.states, self.names = states, list(names)
        self._called, self._resamples, self._min_count = called, resamples, min_count
        self._findings = [j for j, name in enumerate(names) if name != NO_FINDING]
        self._known: dict[tuple[str, int, bytes], Sampled] = {}  # each is asked for by means, gaps and tables

    def one(self, error: str, j: int, rows: np.ndarray) -> Sampled:
        """Returns an error rate of one observation; undefined where too few images have its state."""
        key = (error, j, np.packbits(rows).tobytes())
        if key not in self._known:
            self._known[key] = self._count(error, j, rows)
        return self._known[key]

    def _count(self, error: str, j: int, rows: np.ndarray) -> Sampled:
        wanted = _ERRORS[error]
        among = np.flatnonzero(rows & (self.states[:, j] == float(wanted)))
        if len(among) < self._min_count:
            return Sampled(float("nan"), np.full(0 if self._resamples is None else len(self._resamples), np.nan))
        wrong = (self._called[among, j] != wanted).astype(np.float64)
        return sample(partial(weighted_mean, wrong), None if self._resamples is None else self._resamples.take(among))

    def mean(self, error: str, rows: np.ndarray) -> Metric:
        """Returns the mean over observations, No Finding aside, of which the rows have enough."""
        known = [one for j in self._findings if np.isfinite((one := self.one(error, j, rows)).value)]
        return replace(mean_sampled(known).metric(), count=len(known))

    def positives(self, rows: np.ndarray) -> int:
        """Returns how many positives the rows have over all observations, No Finding aside."""
        return int((self.states[rows][:, self._findings] == 1).sum())

    def difference(self, error: str, rows: np.ndarray, others: np.ndarray) -> Metric:
        """Returns the mean of `rows` less that of `others`, over observations of which both have enough."""
        pairs = [(self.one(error, j, rows), self.one(error, j, others)) for j in self._findings]
        both = [(one, other) for one, other in pairs if np.isfinite([one.value, other.value]).all()]
        if not both:
            return Metric(float("nan"))
        means = [mean_sampled(side) for side in zip(*both, strict=True)]
        found = Sampled(means[0].value - means[1].value, means[0].drawn - means[1].drawn).metric()
        return replace(found, count=len(both))

    def by_observation(self, group: Group) -> list[dict[str, object]]:
        """Returns a row for each observation: its counts and both rates in a group."""
        found = []
        for j, name in enumerate(self.names):
            row: dict[str, object] = {"group": group.column, "value": group.value, "observation": name}
            row |= {"positive": int((self.states[group.rows, j] == 1).sum()),
                    "negative": int((self.states[group.rows, j] == 0).sum())}  # fmt: skip
            for error in _ERRORS:
                metric = self.one(error, j, group.rows).metric()
                row |= {error: metric.value, f"{error}_low": metric.low, f"{error}_high": metric.high}
            found.append(row)
        return found


def _probabilities(states: np.ndarray, valid: np.ndarray, scores: np.ndarray, least: int) -> np.ndarray:
    """Returns probabilities (N, O) by curves fitted on the valid split; NaN where too few or falling.

    Args:
        states: (V, O) of the valid split.
        valid: (V, O) its scores.
        scores: (N, O) of the split to report on.
        least: Positives and negatives that a curve needs.
    """
    found = np.full(scores.shape, np.nan)
    for j in range(scores.shape[1]):
        known = np.isin(states[:, j], (0.0, 1.0))
        truth = states[known, j] == 1
        if min(truth.sum(), (~truth).sum()) >= least:
            slope, offset = fit_platt(truth, valid[known, j])
            if slope > 0:
                found[:, j] = sigmoid(slope * scores[:, j] + offset)
    return found


def largest_gaps(rates: Rates, groups: Sequence[Group]) -> dict[str, Metric]:
    """Returns, for each column that groups are made of, the largest difference of two of its groups."""
    metrics = {}
    for column in dict.fromkeys(group.column for group in groups):
        pairs = list(itertools.permutations([group.rows for group in groups if group.column == column], 2))
        for error in _ERRORS:
            gaps = [rates.difference(error, one, other) for one, other in pairs]
            known = [gap for gap in gaps if np.isfinite(gap.value)]
            if known:
                metrics[f"subgroups/{error}_gap/{column}"] = max(known, key=lambda gap: gap.value)
    return metrics
