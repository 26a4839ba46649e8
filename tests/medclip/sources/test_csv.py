from __future__ import annotations

import logging
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medclip.data.preparation import Preparation
from medclip.data.prepare_images import prepare_images
from medclip.data.prepare_texts import prepare_texts
from medclip.sources import find_sources
from medclip.sources.csv import Csv

HOSPITAL = """Accession,MRN,Image File,Report,Projection
a1,m1,1.png,Large left pleural effusion.,PA
a2,m1,,No pneumothorax.,
a3,m2,3.png,,AP
a4,m2,4.png,The heart is enlarged.,AP
"""


def hospital(folder: Path, text: str = HOSPITAL) -> Path:
    for i in (1, 3, 4):
        Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20).astype(np.uint8) // i).save(folder / f"{i}.png")
    (folder / "hospital.csv").write_text(text)
    return folder / "hospital.csv"


def test_a_table_in_the_alphabet_of_windows_is_read_where_that_is_said(tmp_path: Path) -> None:
    path = hospital(tmp_path)
    path.write_bytes(HOSPITAL.replace("The heart is enlarged", "Herz vergrößert").encode("cp1252"))
    assert "Herz vergrößert." in Csv(path, encoding="cp1252").texts()["text"].tolist()
    with pytest.raises(ValueError, match=r"not UTF-8: line 5.*source-options '\{csv: \{encoding: cp1252\}\}'"):
        Csv(path).texts()


def test_a_study_of_several_patients_is_left_out_and_listed(tmp_path: Path, caplog) -> None:
    source = Csv(hospital(tmp_path, HOSPITAL.replace("a4,m2", "a1,m2")))
    assert source.images()["study_id"].tolist() == ["a3"]
    assert source.texts()["study_id"].tolist() == ["a2", "a3"]
    assert "2 rows (2, 5) are left out, whose study_id is that of several patients" in caplog.text


def test_images_get_the_labels_of_all_reports_of_their_study(tmp_path: Path, caplog) -> None:
    table = HOSPITAL.replace("a4,m2", "a3,m2").replace("a3,m2,3.png,,", "a3,m2,3.png,Edema.,")
    made = prepare_images(Csv(hospital(tmp_path, table)), Preparation(tmp_path / "p", size=16))
    found = made.images.set_index("study_id")[["Edema", "Cardiomegaly"]].loc["hospital/a3"]
    assert found.to_numpy().tolist() == [[1, 1], [1, 1]]
    assert "csv: 1 studies have several reports; their images get the labels of all of them together" in caplog.text


def test_columns_of_a_hospital_are_known_by_their_names(tmp_path: Path) -> None:
    source = Csv(hospital(tmp_path))
    images = source.images()
    assert images["study_id"].tolist() == ["a1", "a3", "a4"]
    assert images["patient_id"].tolist() == ["m1", "m2", "m2"]
    assert images["view"].tolist() == ["PA", "AP", "AP"]
    assert source.texts()["study_id"].tolist() == ["a1", "a2", "a3", "a4"]


def test_images_without_labels_get_those_of_the_report_in_their_row(tmp_path: Path) -> None:
    nameless = "\n".join(line.split(",", 2)[2] for line in HOSPITAL.splitlines())
    made = prepare_images(Csv(hospital(tmp_path, nameless)), Preparation(tmp_path / "p", size=16))
    assert made.images["Pleural Effusion"].tolist() == pytest.approx([1, np.nan, np.nan], nan_ok=True)
    assert made.images["Cardiomegaly"].tolist() == pytest.approx([np.nan, np.nan, 1], nan_ok=True)


@pytest.mark.parametrize("prepare", [prepare_images, prepare_texts])
def test_reports_in_another_language_are_refused(tmp_path: Path, prepare) -> None:
    german = HOSPITAL.replace("No pneumothorax", "Kein Pneumothorax").replace("The heart is", "Das Herz ist nicht")
    with pytest.raises(ValueError, match=r"csv: the reports look German, and the labeler rules/chexpert14 reads Engli"):
        prepare(Csv(hospital(tmp_path, german)), Preparation(tmp_path / "p", size=16))


