from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from labelers.rules import RuleLabeler
from medclip.data.tables import observations_of
from medclip.sources.phantom import Phantom
from medclip.sources.phantom.population import PREVALENCE, Sign, Study, draw_study, states_of
from medclip.sources.phantom.radiograph import draw_boxes, draw_film, draw_radiograph
from medclip.sources.phantom.report import write_report


def test_a_study_is_the_same_whenever_it_is_drawn() -> None:
    assert draw_study(3, 5000) == draw_study(3, 5000)
    assert draw_study(3, 5000) != draw_study(4, 5000)
    assert (draw_radiograph(3, 5000, size=48) == draw_radiograph(3, 5000, size=48)).all()
    assert write_report(draw_study(3, 5000)) == write_report(draw_study(3, 5000))


def test_prevalence_is_the_published_one() -> None:
    studies = [draw_study(0, number) for number in range(6000)]
    for name, (positive, uncertain) in PREVALENCE.items():
        states = np.array([study.sign(name).state for study in studies])
        assert abs((states == 1).mean() - positive) < 0.03
        assert abs((states == -1).mean() - uncertain) < 0.03


def test_patients_stay_in_one_split_and_no_finding_means_none() -> None:
    studies = [draw_study(0, number) for number in range(400)]
    splits = {}
    for study in studies:
        assert splits.setdefault(study.patient, study.split) == study.split
        states = states_of(study)
        others = [v for k, v in states.items() if k not in ("No Finding", "Support Devices")]
        assert states["No Finding"] == int(not any(others))
        if study.split != "train":
            assert set(states.values()) <= {0, 1}


def only(observation: str, severity: float) -> Study:
    base = draw_study(0, 7)
    signs = tuple(
        Sign(
            f.observation, int(f.observation == observation), f.observation == observation, severity, "left", (0.3, 0.5)
        )
        for f in base.signs
    )
    return Study(base.seed, base.number, base.patient, base.age, base.sex, base.view, base.split, signs)


@pytest.mark.parametrize("observation", list(PREVALENCE))
def test_every_observation_shows(observation: str) -> None:
    without = draw_film(only("nothing", 0.8), 128).image.astype(int)
    with_it = draw_film(only(observation, 0.8), 128).image.astype(int)
    assert np.abs(with_it - without).max() > 12


def test_boxes_are_inside_the_image() -> None:
    boxes = [box for number in range(40) for _, box in draw_boxes(0, number, size=64)]
    assert len(boxes) > 20
    for left, top, width, height in boxes:
        assert 0 <= left < left + width <= 64
        assert 0 <= top < top + height <= 64


def test_reports_say_what_the_study_has() -> None:
    labeler = RuleLabeler()
    studies = [draw_study(1, number) for number in range(400)]
    states = labeler([write_report(study) for study in studies])
    for j, name in enumerate(labeler.observations):
        if name != "No Finding":
            truth = np.array([study.sign(name).state for study in studies])
            told = ~np.isnan(states[:, j])
            assert (states[told, j] == truth[told]).mean() > 0.98, name


def test_chinese_reports_say_what_the_study_has_and_leave_little_unsaid() -> None:
    labeler = RuleLabeler("chexpert14-zh")
    studies = [draw_study(1, number) for number in range(300)]
    states = labeler([write_report(study, "zh") for study in studies])
    names = [name for name in labeler.observations if name != "No Finding"]
    truth = np.array([[study.sign(name).state for name in names] for study in studies])
    found = states[:, [labeler.observations.index(name) for name in names]]
    told = ~np.isnan(found)
    assert (found[told] == truth[told]).mean() >= 0.97
    assert told[truth != 0].mean() > 0.7  # an impression alone says the first three only


def test_a_population_may_be_labelled_for_some_observations_only() -> None:
    images = Phantom(studies=20, observations=["Edema", "Fracture"]).images()
    assert observations_of(images) == ["Edema", "Fracture"]
    with pytest.raises(ValueError, match="found Croup; choose from No Finding"):
        Phantom(observations=["Croup"])
    with pytest.raises(ValueError, match="found fr; choose from en, zh"):
        Phantom(language="fr")


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="count from 0"):
        draw_study(0, -1)


def test_labels_read_from_reports() -> None:
    truth, read = (Phantom(studies=300, image_labels=how).images() for how in ("reader", "report"))
    train = (read["split"] == "train").to_numpy()
    names = observations_of(read)
    pd.testing.assert_frame_equal(read[~train], truth[~train])
    reports = Phantom(studies=300, paired=True).texts()["text"]
    np.testing.assert_array_equal(read.loc[train, names], RuleLabeler()(reports[train].tolist()))
    claims = [name for name in names if name != "No Finding"]
    said, states = read.loc[train, claims].to_numpy(), truth.loc[train, claims].to_numpy()
    assert np.isnan(said).mean() > 0.3
    assert (said[states != 0] == states[states != 0]).mean() > 0.97


