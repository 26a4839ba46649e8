from __future__ import annotations

import gzip
import json
import re
import zipfile

import numpy as np
import pandas as pd
import pytest

from labelers.observations import CHEXPERT14
from medclip.data.preparation import Preparation
from medclip.data.prepare_images import prepare_images
from medclip.data.prepare_texts import prepare_texts
from medclip.data.prepared import declared_of
from medclip.data.tables import observations_of
from medclip.evaluation.protocol import load_protocol
from medclip.inference.prompts import load_prompts
from medclip.utils.plugins import load_plugin
from tests.fixtures import layouts
from tests.fixtures.dicom import dicom
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


def test_openi_leaves_out_a_broken_file_and_says_so(tmp_path, caplog) -> None:
    root = layouts.openi(tmp_path)
    (root / "ecgen-radiology" / "3.xml").write_text("<eCitation>")
    assert load_plugin("sources", "openi")(root).texts()["study_id"].tolist() == [f"CXR{i}" for i in (1, 2, 4, 5, 6)]
    assert "1 of 6 reports are left out, being no readable XML: 3.xml" in caplog.text


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
    assert set(source.images()["race"]) == {"Asian"}
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
    made = prepare_images(source, Preparation(tmp_path / "p", size=16))
    assert made.images.set_index("study_id").loc["mimic-cxr/50000000", "Cardiomegaly"] == 1


def test_openi_tables_give_the_same_reports_as_the_files(tmp_path) -> None:
    source = layouts.source_of("openi, two tables", tmp_path)
    texts = source.texts()
    assert (
        texts["text"][0]
        == "COMPARISON: None.\n\nINDICATION: XXXX\n\nFINDINGS: Heart size normal, as in 1.\n\nIMPRESSION: No effusion."
    )
    assert set(source.images()["view"]) == {"frontal"}
    images = load_plugin("sources", "openi")(source.root, views="all").images()
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


def test_padchest_knows_the_observations_of_cxr_lt_2026(tmp_path) -> None:
    table = images_of("padchest", tmp_path, labels="cxr-lt-2026", views="all")
    columns = observations_of(table.reset_index())
    unseen = set(load_protocol("cxr-lt-2026").settings["unseen"])
    assert len(columns) == 35 and unseen - set(columns) == {"Infarction"}  # 36, and PadChest has no infarction
    assert set(columns) <= set(load_prompts("cxr-lt-2026"))
    assert table.iloc[2][["Support Devices", "Nodule", "Scoliosis"]].tolist() == [1, 1, 0]
    assert table.iloc[3][["Scoliosis", "No Finding"]].tolist() == [1, 0]
    assert table.iloc[1][["Cardiomegaly", "Pleural Effusion", "Mass"]].tolist() == [1, 1, 0]
    others = images_of("padchest-gr", tmp_path / "b", labels="cxr-lt-2026").reset_index()
    assert set(observations_of(others)) == set(columns)


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


def test_folders_of_no_usual_name_are_said(tmp_path, caplog) -> None:
    for name in ("Normal/1.png", "Pneumonie/2.png"):
        picture(tmp_path / name, seed=0)
    source = load_plugin("sources", "folder")(tmp_path)
    assert {"No Finding", "Pneumonie"} <= set(source.images().columns)
    source.images()
    assert (
        caplog.text.count("taken as observations of their own, since no usual name: Pneumonie. Did you mean 'Pneu") == 1
    )
    caplog.clear()
    assert (
        "Pneumonia" in load_plugin("sources", "folder")(tmp_path, classes={"Pneumonie": "Pneumonia"}).images().columns
    )
    assert not caplog.text


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
     ("padchest", {"labels": "x"}), ("padchest-gr", {"labels": "x"}),
     ("vindr", {"votes": 4}), ("chexpert-5x200", {"definition": "x"}), ("mimic-5x200", {"labels": "x"})],
)  # fmt: skip
def test_unknown_options_name_the_known(name: str, options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"{name}: .* must be"):
        load_plugin("sources", name)("nowhere", **options)


def test_rsna_has_nihs_ids_where_they_are_known(tmp_path) -> None:
    root = layouts.source_of("rsna", tmp_path).root
    kind, nih = load_plugin("sources", "rsna"), load_plugin("sources", "nih")
    alone, other = kind(root), nih(root)
    assert alone.population == "rsna"
    assert alone.may_hold_images_of(other)
    assert other.may_hold_images_of(load_plugin("sources", "siim")(root))
    images = alone.images()["image_id"].tolist()
    rows = [{"subset_img_id": name, "img_id": f"{i + 7:08d}_00{i}.png"} for i, name in enumerate(images[:-1])]
    (root / "pneumonia-challenge-dataset-mappings_2018.json").write_text(json.dumps(rows))
    mapped = kind(root)
    table = mapped.images()
    assert (mapped.population, mapped.may_hold_images_of(other)) == ("nih", False)
    assert table["patient_id"].tolist()[:3] == ["7", "8", "9"]
    assert table["study_id"].tolist()[:2] == ["00000007_000", "00000008_001"]
    assert table["patient_id"].iloc[-1] == f"rsna/{images[-1]}"


