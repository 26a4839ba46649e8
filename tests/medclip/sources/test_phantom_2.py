"""Version 2 of the phantom: two hospitals, findings outside the 14, and version 1 as it was."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest

from labelers.errors import UserError
from labelers.observations import CHEXPERT14
from medclip.sources.phantom import Phantom
from medclip.sources.phantom.population import HOSPITALS, PREVALENCE, RARE, draw_study
from medclip.sources.phantom.radiograph import draw_film, draw_radiograph

STUDIES = [draw_study(0, number, 2) for number in range(6000)]


def _prevalence(name: str, hospital: str) -> float:
    return float(np.mean([study.sign(name).state == 1 for study in STUDIES if study.hospital == hospital]))


def test_version_1_draws_what_it_always_drew() -> None:
    films = b"".join(draw_radiograph(0, number, size=64).tobytes() for number in range(40))
    assert hashlib.sha256(films).hexdigest()[:16] == "b98835d83663bc0e"


def test_hospitals_differ_in_patients_and_films() -> None:
    at_a = np.array([study.hospital == "A" for study in STUDIES])
    assert at_a.mean() == pytest.approx(HOSPITALS["A"].patients, abs=0.02)
    assert all(one.hospital == two.hospital for one, two in zip(STUDIES[::2], STUDIES[1::2], strict=True))
    anteroposterior = np.array([study.view == "AP" for study in STUDIES])
    assert anteroposterior[at_a].mean() - anteroposterior[~at_a].mean() > 0.5
    assert _prevalence("Pleural Effusion", "A") == pytest.approx(PREVALENCE["Pleural Effusion"][0], abs=0.03)
    assert _prevalence("Pleural Effusion", "A") - _prevalence("Pleural Effusion", "B") > 0.1
    assert _prevalence("Fracture", "B") > _prevalence("Fracture", "A")
    borders = {name: np.mean([draw_film(s, 64).image[0].mean() for s in STUDIES[:200] if s.hospital == name])
               for name in HOSPITALS}  # fmt: skip
    assert borders["B"] == 0
    assert borders["A"] > 30


def test_the_letter_goes_with_effusion_in_one_hospital_only() -> None:
    rows = [
        (study.hospital, study.sign("Pleural Effusion").present, draw_film(study, 64).image[11, 4] == 255)
        for study in STUDIES[:1500]
    ]
    share = pd.DataFrame(rows, columns=["hospital", "effusion", "letter"]).groupby(["hospital", "effusion"]).mean()
    letter = share["letter"]
    assert letter["A", True] - letter["A", False] > 0.5
    assert abs(letter["B", True] - letter["B", False]) < 0.12


@pytest.mark.parametrize("name", RARE)
def test_rare_findings_change_the_film(name: str) -> None:
    present = np.array([study.sign(name).present for study in STUDIES])
    assert present.mean() == pytest.approx(RARE[name], abs=0.012)
    study = next(study for study in STUDIES if study.sign(name).present)
    from dataclasses import replace

    without = replace(study, signs=tuple(
        replace(sign, present=False) if sign.observation == name else sign for sign in study.signs
    ))  # fmt: skip
    change = np.abs(draw_film(study, 64).image.astype(int) - draw_film(without, 64).image)
    assert (change > 12).sum() >= 4


def test_tables_have_sites_labels_by_hospital_and_rare_findings_in_valid_and_test_only() -> None:
    images = Phantom(studies=600, size=32, version=2).images()
    assert set(images["site"]) == set(HOSPITALS)
    train = images[images["split"] == "train"]
    assert train[list(RARE)].isna().all(axis=None)
    assert images.loc[images["split"] == "test", list(RARE)].isin([0, 1]).all(axis=None)
    left_out = [name for name in CHEXPERT14 if name not in HOSPITALS["B"].labels]
    assert train.loc[train["site"] == "B", left_out].isna().all(axis=None)
    assert train.loc[train["site"] == "A", CHEXPERT14].notna().all(axis=None)
    assert images.loc[images["split"] == "test", left_out].notna().all(axis=None)


def test_one_hospital_alone_can_be_trained_on() -> None:
    source = Phantom(studies=600, size=32, version=2, train_site="A", paired=True)
    images, texts = source.images(), source.texts()
    assert set(images.loc[images["split"] != "test", "site"]) == {"A"}
    assert set(images.loc[images["split"] == "test", "site"]) == {"A", "B"}
    assert set(texts["study_id"]) == set(images["study_id"])


def test_errors_of_attributes_leave_those_of_observations_alone() -> None:
    plain = Phantom(studies=300, size=32, label_errors=0.2).images()
    more = Phantom(studies=300, size=32, label_errors=0.2, attributes=["side", "size"]).images()
    pd.testing.assert_frame_equal(plain[list(CHEXPERT14)], more[list(CHEXPERT14)])
    sides = [name for name in more if name.endswith("(left)")]
    right = Phantom(studies=300, size=32, attributes=["side", "size"]).images()
    assert (more[sides].fillna(-9) != right[sides].fillna(-9)).to_numpy().any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": 3}, "pairs needs paired: true"),
        ({"unpaired": 3, "paired": True}, "unpaired needs pairs"),
        ({"version": 3}, "found 3; choose from 1, 2"),
        ({"train_site": "A"}, "needs version: 2"),
        ({"version": 2, "train_site": "C"}, "found C; choose from"),
        ({"version": 2, "language": "zh"}, "writes English only"),
    ],
)
def test_wrong_options_are_told(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Phantom(studies=10, size=32, **options)


@pytest.mark.parametrize("version", [1, 2])
def test_some_studies_have_both_and_others_one_side_only(version: int) -> None:
    options = {"studies": 400, "size": 32, "paired": True, "version": version}
    source, whole = Phantom(**options, pairs=40, unpaired=60), Phantom(**options)
    images, texts = source.images(), source.texts()
    ours = set(images.loc[images["split"] == "train", "study_id"])
    theirs = set(texts.loc[texts["split"] == "train", "study_id"])
    assert (len(ours), len(theirs), len(ours & theirs)) == (100, 100, 40)
    test, expected = images[images["split"] == "test"], whole.images()
    assert list(test["study_id"]) == list(expected.loc[expected["split"] == "test", "study_id"])
    fewer = Phantom(**options, pairs=40).images()
    assert set(fewer.loc[fewer["split"] == "train", "study_id"]) == ours & theirs
    with pytest.raises(UserError, match="are more than the"):
        Phantom(**options, pairs=200, unpaired=200).images()