def test_label_errors_are_as_many_as_asked_for() -> None:
    right, wrong = (Phantom(studies=600, label_errors=share).images() for share in (0.0, 0.1))
    train = (right["split"] == "train").to_numpy()
    names = observations_of(right)
    assert (right.loc[train, names] != wrong.loc[train, names]).to_numpy().mean() == pytest.approx(0.1, abs=0.01)
    pd.testing.assert_frame_equal(right[~train], wrong[~train])


def test_sides_and_sizes_are_those_of_the_signs() -> None:
    table = Phantom(studies=400, attributes=["side", "size"]).images()
    for row in table.to_dict("records"):
        sign = draw_study(0, int(row["image_id"].split("-")[1])).sign("Pleural Effusion")
        left, right, large = (row[f"Pleural Effusion ({value})"] for value in ("left", "right", "large"))
        if row["split"] == "train":
            assert left == (sign.state if sign.side in ("left", "bilateral") else 0)
        elif sign.present and sign.side != "bilateral":
            assert (left, right) == (sign.side == "left", sign.side == "right")
            assert large == (sign.severity >= 0.75)
        else:
            assert np.isnan(left)
            assert np.isnan(right)


def test_sides_are_read_from_reports() -> None:
    read = Phantom(studies=300, attributes=["side"], image_labels="report").images()
    own = Phantom(studies=300, attributes=["side"]).images()
    train = (own["split"] == "train") & (own["Pneumothorax"] == 1)
    assert (read.loc[train, "Pneumothorax (left)"] == own.loc[train, "Pneumothorax (left)"]).all()


@pytest.mark.parametrize("options", [{"image_labels": "guess"}, {"attributes": ["colour"]}, {"label_errors": 2}])
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="phantom"):
        Phantom(**options)


@pytest.mark.parametrize("kind", ["marker", "border", "exposure"])
def test_a_mark_goes_with_an_observation_as_asked(kind: str) -> None:
    how = {"observation": "Pleural Effusion", "kind": kind, "train": 0.9, "test": 0.1}
    source, plain = Phantom(studies=3000, size=32, shortcut=how), Phantom(studies=3000, size=32)
    table = source.images()
    bears = table["path"].str.contains(kind)
    there = np.array([draw_study(0, n).sign("Pleural Effusion").present for n in range(len(table))])
    for split, share in (("train", 0.9), ("valid", 0.9), ("test", 0.1)):
        rows = (table["split"] == split).to_numpy()
        assert (bears[rows] == there[rows]).mean() == pytest.approx(share, abs=0.04)
    first = table.index[bears][0]
    path, other = table.loc[first, "path"], plain.images().loc[first, "path"]
    assert path != other
    assert (source.draw(path) != plain.draw(other)).any()
    unmarked = table.loc[~bears, "path"].iloc[0]
    assert (source.draw(unmarked) == plain.draw(unmarked)).all()
    if kind != "marker":  # a border and an exposure are a machine's
        assert list(table["site"]) == ["marked" if one else "plain" for one in bears]
    changed = ["path", "site"]
    pd.testing.assert_frame_equal(table.drop(columns=changed), plain.images().drop(columns=changed))


@pytest.mark.parametrize(
    ("how", "message"),
    [({"observation": "Gout"}, "choose from"), ({"observation": "Edema", "kind": "smell"}, "expected one of marker"),
     ({"observation": "Edema", "colour": 1}, "has no colour"), ({"observation": "Edema", "test": 2}, "two shares")],
)  # fmt: skip
def test_a_shortcut_is_checked(how: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Phantom(shortcut=how)


@pytest.mark.parametrize("observation", ["Cardiomegaly", "Edema", "Pleural Effusion", "Consolidation", "Lung Lesion"])
def test_boxes_hold_what_is_drawn_however_the_patient_stands(observation: str) -> None:
    held = []
    for number in range(12):
        study = dataclasses.replace(only(observation, 0.8), number=number)  # the number decides how the patient stands
        healthy = dataclasses.replace(only("nothing", 0.8), number=number)
        film = draw_film(study, 96)
        change = np.abs(film.image.astype(int) - draw_film(healthy, 96).image)
        boxed = np.zeros_like(change, dtype=bool)
        for name, (left, top, width, height) in film.boxes:
            assert name == observation
            boxed[round(top) : round(top + height), round(left) : round(left + width)] = True
        held.append(change[boxed].sum() / change.sum())
    assert min(held) > 0.7


def test_valid_and_test_have_boxes_and_train_has_none() -> None:
    source = Phantom(studies=300, size=32)
    splits = source.images().set_index("image_id")["split"]
    assert set(splits[source.boxes()["image_id"]]) == {"valid", "test"}
