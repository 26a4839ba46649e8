"""The 14 CheXpert observations, the four states, and the one place where states become label vectors.

States are the same everywhere, on disk and in memory: positive 1, negative 0, uncertain -1, unmentioned NaN.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from labelers.errors import UserError

POSITIVE, NEGATIVE, UNCERTAIN, UNMENTIONED = 1.0, 0.0, -1.0, float("nan")

NO_FINDING = "No Finding"
SUPPORT_DEVICES = "Support Devices"

#: Order of the columns in CheXpert's and MIMIC-CXR's label files.
CHEXPERT14 = (
    NO_FINDING,
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    SUPPORT_DEVICES,
)

#: The five observations of the CheXpert competition, used by the 5x200 benchmarks.
CHEXPERT5 = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")

#: Names that other label files use for one of the 14 (ChestX-ray14, NegBio).
SYNONYMS = {
    "Effusion": "Pleural Effusion",
    "Infiltration": "Lung Opacity",
    "Airspace Opacity": "Lung Opacity",
    "Mass": "Lung Lesion",
    "Nodule": "Lung Lesion",
    "Pleural_Thickening": "Pleural Other",
    "Pleural Thickening": "Pleural Other",
}

UNCERTAIN_POLICIES = ("zero", "one", "ignore", "soft")
NEGATIVE_POLICIES = ("absent", "opposite")


@dataclass(frozen=True)
class LabelPolicy:
    """How states become the numbers an objective sees.

    Attributes:
        uncertain: "zero" (as if absent), "one" (as if positive), "ignore" (as if unmentioned) or "soft"
            (`soft_value`). Names follow CheXpert's U-Zeros, U-Ones and U-Ignore (Irvin et al. 2019, section 3.2).
        negative: "absent" writes 0, so that a denial and silence are one; "opposite" writes -1, so that a
            denial contradicts a positive.
        soft_value: What an uncertain state becomes under "soft".

    Examples:
        >>> import numpy as np
        >>> from labelers import LabelPolicy
        >>> policy = LabelPolicy(uncertain="soft", negative="opposite")
        >>> policy(np.array([[1, 0, -1, np.nan]])).tolist()  # positive, negative, uncertain, unmentioned
        [[1.0, -1.0, 0.5, 0.0]]
    """

    uncertain: str
    negative: str
    soft_value: float = 0.5

    def __post_init__(self) -> None:
        for name, value, known in (
            ("uncertain", self.uncertain, UNCERTAIN_POLICIES),
            ("negative", self.negative, NEGATIVE_POLICIES),
        ):
            if value not in known:
                raise UserError(f"Label policy {name}={value!r} is unknown. Choose one of: {', '.join(known)}.")

    def __call__(self, states: np.ndarray) -> np.ndarray:
        """Returns label vectors (N, O), float32, for `states` (N, O).

        Unmentioned is 0 under every policy: nothing was said, so nothing is claimed.

        Raises:
            ValueError: A state is none of 1, 0, -1, NaN.
        """
        states = check_states(states)
        negative = -1.0 if self.negative == "opposite" else 0.0
        uncertain = {"zero": negative, "one": 1.0, "ignore": 0.0, "soft": self.soft_value}[self.uncertain]
        vectors = np.zeros(states.shape, dtype=np.float32)
        vectors[states == POSITIVE] = 1.0
        vectors[states == NEGATIVE] = negative
        vectors[states == UNCERTAIN] = uncertain
        return vectors


def states_from_names(named: Sequence[Collection[str]], names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Returns a column of states per observation for rows that list what is present, as ChestX-ray14 does.

    Several names of one observation become one column. What a row does not list is negative, because such files
    list all they looked for; a row without any name is unmentioned throughout.

    Args:
        named: Names that each row lists.
        names: All names the file looked for; without them, every name that occurs.
    """
    looked_for = sorted({name for row in named for name in row}) if names is None else list(names)
    columns: dict[str, np.ndarray] = {}
    for name in looked_for:
        column = columns.setdefault(SYNONYMS.get(name, name), np.full(len(named), NEGATIVE, dtype=np.float32))
        column[[name in row for row in named]] = POSITIVE
    silent = np.array([not row for row in named], dtype=bool)
    for column in columns.values():
        column[silent] = UNMENTIONED
    return columns


def check_states(states: np.ndarray) -> np.ndarray:
    """Returns `states` as float32 after checking that it holds only 1, 0, -1 and NaN.

    Raises:
        UserError: Another value was found.
    """
    states = np.asarray(states, dtype=np.float32)
    wrong = ~(np.isnan(states) | np.isin(states, (POSITIVE, NEGATIVE, UNCERTAIN)))
    if wrong.any():
        found = sorted({float(value) for value in states[wrong]})[:5]
        raise UserError(
            f"Found states {found}; a state is 1 (positive), 0 (negative), -1 (uncertain) or blank (unmentioned). "
            "Convert the column before handing it over."
        )
    return states
