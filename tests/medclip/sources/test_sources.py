from __future__ import annotations

import zipfile

import numpy as np
import pandas as pd
import pytest

from labelers.observations import CHEXPERT14
from medclip.data.prepare import prepare_images
from medclip.utils.plugins import load_plugin
from tests.fixtures import layouts
from tests.fixtures.picture import picture


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


def images_of(name: str, folder, **options):
    source = layouts.source_of(name, folder)
    return load_plugin("sources", source.name)(source.root, **options).images().set_index("image_id")


def test_chexpert_plus_brings_reports_and_their_labels(tmp_path) -> None:
    source = layouts.source_of("chexpert, plus", tmp_path)
    images, texts = source.images(), source.texts().set_index("study_id")
    assert images["split"].tolist() == [None] * 9 + ["test"]
    assert images["Cardiomegaly"].tolist() == [1] * 10
    assert (len(texts), texts.index[-1]) == (9, "patient64541/study1")
    assert texts.loc["patient00001/study1", "text"] == "IMPRESSION: 1. CARDIOMEGALY, VERSION 0."
    assert texts.loc["patient00002/study1", "text"] == "FINDINGS: Clear."
    assert set(texts.index) == set(images["study_id"])


@pytest.mark.parametrize("by_study", [True, False])
def test_chexpert_test_labels_make_the_official_set_the_test_split(tmp_path, by_study: bool) -> None:
    root = layouts.chexpert(tmp_path)
    study = "CheXpert-v1.0/test/patient64741/study1" if by_study else "test/patient64741/study1"
    picture(root / "test" / "patient64741" / "study1" / "view1_frontal.jpg", seed=1)
    header = ",".join(["Study" if by_study else "Path", *CHEXPERT14])
    row = ",".join([study if by_study else f"{study}/view1_frontal.jpg", "0", "1", *["0"] * 12])
    (root / ("groundtruth.csv" if by_study else "test_labels.csv")).write_text(f"{header}\n{row}\n")
    table = load_plugin("sources", "chexpert")(root).images()
    assert table["split"].value_counts(dropna=False).to_dict() == {None: 6, "valid": 6, "test": 1}
    last = table.iloc[-1]
    assert last["path"] == str(root / "test" / "patient64741" / "study1" / "view1_frontal.jpg")
    assert (last["Enlarged Cardiomediastinum"], last["Edema"]) == (1, 0)


def test_mimic_reads_splits_views_and_the_radiologist(tmp_path) -> None:
    frontal = images_of("mimic-cxr", tmp_path)
    assert frontal["view"].unique().tolist() == ["PA"]
    assert frontal["split"].tolist() == ["train", "train", "valid", "test", "train", "train"]
    row = frontal.iloc[3]
    assert (row["Lung Opacity"], row["Edema"]) == (1, 0)
    assert frontal.iloc[0][sorted(CHEXPERT14)[:3]].tolist() == [1, -1, 0]
    assert len(images_of("mimic-cxr", tmp_path / "all", views="all")) == 12


def test_mimic_can_be_labelled_by_its_reports(tmp_path) -> None:
    root = layouts.mimic_cxr(tmp_path / "jpg")
    reports = layouts.mimic_reports(tmp_path / "reports")
    source = load_plugin("sources", "mimic-cxr")(root, labels="reports", reports=str(reports))
    assert not set(CHEXPERT14) & set(source.images().columns)
    made = prepare_images(source, folder=tmp_path / "p", size=16, split_seed=0)
    assert made.images.set_index("study_id").loc["mimic-cxr/50000000", "Cardiomegaly"] == 1


def test_openi_tables_give_the_same_reports_as_the_files(tmp_path) -> None:
    source = layouts.source_of("openi, two tables", tmp_path)
    texts = source.texts()
    assert (
        texts["text"][0]
        == "COMPARISON: None.\n\nINDICATION: XXXX\n\nFINDINGS: Heart size normal, as in 1.\n\nIMPRESSION: No effusion."
    )
    images = source.images()
    assert images["view"].tolist()[:2] == ["frontal", "lateral"]
    assert set(images["study_id"]) == set(texts["study_id"])


def test_rsna_counts_each_patient_once(tmp_path) -> None:
    source = layouts.source_of("rsna", tmp_path)
    table = source.images()
    assert len(table) == 9
    assert table["Pneumonia"].tolist() == [0, 1, 1] * 3
    assert table["No Finding"].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert len(source.boxes()) == 9
    balanced = load_plugin("sources", "rsna")(source.root, test="medclip").images()
    assert set(balanced["split"]) == {"test"}
    assert balanced["Pneumonia"].mean() == 0.5


