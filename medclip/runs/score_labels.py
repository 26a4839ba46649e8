"""Compares a labeler with given labels: what `medclip-label --score` and `--compare` print."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from labelers.errors import UserError
from labelers.labeler import Labeler
from medclip.data.csv_files import read_csv
from medclip.data.report_files import Reports
from medclip.data.tables import as_ids, label_matrix, to_numbers
from medclip.evaluation.agreement import kappa, precision_recall
from medclip.evaluation.bootstrap import bootstrap

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelAgreement:
    """States that were found beside states that were given.

    Attributes:
        ids: Ids of N reports that have given states.
        observations: O observations that both have.
        found: States (N, O) of the labeler.
        truth: States (N, O) that were given.
    """

    ids: list[str]
    observations: list[str]
    found: np.ndarray
    truth: np.ndarray

    def kappas(self) -> dict[str, float]:
        """Returns Cohen's kappa of each observation."""
        return {name: kappa(self.found[:, j], self.truth[:, j]) for j, name in enumerate(self.observations)}

    def rates(self) -> dict[str, pd.DataFrame]:
        """Returns precision, recall and F1 of each observation, by state, with intervals over reports.

        Given labels that are never uncertain or blank tell present from not present only.
        """
        resamples = bootstrap(np.array(self.ids), resamples=1000, seed=0)
        signed = bool(np.isnan(self.truth).any() or (self.truth == -1).any())
        states = {"positive": 1, "negative": 0, "uncertain": -1} if signed else {"positive": 1}
        return {
            state: precision_recall(
                self.truth == value, self.found == value, self.observations, resamples=resamples
            ).assign(state=state)
            for state, value in states.items()
        }


def score_labels(labeler: Labeler, reports: Reports, path: Path, *, id_column: str = "") -> LabelAgreement:
    """Returns what the labeler finds in the reports that `path` has labels for, beside those labels.

    Args:
        labeler: The labeler to compare.
        reports: Reports to read.
        path: Table with an id column and a column for each observation.
        id_column: Column of ids; by default the first.

    Raises:
        UserError: An id occurs twice, or ids or observations have nothing in common.
    """
    given, identity = _given(path, labeler, id_column)
    pairs = [(name, text) for name, text in reports.stream if name in given.index]
    names = _looked_for(given, labeler, path)
    if not pairs or not names:
        raise UserError(
            f"{path} shares {len(pairs)} ids ({identity}) and the observations [{', '.join(names)}] with the input. "
            "Name the id column with --id-column, and a --vocabulary whose observations the file has."
        )
    columns = [labeler.observations.index(name) for name in names]
    ids = [name for name, _ in pairs]
    found = labeler([text for _, text in pairs])[:, columns]
    return LabelAgreement(ids, names, found, label_matrix(given.loc[ids], names))


def _given(path: Path, labeler: Labeler, id_column: str) -> tuple[pd.DataFrame, str]:
    """Returns the given labels by id, and the name of the id column."""
    given = read_csv(path, origin="gold")
    identity = id_column if id_column in given.columns else str(given.columns[0])
    given = given.set_index(as_ids(given[identity]))
    if given.index.has_duplicates:
        repeated = given.index.duplicated()
        raise UserError(
            f"{path}: {int(repeated.sum())} ids ({identity}) occur twice, the first again in data row "
            f"{int(repeated.argmax()) + 1}. Which labels are right? Leave one row of each, or name the id column with "
            "--id-column."
        )
    for name in set(labeler.observations) & set(given.columns):
        given[name] = to_numbers(given[name], origin=str(path))
    return given, identity


def _looked_for(given: pd.DataFrame, labeler: Labeler, path: Path) -> list[str]:
    """Returns the observations to score; one that is never said to be present was not looked for."""
    shared = [name for name in labeler.observations if name in given.columns]
    names = [name for name in shared if not given[name].isin([0]).where(given[name].notna(), True).all()]
    if left := sorted(set(shared) - set(names)):
        logger.info("Left out, since %s never says they are present: %s", path, ", ".join(left))
    return names
