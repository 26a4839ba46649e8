"""Published test sets, chosen again from the tables their authors chose them from.

There are three definitions of "CheXpert 5x200". All take images of train.csv with exactly one of five observations
and nothing else; they differ in what uncertain means, in the views, and in how rows are drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import pandas as pd

from labelers.errors import UserError
from labelers.observations import CHEXPERT5, CHEXPERT14, NO_FINDING
from medclip.data.tables import label_matrix

DEFINITIONS = ("mgca", "gloria", "medclip")


def five_by_200(table: pd.DataFrame, *, definition: str = "mgca", per_class: int = 200) -> pd.DataFrame:
    """Returns the rows of a 5x200 test set, in the order of drawing.

    - "mgca" (Wang et al. 2022, MGCA): frontal, uncertain excludes, each class drawn with seed 0. Repeatable from the
      table alone, therefore the default.
    - "gloria" (Huang et al. 2021): the same rows to draw from, the classes one after the other from one generator
      with seed 6. Its authors published a list; this is how their code draws.
    - "medclip" (Wang et al. 2022): all views, uncertain counts as negative, 400 of each class with seed 42, and half
      of the 2,000 without regard to class, so that classes are about and not exactly equal.

    Args:
        table: All images of train.csv in their order, all views.
        definition: one of these.
        per_class: 200.

    Raises:
        UserError: The definition is unknown, or a class has too few images.
    """
    if definition not in DEFINITIONS:
        raise UserError(f"5x200 definition {definition!r} is none of {', '.join(DEFINITIONS)}.")
    observed = [name for name in CHEXPERT14 if name != NO_FINDING]
    states = np.nan_to_num(label_matrix(table, observed))
    if definition == "medclip":
        states = np.where(states == -1, 0.0, states)
        among = np.ones(len(table), dtype=bool)
    else:
        among = (table["view"] != "lateral").to_numpy()
    alone = (states == 1).sum(axis=1) == 1
    clean = (np.abs(states).sum(axis=1) == 1) & alone & among
    generator = np.random.RandomState(42 if definition == "medclip" else 6)
    wanted = 2 * per_class if definition == "medclip" else per_class
    parts = []
    for name in CHEXPERT5:
        rows = table[clean & (states[:, observed.index(name)] == 1)]
        if len(rows) < wanted:
            raise UserError(
                f"5x200, {definition}: {name} has {len(rows)} images alone, and {wanted} are needed. Is this all of "
                "the training set, with all views?"
            )
        parts.append(rows.sample(n=wanted, random_state=0 if definition == "mgca" else generator))
    chosen = pd.concat(parts)
    if definition != "medclip":
        return chosen
    # Uncertain was negative when rows were chosen, and is when they are scored.
    observed = [name for name in observed if name in chosen.columns]
    return chosen.assign(**chosen[observed].replace(-1.0, 0.0)).sample(frac=0.5, random_state=generator)


def balanced(
    table: pd.DataFrame, observation: str, *, seed: int, rows: int | None = None, share: float | None = None
) -> set[str]:
    """Returns image ids, equally many positive and negative for `observation`.

    MedCLIP's protocol for RSNA and COVID: draw the test images, then as many of the larger class as of the smaller.
    Its random numbers are not published; ours are these.

    Args:
        table: Images.
        observation: What they are balanced for.
        seed: Seed of the draw.
        rows: Number of rows in all.
        share: Or the share of the images from which a balanced set is taken.
    """
    rng = np.random.default_rng(seed)
    drawn = table.iloc[rng.permutation(len(table))]
    if share is not None:
        drawn = drawn[: round(share * len(drawn))]
    sides = [drawn.loc[drawn[observation] == state, "image_id"] for state in (1.0, 0.0)]
    most = min(len(sides[0]), len(sides[1]), rows // 2 if rows else len(drawn))
    return set(sides[0][:most]) | set(sides[1][:most])


def checksum(ids: Iterable[str]) -> str:
    """Returns a digest of a set of ids, whatever their order: two test sets are the same if it is."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]