def test_covid_folders_are_classes(tmp_path) -> None:
    table = images_of("covid", tmp_path)
    assert table.loc["COVID-2", "COVID-19"] == 1
    assert table.loc["Normal-1", ["No Finding", "COVID-19"]].tolist() == [1, 0]
    assert table.loc["Viral Pneumonia-3", "Pneumonia"] == 1
    balanced = load_plugin("sources", "covid")(tmp_path, test="medclip").images()
    assert sorted(balanced["image_id"].str.split("-").str[0].value_counts()) == [4, 4]


def test_covid_reads_earlier_releases(tmp_path) -> None:
    picture(tmp_path / "NORMAL" / "NORMAL (1).png", seed=0)
    picture(tmp_path / "COVID-19" / "COVID-19 (1).png", seed=0)
    table = load_plugin("sources", "covid")(tmp_path).images().set_index("image_id")
    assert table["COVID-19"].to_dict() == {"COVID-19 (1)": 1, "NORMAL (1)": 0}


def test_siim_masks_are_labels_and_boxes(tmp_path) -> None:
    source = layouts.source_of("siim", tmp_path)
    assert sorted(source.images()["Pneumothorax"]) == [0, 0, 0, 1, 1, 1]
    boxes = source.boxes()
    assert boxes.iloc[0][["x", "y", "width", "height"]].tolist() == [100, 50, 2, 30]
    assert boxes.iloc[1][["x", "y", "width", "height"]].tolist() == [0, 5, 1, 2]


def test_a_mask_is_what_the_challenge_decodes() -> None:
    """Against the definition: skip, then fill, down the columns."""
    from medclip.sources.siim import decode_mask

    expected, position = np.zeros(12 * 7), 0
    for gap, length in ((3, 2), (0, 4), (10, 1)):
        position += gap
        expected[position : position + length] = 1
        position += length
    assert (decode_mask("3 2 0 4 10 1", width=12, height=7) == expected.reshape(12, 7).T).all()


def test_padchest_names_views_and_ages(tmp_path) -> None:
    table = images_of("padchest", tmp_path)
    assert len(table) == 4  # unchanged, nothing, exclude and a lateral view are left out
    assert table["No Finding"].tolist() == [1, 0, 0, 0]
    assert table.iloc[1][["Cardiomegaly", "Pleural Effusion", "Edema"]].tolist() == [1, 1, 0]
    assert table.iloc[2][["Support Devices", "Lung Lesion"]].tolist() == [1, 1]
    assert table["view"].tolist() == ["PA", "AP", "PA", "PA"]
    assert set(table["age"]) == {60}
    assert "7" + "_3r162a.png" in " ".join(images_of("padchest", tmp_path / "b", views="all").index)


def test_vindr_counts_votes(tmp_path) -> None:
    table = images_of("vindr", tmp_path)
    first, second = table.iloc[0], table.iloc[1]
    assert (first["Lung Lesion"], first["No Finding"], first["Fracture"]) == (1, -1, 0)
    assert (second["Fracture"], second["No Finding"]) == (-1, 1)
    assert table["split"].tolist() == [None] * 4 + ["test"] * 4
    assert table.iloc[4]["Lung Lesion"] == 1
    assert not {"Other diseases", "Nodule/Mass"} & set(table.columns)
    assert table["Other disease"].notna().all()
    boxes = layouts.source_of("vindr", tmp_path / "b").boxes()
    assert boxes.iloc[0].tolist()[1:] == ["Lung Lesion", 10.5, 20, 20, 40]


def test_folders_are_classes_and_splits(tmp_path) -> None:
    table = images_of("folder", tmp_path, patient=r"^(p\d)")
    assert table.loc["Normal/p1_a.png", ["No Finding", "Pleural Effusion", "Sarcoid"]].tolist() == [1, 0, 0]
    assert table.loc["test/effusion/p5_a.png", "Pleural Effusion"] == 1
    assert table.loc["test/effusion/p5_a.png", "split"] == "test"
    assert np.isnan(table.loc["p7_a.png", "Sarcoid"])
    assert table["patient_id"].tolist() == ["p1", "p2", "p6", "p3", "p7", "p4", "p5"]
    with pytest.raises(ValueError, match="finds no patient"):
        images_of("folder", tmp_path / "b", patient=r"(q\d)")


@pytest.mark.parametrize(
    ("name", "options"),
    [("chexpert", {"views": "side"}), ("chexpert", {"plus_labels": "x"}), ("mimic-cxr", {"views": "x"}),
     ("mimic-cxr", {"labels": "x"}), ("rsna", {"test": "x"}), ("covid", {"test": "x"}), ("padchest", {"by": "x"}),
     ("vindr", {"votes": 4}), ("chexpert-5x200", {"definition": "x"}), ("mimic-5x200", {"labels": "x"})],
)  # fmt: skip
def test_unknown_options_name_the_known(name: str, options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"{name}: .* must be"):
        load_plugin("sources", name)("nowhere", **options)
