"""Texts that stand beside images in paired training: their own reports, reports of equal labels, or written prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from labelers.errors import UserError
from labelers.observations import NO_FINDING
from medclip.data.datasets import ImageSide, Partners
from medclip.data.tables import label_matrix

#: Wording of an observation by its state, after the class prompts of CXR-CLIP (You et al. 2023, arXiv 2310.13292).
_WORDING = {
    1: ("There is {}.", "{} is seen.", "Findings are consistent with {}."),
    0: ("There is no {}.", "No evidence of {}.", "No {} is seen."),
    -1: ("There may be {}.", "{} cannot be excluded.", "Possible {}."),
}
_DENIED = 3  # denials in a text at most, as reports deny few of all findings
_DRAWS = 8  # texts for each combination of states


def reports_of_studies(
    reports: Sequence[pd.DataFrame], occurrences: Sequence[pd.DataFrame], study_numbers: dict[str, int]
) -> Partners:
    """Returns the whole reports of training studies that have images.

    Args:
        reports: Tables of whole reports, one for each source.
        occurrences: Which study says what, one for each source; other studies are left out.
        study_numbers: The number of each study that has images.
    """
    table = _training_reports(reports, occurrences)
    table = table.assign(study=table["study_id"].map(study_numbers))
    table = table[table["study"].notna()].astype({"study": int}).reset_index(drop=True)
    return Partners(table, pd.DataFrame({"study": table["study"], "row": np.arange(len(table))}))


def reports_of_equal_labels(
    images: ImageSide,
    reports: Sequence[pd.DataFrame],
    occurrences: Sequence[pd.DataFrame],
    observations: Sequence[str],
) -> tuple[ImageSide, Partners]:
    """Returns pseudo-pairs: any report that claims the same observations as an image's labels is its partner.

    Where no report claims the same, those are taken that differ in the fewest. Uncertain observations count as
    claimed. Images of equal claims get one study number, so that they are no negatives of each other.

    Args:
        images: The images.
        reports: Tables of whole reports, one for each source.
        occurrences: Which study says what, one for each source; other studies are left out.
        observations: The columns of label vectors.

    Raises:
        UserError: There is no report.
    """
    table = _training_reports(reports, occurrences)
    if table.empty:
        raise UserError("Found no report in the train split, so there is none to pair images with by labels.")
    claimed = np.isin(label_matrix(table, observations), (1, -1))
    wanted, groups = np.unique(images.labels > 0, axis=0, return_inverse=True)
    there, members = np.unique(claimed, axis=0, return_inverse=True)
    rows_of = [np.flatnonzero(members.reshape(-1) == i) for i in range(len(there))]
    links = []
    for group, combination in enumerate(wanted):
        differing = (there != combination).sum(axis=1)
        rows = np.concatenate([rows_of[i] for i in np.flatnonzero(differing == differing.min())])
        links.append(pd.DataFrame({"study": group, "row": rows}))
    return replace(images, studies=groups.reshape(-1)), Partners(table, pd.concat(links, ignore_index=True))


def prompts_of_labels(
    images: ImageSide, observations: Sequence[str], *, seed: int, zero_is_denied: bool = False
) -> tuple[ImageSide, Partners]:
    """Returns texts written from the labels of images, several for each combination, without any report.

    Images of equal labels get one study number, so that they are no negatives of each other. Images of which nothing is
    known get no text.

    Args:
        images: The images.
        observations: The columns of label vectors.
        seed: Seed of the wording.
        zero_is_denied: Whether label vectors have 0 for what is denied, as with negatives "absent"; else it is unknown.
    """
    combinations, groups = np.unique(images.labels, axis=0, return_inverse=True)
    rng = np.random.default_rng([seed, 5])
    # As label vectors, "opposite" has -1 for denied and 0 for not known; 0.5 is uncertain.
    states = np.select([combinations >= 1, combinations > 0, combinations < 0], [1.0, -1.0, 0.0], np.nan)
    if zero_is_denied:
        states = np.where(np.isnan(states), 0.0, states)
    rows = [
        (group, text, *row)
        for group, row in enumerate(states)
        for _ in range(_DRAWS)
        if (text := _write(dict(zip(observations, row, strict=True)), rng))
    ]
    table = pd.DataFrame(rows, columns=["study", "text", *observations])
    links = pd.DataFrame({"study": table["study"], "row": np.arange(len(table))})
    return replace(images, studies=groups.reshape(-1)), Partners(table, links)


def _training_reports(reports: Sequence[pd.DataFrame], occurrences: Sequence[pd.DataFrame]) -> pd.DataFrame:
    kept = [
        table[(table["split"] == "train") & table["study_id"].isin(said["study_id"])]
        for table, said in zip(reports, occurrences, strict=True)
    ]
    return pd.concat(kept, ignore_index=True)


def _write(states: dict[str, float], rng: np.random.Generator) -> str:
    """Returns a text that tells every claim of `states` and some of its denials, in a random order; "" for none."""
    claimed = [name for name, state in states.items() if state in (1, -1) and name != NO_FINDING]
    denied = [name for name, state in states.items() if state == 0 and name != NO_FINDING]
    told = [*claimed, *rng.permutation(denied)[:_DENIED].tolist()]
    sentences = [_sentence(name, states[name], rng) for name in rng.permutation(told).tolist()]
    return " ".join(sentences) or ("No acute finding." if states.get(NO_FINDING) == 1 else "")


def _sentence(name: str, state: float, rng: np.random.Generator) -> str:
    wording = _WORDING[int(state)]
    text = wording[int(rng.integers(len(wording)))].format(name.lower())
    return text[0].upper() + text[1:]
