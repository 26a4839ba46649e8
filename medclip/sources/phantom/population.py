"""Who has what: states, severity, side and place of every observation, for any study of a seeded population.

Prevalence is CheXpert's published table (Irvin et al. 2019, table 1: share of studies labelled positive and
uncertain). The table gives no joint counts, so co-occurrence comes from a Gaussian copula whose correlations say
what goes together clinically (fluid overload, infection, collapse with effusion, tubes in the very ill).

Version 2 has two hospitals that differ (`HOSPITALS`) and findings outside the 14 (`RARE`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from labelers.attribute_states import VALUES, attribute_name, attribute_names
from labelers.errors import UserError
from labelers.observations import CHEXPERT14, NO_FINDING

#: Share positive, share uncertain, in CheXpert's 187,641 studies.
PREVALENCE = {
    "Enlarged Cardiomediastinum": (0.0481, 0.0541),
    "Cardiomegaly": (0.1226, 0.0352),
    "Lung Opacity": (0.4939, 0.0231),
    "Lung Lesion": (0.0365, 0.0057),
    "Edema": (0.2606, 0.0617),
    "Consolidation": (0.0678, 0.1278),
    "Pneumonia": (0.0244, 0.0834),
    "Atelectasis": (0.1563, 0.1566),
    "Pneumothorax": (0.0923, 0.0142),
    "Pleural Effusion": (0.4034, 0.0502),
    "Pleural Other": (0.0130, 0.0094),
    "Fracture": (0.0387, 0.0026),
    "Support Devices": (0.5640, 0.0048),
}
_DRAWN = tuple(PREVALENCE)
_CORRELATION = {
    ("Edema", "Pleural Effusion"): 0.4,
    ("Edema", "Cardiomegaly"): 0.4,
    ("Cardiomegaly", "Enlarged Cardiomediastinum"): 0.4,
    ("Cardiomegaly", "Pleural Effusion"): 0.25,
    ("Edema", "Lung Opacity"): 0.3,
    ("Pneumonia", "Lung Opacity"): 0.5,
    ("Pneumonia", "Consolidation"): 0.4,
    ("Consolidation", "Lung Opacity"): 0.4,
    ("Consolidation", "Pleural Effusion"): 0.2,
    ("Atelectasis", "Pleural Effusion"): 0.35,
    ("Atelectasis", "Lung Opacity"): 0.2,
    ("Pleural Effusion", "Lung Opacity"): 0.25,
    ("Pneumothorax", "Support Devices"): 0.25,
    ("Edema", "Support Devices"): 0.25,
    ("Pleural Effusion", "Support Devices"): 0.25,
    ("Fracture", "Pneumothorax"): 0.2,
}
_BLOCK = 1024
SIDES = ("left", "right", "bilateral")
VERSIONS = (1, 2)
#: What version 2 also draws and describes, outside the 14, with its prevalence; it is in no label to learn from.
RARE = {
    "Emphysema": 0.05,
    "Granuloma": 0.06,
    "Hemidiaphragm Elevation": 0.04,
    "Hernia": 0.04,
    "Lung Cavity": 0.03,
    "Scoliosis": 0.06,
    "Subcutaneous Emphysema": 0.03,
    "Tortuous Aorta": 0.08,
}


@dataclass(frozen=True)
class Hospital:
    """One of the two hospitals of version 2.

    Attributes:
        patients: Share of the patients.
        shift: What is added to the threshold of disease, in deviations: higher, and less is found.
        shifts: The same of single observations.
        anteroposterior: Share of AP films.
        marker: Share of films with pleural effusion that bear a letter in the corner; of those without, the rest.
        border: Whether films have a black border.
        exposure: Factor of grey values.
        labels: Observations that the images are labelled for; all 14 where empty.
    """

    patients: float
    shift: float
    shifts: Mapping[str, float]
    anteroposterior: float
    marker: float
    border: bool
    exposure: float
    labels: tuple[str, ...] = ()


#: A is where the very ill lie, and marks films of effusions; B sees outpatients, and labels fewer observations.
HOSPITALS = {
    "A": Hospital(0.6, 0.0, {}, 0.8, 0.8, border=False, exposure=1.0),
    "B": Hospital(
        0.4, 0.35, {"Support Devices": 0.8, "Lung Lesion": -0.3, "Fracture": -0.3}, 0.2, 0.5, border=True,
        exposure=0.85, labels=(
            "No Finding", "Cardiomegaly", "Lung Lesion", "Edema", "Consolidation", "Pneumonia", "Pneumothorax",
            "Pleural Effusion", "Fracture", "Support Devices",
        ),
    ),
}  # fmt: skip

_ORDER = {name: i for i, name in enumerate((*_DRAWN, *RARE))}


@dataclass(frozen=True, slots=True)
class Sign:
    """One observation of one study.

    Attributes:
        state: What a reader reports: 1, 0 or -1.
        present: Whether it is drawn. An uncertain one is, half of the time, and then only slight.
        severity: 0 (barely there) to 1.
        side: one of `SIDES`.
        place: Two numbers in [0, 1): where along and across the lung; each drawing reads them its own way.
    """

    observation: str
    state: int
    present: bool
    severity: float
    side: str
    place: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Study:
    """One examination of a made-up patient. Every patient has two studies in a row.

    Attributes:
        signs: Of the 13 observations that are drawn, in version 2 those of `RARE` after them.
        version: One of `VERSIONS`.
        hospital: In version 2 one of `HOSPITALS`.
    """

    seed: int
    number: int
    patient: int
    age: int
    sex: str
    view: str
    split: str
    signs: tuple[Sign, ...]
    version: int = 1
    hospital: str = ""

    def sign(self, observation: str) -> Sign:
        """Returns what the study says of `observation`."""
        return self.signs[_ORDER[observation]]

    def has(self, observation: str) -> bool:
        """Tells whether `observation` is drawn; of those of `RARE` in version 1, that it is not."""
        return (self.version > 1 or observation not in RARE) and self.sign(observation).present


def draw_study(seed: int, number: int, version: int = 1) -> Study:
    """Returns study `number` of the population of `seed`; the same one however many others are drawn."""
    if number < 0:
        raise UserError(f"Found study number {number}; studies count from 0.")
    block, row = divmod(number, _BLOCK)
    states, present, severity, sides, places = _block(seed, block, version)
    names = _DRAWN if version == 1 else (*_DRAWN, *RARE)
    signs = tuple(
        Sign(
            name,
            int(states[row, i]),
            bool(present[row, i]),
            float(severity[row, i]),
            SIDES[sides[row, i]],
            (float(places[row, i, 0]), float(places[row, i, 1])),
        )
        for i, name in enumerate(names)
    )
    patient = number // 2
    rng = np.random.default_rng([seed, 1, patient])
    age, sex, share = int(np.clip(rng.normal(60, 18), 18, 95)), "FM"[int(rng.random() < 0.55)], rng.random()
    split = "test" if share < 0.1 else "valid" if share < 0.2 else "train"
    hospital = "" if version == 1 else "AB"[int(_at_b(seed, block)[row])]
    view = "AP" if places[row, 0, 0] < (HOSPITALS[hospital].anteroposterior if hospital else 0.7) else "PA"
    return Study(seed, number, patient, age, sex, view, split, signs, version, hospital)


def states_of(study: Study) -> dict[str, int]:
    """Returns the states of the 14 observations as they would stand in a label file.

    In the train split they are what a reader reports, uncertain ones included; in valid and test they are the
    truth, as CheXpert's experts gave it.
    """
    expert = study.split != "train"
    states = {f.observation: int(f.present) if expert else f.state for f in study.signs[: len(_DRAWN)]}
    found = any(state != 0 for name, state in states.items() if name != "Support Devices")
    return {name: int(not found) if name == NO_FINDING else states[name] for name in CHEXPERT14}


def attributes_of(study: Study, kinds: Sequence[str]) -> dict[str, float]:
    """Returns the states of sides and sizes as they would stand in a label file.

    In the train split they are what a reader reports: 0 where the observation is absent, -1 where it is uncertain. In
    valid and test they are the truth about findings that are there, of sides about one-sided ones; otherwise blank.

    Args:
        study: The study.
        kinds: Some of "side" and "size".
    """
    states: dict[str, float] = {}
    for sign in study.signs[: len(_DRAWN)]:
        # As in reports: the lower two of four grades are small, the highest is large.
        sizes = ("small",) if sign.severity < 0.5 else ("large",) if sign.severity >= 0.75 else ()
        sides = ("left", "right") if sign.side == "bilateral" else (sign.side,)
        for kind, values in (("side", sides), ("size", sizes)):
            if kind in kinds:
                told = _told(study, sign, kind)
                absent = told if np.isnan(told) else 0.0
                states |= {
                    attribute_name(sign.observation, value): told if value in values else absent
                    for value in VALUES[kind]
                }
    return {name: states.get(name, np.nan) for name in attribute_names(CHEXPERT14, kinds)}


def _told(study: Study, sign: Sign, kind: str) -> float:
    """Returns the state of an attribute that `sign` has."""
    if study.split == "train":
        return float(sign.state)
    counts = sign.present and not (kind == "side" and sign.side == "bilateral")
    return 1.0 if counts else float("nan")


def rare_states_of(study: Study) -> dict[str, float]:
    """Returns the states of what is `RARE` as they would stand in a label file: the truth in valid and test."""
    return {name: float(study.sign(name).present) if study.split != "train" else float("nan") for name in RARE}


@lru_cache(maxsize=8)
def _at_b(seed: int, block: int) -> np.ndarray:
    """Returns which studies (`_BLOCK`,) of a block are of hospital B; both studies of a patient are of one."""
    drawn = np.random.default_rng([seed, 7, block]).random(_BLOCK // 2)
    return np.repeat(drawn >= HOSPITALS["A"].patients, 2)


@lru_cache(maxsize=8)
def _block(seed: int, block: int, version: int) -> tuple[np.ndarray, ...]:
    """Returns states, presence, severity, side and place for `_BLOCK` studies at once."""
    common = _common(seed, block, _shift(seed, block) if version > 1 else 0.0)
    if version == 1:
        return common
    rng = np.random.default_rng([seed, 8, block])
    size = (_BLOCK, len(RARE))
    present = rng.random(size) < np.array(list(RARE.values()))
    sides = rng.integers(0, 2, size)
    rare = (present.astype(int), present, rng.random(size), sides, rng.random((*size, 2)))
    return tuple(np.concatenate(pair, axis=1) for pair in zip(common, rare, strict=True))


def _shift(seed: int, block: int) -> np.ndarray:
    """Returns what is added to the thresholds (`_BLOCK`, 13) of each study's hospital."""
    of = {name: [one.shifts.get(o, one.shift) for o in _DRAWN] for name, one in HOSPITALS.items()}
    return np.where(_at_b(seed, block)[:, None], of["B"], of["A"])


