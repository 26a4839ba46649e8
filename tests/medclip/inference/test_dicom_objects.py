from __future__ import annotations

import logging
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import generate_uid

from medclip.cli import classify
from medclip.inference.dicom_objects import (
    NOTE,
    Answer,
    maker_of,
    read_source,
    secondary_capture,
    segmentation,
    structured_report,
)
from medclip.runs.classify_objects import region_of
from medclip.utils.logs import start_logging
from tests.fixtures import runs
from tests.fixtures.dicom import dicom

pytest.importorskip("highdicom")
HEIGHT, WIDTH = 60, 48
ANSWERS = [Answer("Pleural Effusion", 0.71234, 0.5), Answer("Edema", 0.2, 0.5), Answer("Lung Lesion", 0.3)]


def film(path: Path, **elements: object) -> Path:
    usual = {
        "StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), "PatientName": "Doe^Jane",
        "PatientID": "17", "PatientSex": "F", "PatientBirthDate": "19500101", "StudyDate": "20260102",
        "StudyTime": "101010", "StudyID": "4", "AccessionNumber": "A1", "Modality": "CR", "ReferringPhysicianName": "",
    }  # fmt: skip
    dicom(path, np.random.default_rng(0).integers(0, 4095, (HEIGHT, WIDTH)), **usual | elements)
    return path


@pytest.fixture
def objects(tmp_path):
    source, maker = read_source(film(tmp_path / "film.dcm")), maker_of("runs/mine", None, "chexpert14")
    region = np.zeros((HEIGHT, WIDTH), bool)
    region[10:20, 5:15] = True
    made = {
        "sr": structured_report(source, ANSWERS, maker),
        "seg": segmentation(source, {"Pleural Effusion": region, "Support Devices": ~region}, maker),
        "sc": secondary_capture(source, np.full((HEIGHT, WIDTH, 3), 50, np.uint8), ["Pleural Effusion: 0.71"]),
    }
    for kind, one in made.items():
        one.save_as(tmp_path / f"{kind}.dcm", enforce_file_format=True)
    return source, {kind: pydicom.dcmread(tmp_path / f"{kind}.dcm") for kind in made}, region


def test_objects_keep_patient_and_study_and_refer_to_the_film(objects) -> None:
    source, made, _ = objects
    for one in made.values():
        assert (one.PatientID, one.StudyInstanceUID) == ("17", source.StudyInstanceUID)
        assert one.SeriesInstanceUID != source.SeriesInstanceUID
        assert NOTE in one.SeriesDescription
        assert source.SOPInstanceUID in str(one)
    assert len({one.SOPInstanceUID for one in made.values()}) == 3


def test_a_report_read_back_says_what_was_said(objects) -> None:
    import highdicom

    report = highdicom.sr.ComprehensiveSR.from_dataset(objects[1]["sr"])
    groups = report.content.get_image_measurement_groups()
    assert [group.finding_type.value for group in groups][:2] == ["60046008", "19242006"]  # SNOMED CT
    assert groups[2].finding_type.scheme_designator == "99MEDCLIP"
    values = [group.get_measurements()[0] for group in groups]
    assert [round(one.value, 4) for one in values] == [0.7123, 0.2, 0.3]
    assert [one.name.value for one in values] == ["PROBABILITY", "PROBABILITY", "SCORE"]
    states = [[one.value.meaning for one in group.get_qualitative_evaluations()] for group in groups]
    assert states == [["Present"], ["Absent"], []]


def test_a_segmentation_read_back_is_the_region(objects) -> None:
    import highdicom

    source, made, region = objects
    found = highdicom.seg.Segmentation.from_dataset(made["seg"])
    assert [found.get_segment_description(n).segment_label for n in (1, 2)] == ["Pleural Effusion", "Support Devices"]
    pixels = found.get_pixels_by_source_instance([source.SOPInstanceUID])[0]
    np.testing.assert_array_equal(pixels[..., 0].astype(bool), region)
    np.testing.assert_array_equal(pixels[..., 1].astype(bool), ~region)


def test_a_picture_has_the_note_below_the_film(objects) -> None:
    pixels = objects[1]["sc"].pixel_array
    assert pixels.shape[0] > HEIGHT
    assert (pixels[:HEIGHT, :WIDTH] == 50).all()
    assert pixels[HEIGHT:].max() > 150


def test_a_validator_finds_no_error(objects, tmp_path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy of the package dicom3tools is not installed")
    for kind in objects[1]:
        found = subprocess.run(["dciodvfy", str(tmp_path / f"{kind}.dcm")], capture_output=True, text=True, check=False)
        assert not [line for line in found.stderr.splitlines() if line.startswith("Error")], kind


def test_the_same_weights_have_the_same_uid(tmp_path) -> None:
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    uids = [maker_of("m", tmp_path / name, "p").uid for name in "abc"]
    assert uids[0] == uids[1] != uids[2]
    assert all(len(uid) <= 64 for uid in uids)


def test_what_no_object_can_refer_to_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="has no StudyInstanceUID"):
        read_source(film(tmp_path / "film.dcm", StudyInstanceUID=""))
    (tmp_path / "x.png").write_bytes(b"\x89PNG....")
    with pytest.raises(ValueError, match="no DICOM file"):
        read_source(tmp_path / "x.png")


def test_regions_take_a_tenth() -> None:
    assert region_of(np.random.default_rng(0).normal(size=(100, 80))).mean() == pytest.approx(0.1, abs=0.001)


def test_the_command_writes_objects_about_dicom_files_and_tells_of_others(tmp_path, capsys) -> None:
    assert runs.train(tmp_path / "run", "--steps", "2", "--evaluate-every", "1") == 0
    films = tmp_path / "films"
    films.mkdir()
    film(films / "a.dcm")
    film(films / "c.dcm", PatientSex="X")
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 40), dtype=np.uint8)).save(films / "b.png")
    arguments = [str(tmp_path / "run"), str(films), "--to", "sr,seg,sc", "--objects", str(tmp_path / "out"), "--device",
                 "cpu", "--show", "Edema,Fracture", "--format", "csv"]  # fmt: skip
    capsys.readouterr()
    assert classify.run(arguments) == 1
    said = capsys.readouterr()
    assert "b.png: no DICOM object: no DICOM file" in said.err
    assert "c.dcm: no DICOM object" in said.err  # its answers are there all the same
    assert said.out.count("\n") == 4  # all three films have answers
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a-sc1.dcm", "a-sc2.dcm", "a-seg.dcm", "a-sr.dcm"]
    labels = [one.SegmentLabel for one in pydicom.dcmread(tmp_path / "out" / "a-seg.dcm").SegmentSequence]
    assert labels == ["Edema", "Fracture"]
    start_logging()
    assert not logging.getLogger("highdicom.base").isEnabledFor(logging.INFO)  # which tells of each module it copies
    with pytest.raises(ValueError, match="choose from sr, seg, sc"):
        classify.run([*arguments, "--to", "pdf"])