def test_images_of_which_none_gets_a_label_are_refused(tmp_path: Path) -> None:
    silent = HOSPITAL.replace("Large left pleural effusion", "See above").replace("The heart is enlarged", "As before")
    with pytest.raises(ValueError, match="none of its 3 images gets a label"):
        prepare_images(Csv(hospital(tmp_path, silent)), Preparation(tmp_path / "p", size=16))


def test_a_table_without_patients_says_once_what_that_means(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = Csv(hospital(tmp_path, HOSPITAL.replace("MRN", "Note")))
    with caplog.at_level(logging.WARNING):
        source.images(), source.texts(), source.images()
    assert caplog.text.count("each study counts as a patient of its own") == 1
    assert caplog.text.count("whose path is blank") == 1


BOXED = """path,patient_id,x,y,width,height,finding
1.png,0012,2,3,4,5,Effusion
1.png,0012,9,9,4,5,Edema
3.png,0013,,,,,
"""


def test_a_table_of_boxes_is_one_of_images_too(tmp_path: Path) -> None:
    source = Csv(hospital(tmp_path, BOXED))
    images = source.images()
    assert images["image_id"].tolist() == ["1.png", "3.png"]
    assert images["Pleural Effusion"].tolist() == pytest.approx([1, np.nan], nan_ok=True)
    assert source.boxes()[["image_id", "observation", "x", "height"]].to_numpy().tolist() == [
        ["1.png", "Pleural Effusion", 2, 5], ["1.png", "Edema", 9, 5],
    ]  # fmt: skip
    labelled = (
        BOXED.replace("finding\n", "finding,Fracture\n")
        .replace("\n1.png", "\n1.png")
        .replace("Effusion\n", "Effusion,0\n")
    )
    images = Csv(hospital(tmp_path, labelled)).images()
    assert "Edema" not in images.columns
    assert images["Fracture"].tolist() == pytest.approx([0, np.nan], nan_ok=True)


def test_boxes_are_in_a_table_of_their_own_or_nowhere(tmp_path: Path) -> None:
    assert Csv(hospital(tmp_path)).boxes() is None
    (tmp_path / "boxes.csv").write_text("path,x1,y1,x2,y2,observation\n4.png,1,1,9,9,Edema\n")
    assert Csv(hospital(tmp_path), boxes="boxes.csv").boxes()["image_id"].tolist() == ["4.png"]
    with pytest.raises(FileNotFoundError, match=r"no table of boxes .*none\.csv\. Expected are columns x, y, width"):
        Csv(hospital(tmp_path), boxes="none.csv").boxes()


@pytest.mark.parametrize(("table", "disk"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFC", "NFC")])
def test_accents_are_found_however_they_are_spelled(tmp_path: Path, table: str, disk: str) -> None:
    name = "Röntgen.png"
    (tmp_path / unicodedata.normalize(disk, name)).write_bytes(b"")
    (tmp_path / "t.csv").write_text(f"path\n{unicodedata.normalize(table, name)}\n", encoding="utf-8")
    assert Path(Csv(tmp_path / "t.csv").images()["path"][0]).is_file()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("Export;;\npath;report\na.png;b\n", r"has one column, 'Export', and needs 'path'\. If that is a title"),
        ("path\nD:\\PACS\\1.png\n", "a path of Windows, which is nowhere here. Write paths relative to the table"),
        ("path,Edema\na.png,ja\n", r"'ja' in row 2 is no number\. A label is 1 \(positive\), 0 \(negative\), -1"),
    ],
)
def test_usual_slips_are_told_with_what_to_do(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(table)
    with pytest.raises(ValueError, match=message):
        Csv(tmp_path / "t.csv").images()


def test_two_tables_have_options_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "films.csv").write_text("x\nfilm.png\n")
    (tmp_path / "said.csv").write_text("y\nNo effusion.\n")
    names = [f"csv={tmp_path / name}.csv" for name in ("films", "said")]
    options = {names[0]: {"columns": {"path": "x"}}, names[1]: {"columns": {"text": "y"}}}
    films, said = find_sources(",".join(names), data_root=None, options=options)
    assert films.images()["path"].tolist() == [str(tmp_path / "film.png")]
    assert said.texts()["text"].tolist() == ["No effusion."]
    with pytest.raises(ValueError, match="'cvs' in sources"):
        find_sources(names[0], data_root=None, options={"cvs": {}})
