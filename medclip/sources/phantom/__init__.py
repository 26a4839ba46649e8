"""Synthetic frontal chest radiographs with reports: runs anywhere, costs nothing, and its truth is known.

`population` decides who has what, `radiograph` draws it, `report` writes about it. All three are deterministic in
(seed, study number), so any study can be made alone. Nothing here comes from patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labelers.attribute_states import VALUES
from labelers.errors import UserError
from labelers.observations import CHEXPERT14
from labelers.rules import RuleLabeler
from medclip.data.source import Source
from medclip.data.tables import check_boxes, check_images, check_texts
from medclip.sources.phantom.population import (
    HOSPITALS,
    VERSIONS,
    Study,
    attributes_of,
    draw_study,
    rare_states_of,
    states_of,
)
from medclip.sources.phantom.radiograph import draw_boxes, film_called
from medclip.sources.phantom.report import LANGUAGES, write_report
from medclip.sources.phantom.shortcut import Shortcut

IMAGE_LABELS = ("reader", "report")
_VOCABULARIES = {"en": "chexpert14", "zh": "chexpert14-zh"}


class Phantom(Source):
    """A made-up population.

    Images of the train split carry states as a reader would report them, or what is read from the reports; those of
    valid and test the truth. Columns of sides and sizes ("Pleural Effusion (left)") of the valid and test split are
    about findings that are there: one-sided ones, and small or large ones.

    Args:
        root: Not used; nothing is on disk.
        studies: Number of images, and of reports.
        size: Side of the square images, in pixels.
        seed: Seed of the population.
        paired: Whether the reports are about the images, or about another part of the population.
        language: Language of the reports: "en" (English) or "zh" (Chinese).
        observations: Observations that images are labelled for, as data sets differ in it; by default all 14.
        image_labels: Where states of the train split come from: "reader", all 14 of every image without an error; or
            "report", what the rule labeler reads in the image's report, blank where that is silent, as CheXpert's.
        label_errors: Share of the states of the train split that are turned round.
        version: 1; or 2, harder: no observation is plain or invisible, reports are as varied as people's, findings
            outside the 14 are drawn and described (columns of their own in valid and test, blank in train), and two
            hospitals (column `site`) differ in films, patients, style and labels. English only.
        pairs: Of a paired population, the number of studies in the train split that have image and report; 0 for all.
        unpaired: With `pairs`, the number of further images without their reports, and of further reports without their
            images, in the train split. Other studies of that split are left out.
        train_site: In version 2 the hospital, A or B, whose images and reports alone are in the train and valid split.
        attributes: Attributes that images are labelled for, too: some of "side" and "size".
        shortcut: A mark that goes with an observation, to see who relies on it: `{observation: Pleural Effusion, kind:
            marker, train: 0.95, test: 0.05}`. Of the images with the observation that share bears the mark, of those
            without it the rest; `train` is of the train and the valid split. Kinds: "marker" (a bright letter in a
            corner), "border" (a black frame), "exposure" (a darker film). The latter two are of a machine, which the
            column `site` tells.
    """

    name = "phantom"
    layout = "nothing: images are drawn and reports written on the fly"
    obtain = "this package"
    to_pair = " --source-options '{phantom: {paired: true}}'"

    def __init__(
        self, root: Path = Path(), *, studies: int = 6000, size: int = 128, seed: int = 0, paired: bool = False,
        language: str = "en", observations: Sequence[str] = (), image_labels: str = "reader",
        label_errors: float = 0.0, attributes: Sequence[str] = (),
        shortcut: Mapping[str, Any] | None = None, version: int = 1, pairs: int = 0, unpaired: int = 0,
        train_site: str = "",
    ) -> None:  # fmt: skip
        super().__init__(root)
        if studies < 1 or size < 16:
            raise UserError(f"phantom: needs studies >= 1 and size >= 16, found studies={studies}, size={size}.")
        if not 0 <= label_errors <= 1:
            raise UserError(f"phantom: label_errors is a share, found {label_errors}.")
        for found, known in (
            ([language], LANGUAGES), (observations, CHEXPERT14), ([image_labels], IMAGE_LABELS), (attributes, VALUES),
            ([str(version)], [str(one) for one in VERSIONS]), ([train_site], ["", *HOSPITALS]),
        ):  # fmt: skip
            if unknown := sorted(set(found) - set(known)):
                raise UserError(f"phantom: found {', '.join(unknown)}; choose from {', '.join(known)}.")
        if version == 1 and train_site:
            raise UserError(f"phantom: train_site {train_site} needs version: 2, which has hospitals.")
        if version > 1 and language != "en":
            raise UserError(f"phantom: version {version} writes English only, found language {language!r}.")
        if min(pairs, unpaired) < 0 or (pairs and not paired) or (unpaired and not pairs):
            raise UserError(
                "phantom: pairs needs paired: true, unpaired needs pairs, and neither is below 0; found "
                f"paired={paired}, pairs={pairs}, unpaired={unpaired}."
            )
        self.version, self.train_site, self.pairs, self.unpaired = version, train_site, pairs, unpaired
        self.studies, self.size, self.seed, self.paired = studies, size, seed, paired
        self.language, self.observations = language, list(observations) or list(CHEXPERT14)
        # Reports pass over what is absent, and over nothing else.
        self.blank_is_negative = image_labels == "report"
        self.image_labels, self.label_errors, self.attributes = image_labels, label_errors, list(attributes)
        self.shortcut = Shortcut.of(shortcut) if shortcut else None
        self.draw = _draw

    @classmethod
    def locate(cls, path: str | None, data_root: Path | None) -> Path:
        """Returns a path that is not used."""
        return Path()

    def shares_studies(self, other: Source) -> bool:
        """Tells whether the reports are about the images."""
        return super().shares_studies(other) and self.paired

    def images(self) -> pd.DataFrame:
        """Returns one frontal image a study, with the states of the 14 observations."""
        studies = self._with(0)
        rows = [
            {
                **_ids(study),
                "image_id": f"{self.seed}-{study.number}",
                "path": f"{self._kind}-{self.seed}-{self.size}-{self._mark(study)}{study.number}",
                "view": study.view,
                "split": study.split,
                "age": study.age,
                "sex": study.sex,
                **self._site(study),
            }
            for study in studies
        ]
        table = pd.concat([pd.DataFrame(rows), self._states(studies)], axis=1)
        return check_images(table, origin=self.name)

    def _site(self, study: Study) -> dict[str, str]:
        """Returns the hospital, or the machine where that is what makes the mark."""
        if study.hospital or not self.shortcut or self.shortcut.kind == "marker":
            return {"site": study.hospital} if study.hospital else {}
        return {"site": "marked" if self.shortcut.marks(study) else "plain"}

    @property
    def _kind(self) -> str:
        """The first part of paths, so that pixels of each version are cached apart."""
        return "phantom" if self.version == 1 else f"phantom{self.version}"

    def _mark(self, study: Study) -> str:
        """Returns the mark of an image as a part of its path, so that marked pixels are cached apart."""
        return f"{self.shortcut.kind}-" if self.shortcut and self.shortcut.marks(study) else ""

    def _states(self, studies: Sequence[Study]) -> pd.DataFrame:
        """Returns the states of studies: of observations, then of attributes."""
        states = pd.DataFrame([states_of(study) | attributes_of(study, self.attributes) for study in studies])
        train = np.array([study.split == "train" for study in studies])
        if self.image_labels == "report" and train.any():
            labeler = RuleLabeler(_VOCABULARIES[self.language], attributes=self.attributes)
            reports = [write_report(study, self.language) for study in studies if study.split == "train"]
            states.loc[train, list(labeler.observations)] = labeler(reports)
        if self.label_errors:
            states = states.mask(self._wrong(states, train), states.isin([0, -1]).astype(float).where(states.notna()))
        states = states[[*self.observations, *states.columns[len(CHEXPERT14) :]]]
        return states if self.version == 1 else self._of_hospitals(states, studies, train)

    def _wrong(self, states: pd.DataFrame, train: np.ndarray) -> np.ndarray:
        """Returns which states are turned round, (N, O); those of attributes leave those of observations alone."""
        drawn = [
            np.random.default_rng([self.seed, 4, *part]).random((len(states), count))
            for part, count in (((), len(CHEXPERT14)), ((1,), states.shape[1] - len(CHEXPERT14)))
        ]
        return (np.concatenate(drawn, axis=1) < self.label_errors) & train[:, None]

    def _of_hospitals(self, states: pd.DataFrame, studies: Sequence[Study], train: np.ndarray) -> pd.DataFrame:
        """Returns states as each hospital labels them in the train split, with columns of what is rare."""
        states = states.copy()
        for name, hospital in HOSPITALS.items():
            unlabelled = [one for one in self.observations if hospital.labels and one not in hospital.labels]
            here = train & np.array([study.hospital == name for study in studies])
            states.loc[here, unlabelled] = np.nan
        return pd.concat([states, pd.DataFrame([rare_states_of(study) for study in studies])], axis=1)

    def texts(self) -> pd.DataFrame:
        """Returns one report a study."""
        first = 0 if self.paired else self.studies + self.studies % 2
        rows = [
            {**_ids(study), "text": write_report(study, self.language), "split": study.split}
            for study in (self._with(1) if self.paired else self._drawn(first))
        ]
        return check_texts(pd.DataFrame(rows), origin=self.name)

    def boxes(self) -> pd.DataFrame:
        """Returns a box for every localised finding of the valid and the test split."""
        rows = [
            (f"{self.seed}-{study.number}", observation, *box)
            for study in self._drawn(0)
            if study.split != "train"
            for observation, box in draw_boxes(self.seed, study.number, size=self.size, version=self.version)
        ]
        columns = ["image_id", "observation", "x", "y", "width", "height"]
        return check_boxes(pd.DataFrame(rows, columns=columns), origin=self.name)

    def splits(self) -> pd.DataFrame:
        """Returns patient_id and split of every study, of images and of reports."""
        studies = [*self._drawn(0), *([] if self.paired else self._drawn(self.studies + self.studies % 2))]
        return pd.DataFrame([{"patient_id": _ids(study)["patient_id"], "split": study.split} for study in studies])

    def _with(self, side: int) -> list[Study]:
        """Returns the studies that have an image (side 0) or a report (side 1)."""
        studies = self._drawn(0)
        if not self.pairs:
            return studies
        train = [study for study in studies if study.split == "train"]
        if len(train) < self.pairs + 2 * self.unpaired:
            raise UserError(
                f"phantom: {self.pairs} pairs, {self.unpaired} images and {self.unpaired} reports are more than the "
                f"{len(train)} studies of the train split. Ask for more studies."
            )
        start = self.pairs + side * self.unpaired
        alone = train[start : start + self.unpaired]
        kept = {study.number for study in (*train[: self.pairs], *alone)}
        return [study for study in studies if study.split != "train" or study.number in kept]

    def _drawn(self, first: int) -> list[Study]:
        drawn = (draw_study(self.seed, number, self.version) for number in range(first, first + self.studies))
        return [study for study in drawn if self.train_site in ("", study.hospital) or study.split == "test"]


def _ids(study: Study) -> dict[str, str]:
    return {"study_id": f"{study.seed}-{study.number}", "patient_id": f"{study.seed}-{study.patient}"}


def _draw(path: str) -> np.ndarray:
    film = film_called(path)
    assert film is not None, path
    return film