def wget(root, *, release: str = "2.1.0", reports: str = "2.1.0"):
    """The folders that PhysioNet's wget makes: images with the split file, and reports, in two projects."""
    files = root / "physionet.org" / "files"
    layouts.mimic_cxr(files / "mimic-cxr-jpg" / release, patients=8)
    layouts.mimic_reports(files / "mimic-cxr" / reports, patients=8)
    return root


@pytest.mark.parametrize("release", ["2.0.0", "2.1.0"])
@pytest.mark.parametrize("data_root", ["", "physionet.org/files"])
def test_mimic_is_found_where_wget_puts_it(tmp_path, release: str, data_root: str) -> None:
    root = wget(tmp_path, release=release, reports=release) / data_root
    kinds = [load_plugin("sources", name) for name in ("mimic-cxr", "mimic-reports")]
    images, texts = (kind(kind.locate(None, root)) for kind in kinds)
    assert images.root.name == texts.root.name == release
    found = [table.groupby("patient_id")["split"].first() for table in (images.images(), texts.texts())]
    assert found[0].to_dict() == found[1].to_dict()
    assert set(found[1]) == {"train", "valid", "test"}
    for source, name in ((images, "mimic-cxr-jpg"), (texts, "mimic-cxr")):  # the folder of all versions will do
        above = tmp_path / "physionet.org" / "files" / name
        assert type(source).locate(str(above), None) == source.root


def test_mimic_reports_without_the_official_split_say_so(tmp_path, caplog) -> None:
    texts = load_plugin("sources", "mimic-reports")(
        layouts.mimic_reports(tmp_path / "a" / "b" / "c" / "d" / "e")
    ).texts()
    assert texts["split"].isna().all()
    assert "the official split is not known" in caplog.text


def test_mimic_patients_are_in_one_split_over_images_and_reports(tmp_path) -> None:
    root = wget(tmp_path)
    sources = [load_plugin("sources", name) for name in ("mimic-cxr", "mimic-reports")]
    images, texts = (kind(kind.locate(None, root)) for kind in sources)
    declared = declared_of([images, texts])
    how = Preparation(tmp_path / "p", size=16)
    one, other = prepare_images(images, how, declared), prepare_texts(texts, how, declared)
    both = pd.concat([one.images, other.occurrences])[["patient_id", "split"]].drop_duplicates()
    assert both["patient_id"].is_unique
    assert one.manifest["chosen"] == other.manifest["chosen"] == dict.fromkeys(("train", "valid", "test"), "official")


@pytest.mark.parametrize("form", ["s{}", "{}.0"])
def test_mimic_ids_in_other_forms_meet(tmp_path, form: str) -> None:
    root = layouts.mimic_cxr(tmp_path)
    for kind in ("chexpert", "split"):
        path = root / f"mimic-cxr-2.0.0-{kind}.csv.gz"
        text = gzip.decompress(path.read_bytes()).decode()
        path.write_bytes(
            gzip.compress(re.sub(r"(5000000\d)", lambda found: form.format(found[1]), text).encode(), mtime=0)
        )
    changed = load_plugin("sources", "mimic-cxr")(root).images()
    pd.testing.assert_frame_equal(
        changed, images_of("mimic-cxr", tmp_path / "b").reset_index()[changed.columns].assign(path=changed["path"])
    )


def test_a_split_file_of_other_images_is_refused(tmp_path) -> None:
    root = layouts.mimic_cxr(tmp_path)
    path = root / "mimic-cxr-2.0.0-split.csv.gz"
    path.write_bytes(
        gzip.compress(
            gzip.decompress(path.read_bytes()).replace(b"-pa,", b"-ap,").replace(b"-lateral,", b"-l,"), mtime=0
        )
    )
    with pytest.raises(ValueError, match="none of the 6 rows has its image_id in mimic-cxr"):
        load_plugin("sources", "mimic-cxr")(root).images()


def test_nih_sample_and_odd_rows(tmp_path, caplog) -> None:
    root = layouts.nih(tmp_path)
    text = (root / "Data_Entry_2017_v2020.csv").read_text()
    (root / "Data_Entry_2017_v2020.csv").unlink()
    text = text.replace(",41,", ",003M,").replace(",42,", ",058Y,").replace("Pneumothorax", "").replace("|", " | ")
    (root / "sample_labels.csv").write_text(text.replace("Patient Sex", "Patient Gender"))
    (root / "images_001" / "images" / "00000001_000.png").write_bytes(
        (root / "images_002" / "images" / "00000001_000.png").read_bytes()
    )
    table = load_plugin("sources", "nih")(root).images().set_index("image_id")
    assert table["age"][["00000001_000.png", "00000002_000.png"]].tolist() == [0.25, 58]
    assert table.loc["00000003_000.png", ["Edema", "No Finding"]].isna().all()
    assert table.loc["00000001_000.png", "Pleural Effusion"] == 1
    assert table["sex"].eq("F").all()
    assert "1 files have the name of one in another folder" in caplog.text