def _common(seed: int, block: int, shift: np.ndarray | float) -> tuple[np.ndarray, ...]:
    """Returns states, presence, severity, side and place of the 13 observations, thresholds raised by `shift`."""
    rng = np.random.default_rng([seed, 0, block])
    size = (_BLOCK, len(_DRAWN))
    latent = rng.standard_normal(size) @ _cholesky().T - shift
    positive, uncertain = _thresholds()
    states = np.where(latent > positive, 1, np.where(latent > uncertain, -1, 0))
    present = (states == 1) | ((states == -1) & (rng.random(size) < 0.5))
    # A uniform draw, pulled towards slight signs: most disease on real films is mild.
    severity = rng.random(size) ** 1.3
    severity = np.where(states == -1, 0.3 * severity, severity)
    sides = np.searchsorted([0.4, 0.8], rng.random(size), side="right")
    return states, present, severity, sides, rng.random((*size, 2))


@lru_cache(maxsize=1)
def _cholesky() -> np.ndarray:
    matrix = np.eye(len(_DRAWN))
    for (a, b), value in _CORRELATION.items():
        i, j = _DRAWN.index(a), _DRAWN.index(b)
        matrix[i, j] = matrix[j, i] = value
    values, vectors = np.linalg.eigh(matrix)
    matrix = vectors @ np.diag(np.clip(values, 0.05, None)) @ vectors.T
    scale = np.sqrt(np.diag(matrix))
    return np.linalg.cholesky(matrix / scale[:, None] / scale[None, :])


@lru_cache(maxsize=1)
def _thresholds() -> tuple[np.ndarray, np.ndarray]:
    normal = NormalDist()
    positive = [normal.inv_cdf(1 - p) for p, _ in PREVALENCE.values()]
    uncertain = [normal.inv_cdf(1 - p - u) for p, u in PREVALENCE.values()]
    return np.array(positive), np.array(uncertain)
