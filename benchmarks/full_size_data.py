"""Tables, film files, a pixel cache and reports of the size of CheXpert, MIMIC-CXR and NIH together, made up.

Films are empty files of real names, since their sizes and times are what is looked at; their pixels in the cache are
noise in the real format. Every step looks for what is there already, so that an interrupted one goes on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from labelers.observations import CHEXPERT14
from medclip.data.cache import PixelCache, file_key
from medclip.utils.io import write_atomically

#: Films of a patient, and of a study, on average.
FILMS_OF_PATIENT, FILMS_OF_STUDY = 4, 1.6
_FILMS_OF_FOLDER = 1000
_FINDINGS = (
    "atelectasis", "cardiomegaly", "consolidation", "pulmonary edema", "pleural effusion", "pneumonia", "pneumothorax",
    "rib fracture", "lung nodule", "opacity", "pleural thickening", "mediastinal widening", "central line", "granuloma",
)  # fmt: skip
_PARTS = (
    ("Small", "Moderate", "Large", "Mild", "Severe", "Subtle", "Stable", "No new"),
    ("left", "right", "bilateral"), ("upper", "middle", "lower", "apical", "basal"), _FINDINGS,
    ("is seen", "is noted", "persists", "has improved", "is unchanged", "cannot be excluded", "has resolved"),
    tuple(f"since the study of day {day}" for day in range(1, 400)),
)  # fmt: skip
_SENTENCES = int(np.prod([len(part) for part in _PARTS]))
_COMMON = ("The heart is normal in size.", "No pneumothorax.", "No pleural effusion.", "The lungs are clear.")


@dataclass(frozen=True)
class FullSize:
    """Where the data lie, and how many there are.

    Attributes:
        folder: The folder of everything that is made.
        films: Number of films.
        sentences: Number of different sentences.
        side: Side of the cached squares, in pixels.
        batches: Number of batches that are loaded.
    """

    folder: Path
    films: int
    sentences: int
    side: int
    batches: int = 1000

    @property
    def prepared(self) -> Path:
        """The prepared folder."""
        return self.folder / "prepared"

    @property
    def images(self) -> Path:
        """The table of films."""
        return self.folder / "films.csv"

    @property
    def texts(self) -> Path:
        """The table of reports."""
        return self.folder / "reports.csv"


def sentence(number: int) -> str:
    """Returns a sentence unlike those of all other numbers below four million."""
    words, rest = [], number * 1_000_003 % _SENTENCES
    for part in _PARTS:
        rest, place = divmod(rest, len(part))
        words.append(part[place])
    return " ".join(words) + "."


def make(full: FullSize) -> None:
    """Makes what is not there yet.

    Raises:
        SystemExit: The folder holds data of another size.
    """
    full.folder.mkdir(parents=True, exist_ok=True)
    size = {"films": full.films, "sentences": full.sentences, "side": full.side}
    said = full.folder / "size.json"
    if said.is_file() and json.loads(said.read_text()) != size:
        raise SystemExit(f"{full.folder} holds {said.read_text()}, not {size}. Name another folder.")
    said.write_text(json.dumps(size))
    if not full.images.is_file():
        write_atomically(full.images, lambda path: _film_table(full).to_csv(path, index=False))
    if not full.texts.is_file():
        write_atomically(full.texts, lambda path: _report_table(full).to_csv(path, index=False))
    paths = _film_files(full)
    cache = PixelCache(full.prepared / "cache", full.side)
    noise = np.random.default_rng(0).integers(0, 256, 2 * full.side**2, dtype=np.uint8)
    cache.fill({file_key(path): path for path in paths}, draw=partial(_draw, noise=noise, side=full.side))


def _study(full: FullSize, films: np.ndarray) -> np.ndarray:
    return (films / FILMS_OF_STUDY).astype(np.int64)


def _patient(films: np.ndarray) -> np.ndarray:
    return films // FILMS_OF_PATIENT


def _path(film: int) -> str:
    return f"films/p{film // _FILMS_OF_FOLDER:04d}/{film:08x}-00000000-00000000-00000000.jpg"


def _film_table(full: FullSize) -> pd.DataFrame:
    films = np.arange(full.films)
    states = np.random.default_rng(0).choice(["1.0", "0.0", "-1.0", ""], (full.films, 14), p=[0.12, 0.1, 0.05, 0.73])
    ids = {"path": [_path(film) for film in films], "study_id": 50_000_000 + _study(full, films),
           "patient_id": 10_000_000 + _patient(films), "view": "PA"}  # fmt: skip
    return pd.DataFrame(ids | {name: states[:, j] for j, name in enumerate(CHEXPERT14)})


def _report_table(full: FullSize) -> pd.DataFrame:
    films = np.arange(full.films)
    ids = pd.DataFrame({"study_id": _study(full, films), "patient_id": _patient(films)}).drop_duplicates("study_id")
    different = np.array_split(np.arange(full.sentences), len(ids))
    texts = [
        " ".join([*map(sentence, numbers.tolist()), _COMMON[i % len(_COMMON)]]) for i, numbers in enumerate(different)
    ]
    return ids.assign(
        study_id=50_000_000 + ids["study_id"], patient_id=10_000_000 + ids["patient_id"], text=texts
    )  # fmt: skip


def _film_files(full: FullSize) -> list[str]:
    """Makes the files, and returns their paths."""
    root = full.folder.resolve()
    paths = [str(root / _path(film)) for film in range(full.films)]
    for start in range(0, len(paths), _FILMS_OF_FOLDER):
        part = paths[start : start + _FILMS_OF_FOLDER]
        Path(part[0]).parent.mkdir(parents=True, exist_ok=True)
        for path in part:
            if not Path(path).exists():
                Path(path).touch()
    return paths


def _draw(path: str, *, noise: np.ndarray, side: int) -> np.ndarray:
    """Returns a square of noise that is unlike those of other films."""
    start = int(Path(path).name[:8], 16) * 7919 % (side * side)
    return noise[start : start + side * side].reshape(side, side)
