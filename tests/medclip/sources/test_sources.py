from __future__ import annotations

import zipfile

import numpy as np
import pandas as pd
import pytest

from medclip.plugins import load_plugin
from tests.fixtures import layouts


def test_nih_maps_its_findings_and_keeps_its_own(tmp_path) -> None:
    table = load_plugin("sources", "nih")(layouts.nih(tmp_path)).images().set_index("image_id")
    row = table.loc["00000001_000.png"]
    assert (row["Cardiomegaly"], row["Pleural Effusion"], row["Pneumothorax"]) == (1, 1, 0)
    assert table.loc["00000002_000.png", "Lung Lesion"] == 1
    assert table.loc["00000005_000.png", "Hernia"] == 1
    assert table.loc["00000006_000.png", "split"] == "test"
    assert pd.isna(table.loc["00000001_000.png", "split"])
    assert table.loc["00000001_000.png", "age"] == 41


def test_nih_boxes_use_our_names(tmp_path) -> None:
    boxes = load_plugin("sources", "nih")(layouts.nih(tmp_path)).boxes()
    assert boxes["observation"].tolist() == ["Lung Opacity"]
    assert boxes[["x", "y", "width", "height"]].to_numpy().tolist() == [[10.5, 4, 8, 6]]


def test_nih_refuses_unknown_findings(tmp_path) -> None:
    root = layouts.nih(tmp_path)
    path = root / "Data_Entry_2017_v2020.csv"
    path.write_text(path.read_text().replace("Hernia", "Hernias"))
    with pytest.raises(ValueError, match="unknown findings"):
        load_plugin("sources", "nih")(root).images()


def test_openi_reports_keep_their_headings(tmp_path) -> None:
    texts = load_plugin("sources", "openi")(layouts.openi(tmp_path)).texts()
    assert texts["text"][0].startswith("COMPARISON: None.\n\nINDICATION: Pneumonia?\n\nFINDINGS: Lungs are clear.")


def test_openi_without_images_is_a_text_source(tmp_path) -> None:
    root = layouts.openi(tmp_path)
    for path in (root / "NLMCXR_png").iterdir():
        path.unlink()
    (root / "NLMCXR_png").rmdir()
    assert load_plugin("sources", "openi")(root).images() is None


def test_openi_names_a_broken_file(tmp_path) -> None:
    root = layouts.openi(tmp_path)
    (root / "ecgen-radiology" / "3.xml").write_text("<eCitation>")
    with pytest.raises(ValueError, match=r"3\.xml is no readable XML"):
        load_plugin("sources", "openi")(root).texts()


def test_chexpert_is_frontal_unless_asked(tmp_path) -> None:
    root, kind = layouts.chexpert(tmp_path), load_plugin("sources", "chexpert")
    frontal, everything = kind(root).images(), kind(root, views="all").images()
    assert len(everything) == 2 * len(frontal)
    assert frontal["split"].value_counts(dropna=False).to_dict() == {None: 6, "test": 6}
    row = frontal.set_index("image_id").loc["train/patient00001/study1/view1_frontal.jpg"]
    assert row["Enlarged Cardiomediastinum"] == 1
    assert row["Cardiomegaly"] == -1
    assert np.isnan(row["Fracture"])


def test_mimic_reports_are_read_out_of_the_zip(tmp_path) -> None:
    root, kind = layouts.mimic_reports(tmp_path / "a"), load_plugin("sources", "mimic-reports")
    (tmp_path / "b").mkdir()
    with zipfile.ZipFile(tmp_path / "b" / "mimic-cxr-reports.zip", "w") as archive:
        for path in sorted((root / "files").rglob("*.txt")):
            archive.write(path, path.relative_to(root))
    for place in (tmp_path / "b", tmp_path / "b" / "mimic-cxr-reports.zip"):
        pd.testing.assert_frame_equal(kind(place).texts(), kind(root).texts())


def table(folder, text: str, name: str = "t.csv"):
    (folder / name).write_text(text)
    return folder / name


def csv(path, **options: object):
    return load_plugin("sources", "csv")(path, **options)


def test_csv_takes_names_from_one_column(tmp_path) -> None:
    path = table(tmp_path, "file,subject,finding\na.png,1,Effusion|Mass\nb.png,1,No Finding\nc.png,2,\n")
    source = csv(path, columns={"path": "file", "patient_id": "subject"}, labels_in="finding")
    found = source.images()
    assert found["Pleural Effusion"].tolist()[:2] == [1, 0]
    assert np.isnan(found["Pleural Effusion"][2])
    assert found["patient_id"].tolist() == ["1", "1", "2"]
    assert found["path"][0] == str(tmp_path / "a.png")


def test_csv_selects_rows(tmp_path) -> None:
    path = table(tmp_path, "path,view\na.png,PA\nb.png,LL\n")
    assert csv(path, select={"view": ["PA"]}).images()["image_id"].tolist() == ["a.png"]
    with pytest.raises(ValueError, match="no rows left after select"):
        csv(path, select={"view": ["AP"]}).images()


def test_csv_texts(tmp_path) -> None:
    found = csv(
        table(tmp_path, "report,sid\nNo effusion.,s1\n,s2\n"), columns={"text": "report", "study_id": "sid"}
    ).texts()
    assert found["text"].tolist() == ["No effusion.", ""]
    assert found["patient_id"].tolist() == ["s1", "s2"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("path\n../a.png\n", {}, "leads out of"),
        ("path\n/etc/passwd\n", {}, "leads out of"),
        ("path\na.png\n", {"columns": {"patient_id": "pid"}}, "has no column 'pid'"),
        ("path,finding\na.png,x\n", {"labels_in": "findings"}, "Did you mean 'finding'"),
        ("path\n", {}, "has no rows"),
        ("path,Edema\na.png,5\n", {}, r"column 'Edema': Found states \[5.0\]"),
    ],
)
def test_csv_says_what_is_wrong(tmp_path, text: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        csv(table(tmp_path, text), **options).images()


def test_csv_names_the_encoding(tmp_path) -> None:
    (tmp_path / "t.csv").write_bytes("path,note\na.png,\xe9t\xe9\n".encode("latin-1"))
    with pytest.raises(ValueError, match="not UTF-8"):
        csv(tmp_path / "t.csv").images()


def test_csv_refuses_a_mapping_for_no_column_of_ours() -> None:
    with pytest.raises(ValueError, match="Did you mean 'patient_id'"):
        csv("t.csv", columns={"patientid": "x"})


def test_phantom_pairs_share_studies_and_populations_do_not() -> None:
    kind = load_plugin("sources", "phantom")
    paired, apart = kind(studies=20, paired=True), kind(studies=21)
    assert set(paired.images()["study_id"]) == set(paired.texts()["study_id"])
    assert not set(apart.images()["patient_id"]) & set(apart.texts()["patient_id"])
    with pytest.raises(ValueError, match="studies >= 1"):
        kind(studies=0)
