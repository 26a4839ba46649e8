"""Films of an archive, and objects back into it, against a small service of the tests."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from medclip.cli import classify
from medclip.data.dicomweb import Archive
from tests.fixtures.dicom import dicom
from tests.fixtures.dicomweb import Service, served
from tests.fixtures.served import write_model

pytest.importorskip("dicomweb_client", reason="needs the extra `dicomweb`")
pytest.importorskip("highdicom", reason="needs the extra `objects`")
SC = "1.2.840.10008.5.1.4.1.1.7"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_model(tmp_path_factory.mktemp("model")))


@pytest.fixture
def archive(tmp_path: Path):
    """A service with four studies of one film each, of two days, and one secondary capture."""
    with served() as service:
        for number in range(5):
            path = tmp_path / f"{number}.dcm"
            dicom(
                path, np.random.default_rng(number).integers(0, 4095, (40, 32)), StudyInstanceUID=f"1.2.{number}",
                SeriesInstanceUID=generate_uid(), PatientID=f"secret{number}", PatientName="Doe", Modality="CR",
                StudyDate="20260101" if number < 3 else "20260102", **({"SOPClassUID": SC} if number == 4 else {}),
            )  # fmt: skip
            service.objects.append(pydicom.dcmread(path))
        yield service


def asked(service: Service, query: str = "") -> str:
    return f"dicomweb:{service.url}{query}"


def test_films_of_an_archive_are_answered_and_the_objects_are_stored(model, archive, tmp_path, capsys, caplog) -> None:
    import highdicom

    caplog.set_level(logging.INFO, logger="medclip")
    arguments = [model, "--from", asked(archive, "?StudyDate=20260101"), "--to", "sr,seg,sc", "--send", asked(archive),
                 "--objects", str(tmp_path / "out"), "--show", "Edema", "--device", "cpu", "--format", "json",
                 "--batch-size", "2"]  # fmt: skip
    before = list(archive.objects)
    assert classify.run(arguments) == 0
    said = capsys.readouterr()
    assert "Archive: 9 of 9 objects stored" in said.err
    assert [f'"1.2.{number}/' in said.out for number in range(5)] == [True, True, True, False, False]
    made = archive.objects[len(before) :]
    assert sorted({one.StudyInstanceUID for one in made}) == ["1.2.0", "1.2.1", "1.2.2"]
    reports = [one for one in made if one.Modality == "SR"]
    assert [one.PatientID for one in reports] == ["secret0", "secret1", "secret2"]
    for film, report in zip(before[:3], reports, strict=True):
        assert film.SOPInstanceUID in str(report)
        content = highdicom.sr.ComprehensiveSR.from_dataset(report).content
        assert len(content.get_image_measurement_groups()) == 14
    assert "3 studies, 3 films" in caplog.text
    assert "secret" not in caplog.text + said.err
    assert "20260101" not in caplog.text + said.err


def test_what_is_stored_is_not_taken_for_a_film(model, archive, tmp_path) -> None:
    options = ["--to", "sc", "--send", asked(archive), "--objects", str(tmp_path / "out"), "--device", "cpu"]
    for _ in range(2):
        assert classify.run([model, "--from", asked(archive, "?StudyInstanceUID=1.2.0"), *options]) == 0
    assert len([one for one in archive.objects if one.StudyInstanceUID == "1.2.0"]) == 3  # a film, a picture each time


def test_a_search_goes_on_until_nothing_new_comes(archive) -> None:
    archive.page = 1
    assert [film.study for film in Archive(asked(archive), option="--from").films()] == [f"1.2.{n}" for n in range(4)]


def test_a_film_that_cannot_be_had_does_not_stop_the_others(model, archive, capsys, monkeypatch) -> None:
    lost = archive.objects[1].SOPInstanceUID
    retrieve = Archive.retrieve

    def without(self, film, target):
        archive.objects = [one for one in archive.objects if one.SOPInstanceUID != lost]
        retrieve(self, film, target)

    monkeypatch.setattr(Archive, "retrieve", without)
    assert classify.run([model, "--from", asked(archive), "--device", "cpu", "--format", "csv"]) == 1
    said = capsys.readouterr()
    assert said.err.count("answers the retrieval with 404") == 1
    assert len([line for line in said.out.splitlines() if line.startswith("1.2.")]) == 4


def test_an_object_that_is_not_taken_is_told(model, archive, tmp_path, capsys) -> None:
    archive.refused = (SC,)
    options = ["--to", "sr,sc", "--send", asked(archive), "--objects", str(tmp_path / "out"), "--device", "cpu"]
    assert classify.run([model, "--from", asked(archive, "?StudyInstanceUID=1.2.0"), *options]) == 1
    said = capsys.readouterr().err
    assert "Archive: 1 of 2 objects stored" in said
    assert "-sc.dcm: not stored in the archive: " in said


@pytest.mark.parametrize(
    ("variable", "value", "header"), [("TOKEN", "abc", "Bearer abc"), ("LOGIN", "jane:x:y", "Basic amFuZTp4Onk=")]
)
def test_credentials_come_from_the_environment(archive, monkeypatch, variable, value, header) -> None:
    archive.password = header
    with pytest.raises(ConnectionError, match=r"401 Unauthorized. Set MEDCLIP_DICOMWEB_TOKEN, or"):
        Archive(asked(archive), option="--from").films()
    monkeypatch.setenv(f"MEDCLIP_DICOMWEB_{variable}", value)
    assert len(Archive(asked(archive), option="--from").films()) == 4


def test_credentials_of_one_archive_are_not_shown_to_another(model, archive, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MEDCLIP_DICOMWEB_TOKEN", "abc")
    options = ["--to", "sr", "--objects", str(tmp_path / "out"), "--device", "cpu"]
    with served() as other:
        assert classify.run([model, "--from", asked(archive), *options, "--send", asked(other)]) == 0
        assert len(other.objects) == 4
        assert set(other.authorised) == {None}
    assert set(archive.authorised) == {"Bearer abc"}


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://127.0.0.1/x", "expected dicomweb:URL"),
        ("dicomweb:ftp://127.0.0.1/x", "expected dicomweb:URL"),
        ("dicomweb:http://jane:secret@127.0.0.1/x", "leave the password out of the address"),
        ("dicomweb:http://127.0.0.1/x?StudyDat=2026", "by StudyDat. Did you mean 'StudyDate'?"),
        ("dicomweb:http://127.0.0.1/x?StudyInstanceUID=", "StudyInstanceUID is blank"),
        ("dicomweb:http://127.0.0.1/x?Modality=CR", "cannot be searched by Modality"),
    ],
)
def test_what_is_no_archive_is_refused(address, message) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")) as raised:
        Archive(address, option="--from")
    assert "secret" not in str(raised.value)


def test_credentials_do_not_travel_unencrypted(monkeypatch) -> None:
    monkeypatch.setenv("MEDCLIP_DICOMWEB_LOGIN", "jane:secret")
    with pytest.raises(ValueError, match=r"MEDCLIP_DICOMWEB_LOGIN would travel unencrypted to pacs.example"):
        Archive("dicomweb:http://pacs.example/x", option="--from")
    Archive("dicomweb:https://pacs.example/x", option="--from")


def test_a_service_that_is_not_there_or_none_is_told() -> None:
    with served() as service:
        gone = asked(service, "?PatientID=secret")
    with pytest.raises(ConnectionError, match=r"cannot be reached") as raised:
        Archive(gone, option="--from").films()
    assert "secret" not in str(raised.value)


def test_uids_that_would_name_other_files_are_refused(archive) -> None:
    archive.objects[0].SOPInstanceUID = "1.2.3"
    for hostile in ("../../x", "..", "1..2"):
        archive.rows = lambda path, query, uid=hostile: [{"0020000D": {"vr": "UI", "Value": [uid]}}]
        with pytest.raises(ConnectionError, match="otherwise than DICOMweb does"):
            Archive(asked(archive), option="--from").films()


def test_files_and_an_archive_at_once_are_refused(model) -> None:
    with pytest.raises(ValueError, match=r"from files or from an archive. Found x.png and --from"):
        classify.run([model, "x.png", "--from", "dicomweb:http://127.0.0.1/x"])
    with pytest.raises(ValueError, match="--send stores the objects that --to writes"):
        classify.run([model, "x.png", "--send", "dicomweb:http://127.0.0.1/x"])