def test_vindr_reads_the_challenge_of_vinbigdata(tmp_path) -> None:
    rows = ["image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"]
    for reader in ("R8", "R9", "R10"):
        rows.append(f"b,No finding,14,{reader},,,,")
        rows += [f"a,Nodule/Mass,8,{reader},10,20,30,60"] * 2 if reader != "R10" else [f"a,No finding,14,{reader},,,,"]
    (tmp_path / "train.csv").write_text("\n".join(rows) + "\n")
    source = load_plugin("sources", "vindr")(tmp_path)
    table = source.images().set_index("image_id")
    assert table.loc["a", ["Lung Lesion", "No Finding"]].tolist() == [1, -1]
    assert table.loc["b", ["Lung Lesion", "No Finding"]].tolist() == [0, 1]
    assert table.loc["a", "path"] == str(tmp_path / "train" / "a.dicom")
    assert source.boxes().iloc[0, 1:].tolist() == ["Lung Lesion", 10, 20, 20, 40]


def test_openi_knows_laterals_by_the_table_of_projections(tmp_path, caplog) -> None:
    root = layouts.openi(tmp_path, reports=3)
    kind = load_plugin("sources", "openi")
    assert len(kind(root).images()) == 3
    assert "laterals cannot be told" in caplog.text
    rows = [f"{i},IM-{1000 + i:04d}-1001.dcm.png,{'Lateral' if i == 2 else 'Frontal'}" for i in (1, 2, 3)]
    (root / "indiana_projections.csv").write_text("\n".join(["uid,filename,projection", *rows]) + "\n")
    assert kind(root).images()["study_id"].tolist() == ["CXR1", "CXR3"]
    assert len(kind(root, views="all").images()) == 3


def test_folders_hold_dicom_without_suffix(tmp_path) -> None:
    for name in ("Edema/IM000001", "Edema/1.2.840.113", "Normal/IM2.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        dicom(tmp_path / name, np.arange(1280).reshape(40, 32))
    (tmp_path / "DICOMDIR").write_bytes((tmp_path / "Edema" / "IM000001").read_bytes())
    (tmp_path / "Edema" / "readme").write_text("no image")
    table = load_plugin("sources", "folder")(tmp_path).images()
    assert table["image_id"].tolist() == ["Edema/1.2.840.113", "Edema/IM000001", "Normal/IM2.dcm"]


def test_covid_files_of_one_name_in_two_folders(tmp_path) -> None:
    for name in ("COVID", "Normal"):
        picture(tmp_path / name / "1.png", seed=0)
    table = load_plugin("sources", "covid")(tmp_path).images()
    assert table["image_id"].tolist() == ["COVID/1", "Normal/1"]


def test_csv_ids_are_what_the_file_says(tmp_path) -> None:
    path = table(tmp_path, "path,patient_id,study_id\na.png,0012,1.10\nb.png,1e3,1.1\nc.png,NA,007\n")
    found = csv(path).images()
    assert found["patient_id"].tolist() == ["0012", "1e3", "NA"]
    assert found["study_id"].tolist() == ["1.10", "1.1", "007"]


def test_csv_columns_under_other_names(tmp_path) -> None:
    path = table(tmp_path, "Path,PatientID,Pleural_Effusion,EDEMA,Gender\na.png,p,1,,F\n")
    found = csv(path).images().iloc[0]
    assert (found["patient_id"], found["Pleural Effusion"], found["sex"]) == ("p", 1, "F")
    assert np.isnan(found["Edema"])


@pytest.mark.parametrize("options", [{}, {"columns": {"text": ["findings", "impression"]}}])
def test_csv_joins_findings_and_impression(tmp_path, options: dict[str, object]) -> None:
    path = table(tmp_path, "study_id,findings,impression\n1,Heart normal.,No effusion.\n2,,Edema.\n3,,\n")
    assert csv(path, **options).texts()["text"].tolist() == [
        "FINDINGS: Heart normal.\n\nIMPRESSION: No effusion.", "IMPRESSION: Edema.", "",
    ]  # fmt: skip


def test_csv_rows_without_what_they_need_are_left_out_and_listed(tmp_path, caplog) -> None:
    path = table(tmp_path, "path,patient_id\na.png,p\n,q\nc.png,\n")
    assert csv(path).images()["image_id"].tolist() == ["a.png"]
    assert "1 row (3) is left out of the images, whose path is blank" in caplog.text
    assert "1 row (4) is left out, whose patient_id is blank" in caplog.text


def test_csv_selects_by_number_and_by_text(tmp_path) -> None:
    path = table(tmp_path, "path,kind\na.png,1\nb.png,1.0\nc.png,01\nd.png,2\n")
    assert len(csv(path, select={"kind": [1]}).images()) == 3
    assert len(csv(path, select={"kind": ["2"]}).images()) == 1


def test_csv_tables_can_be_of_one_population(tmp_path) -> None:
    images, texts = table(tmp_path, "path\na.png\n", "i.csv"), table(tmp_path, "text\nEdema.\n", "t.csv")
    assert not csv(images).shares_studies(csv(texts))
    assert csv(images, population="here").shares_studies(csv(texts, population="here"))
