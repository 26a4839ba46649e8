from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medclip.data.cache import PixelCache
from medclip.data.labelling import Labelling
from medclip.data.preparation import Preparation
from medclip.data.prepare_images import prepare_images
from medclip.data.prepare_texts import prepare_texts
from medclip.data.prepared import Prepared
from medclip.data.source import Source
from medclip.utils.plugins import load_plugin
from tests.fixtures.layouts import LAYOUTS


def source(name: str, folder: Path) -> Source:
    if name == "phantom":
        return load_plugin("sources", "phantom")(studies=40, size=32)
    return load_plugin("sources", name)(LAYOUTS[name].write(folder / name))


def images(made: Source, folder: Path, **options: object) -> Prepared:
    return prepare_images(made, Preparation(folder, size=16, **options))


def test_images_are_cached_and_the_note_says_how(tmp_path) -> None:
    made = images(source("nih", tmp_path), tmp_path / "p")
    cached = PixelCache(tmp_path / "p" / "cache", 16).get(made.images["_key"].tolist())
    assert cached.shape == (12, 16, 16)
    folder = next((tmp_path / "p").glob("nih-images-*"))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["rows"] == 12
    assert manifest["size"] == 16
    assert {"images.parquet", "rejected.csv"} <= {path.name for path in folder.iterdir()}


def test_patients_of_different_sources_stay_apart(tmp_path) -> None:
    first = images(source("nih", tmp_path), tmp_path / "p").images
    second = images(source("csv", tmp_path), tmp_path / "p").images
    assert not set(first["patient_id"]) & set(second["patient_id"])


def test_unreadable_images_are_listed_and_left_out(tmp_path) -> None:
    made = source("csv", tmp_path)
    folder = tmp_path / "csv" / "images"
    (folder / "0.png").write_text("no image")
    (folder / "1.png").unlink()
    result = images(made, tmp_path / "p")
    assert len(result.images) == 38
    rejected = next((tmp_path / "p").glob("*/rejected.csv")).read_text()
    assert "0.png,not readable" in rejected.replace('"', "")
    assert "No such file" in rejected
    with pytest.raises(ValueError, match="2 images cannot be read"):
        images(made, tmp_path / "p", strict=True)


def test_images_without_labels_get_those_of_their_report(tmp_path) -> None:
    table = images(source("openi", tmp_path), tmp_path / "p").images.set_index("image_id")
    row = table.loc["openi/CXR4_IM-1004-1001"]
    assert row["Cardiomegaly"] == 1
    assert row["Pleural Effusion"] == 0
    assert np.isnan(row["Fracture"])


def test_sentences_are_labelled_and_not_repeated(tmp_path) -> None:
    made = prepare_texts(source("openi", tmp_path), Preparation(tmp_path / "p"))
    assert not made.sentences.duplicated(["split", "text"]).any()
    assert made.manifest["without_text"] == 1
    assert len(made.occurrences) == made.sentences["count"].sum()
    told = made.sentences.set_index("text")["Cardiomegaly"]
    assert (told[["The heart is enlarged."]] == 1).all()
    joined = made.sentences["text"].iloc[made.occurrences["sentence"]].tolist()
    assert "Pneumonia?" not in joined


def test_preparing_again_gives_the_same_and_reads_it_back(tmp_path) -> None:
    made = source("phantom", tmp_path)
    first = prepare_texts(made, Preparation(tmp_path / "p"))
    again = prepare_texts(made, Preparation(tmp_path / "p"))
    assert first.sentences.equals(again.sentences)
    assert images(made, tmp_path / "p").images.equals(images(made, tmp_path / "p").images)
    assert len(list((tmp_path / "p").glob("phantom-*"))) == 2


def test_mimic_reports_give_findings_and_impression_only(tmp_path) -> None:
    made = prepare_texts(source("mimic-reports", tmp_path), Preparation(tmp_path / "p"))
    texts = set(made.sentences["text"])
    assert "Cardiomegaly." in texts
    assert any(text.endswith("Moderate pulmonary edema.") for text in texts)
    assert "There is no pleural effusion or pneumothorax." in texts
    assert not any("with pneumonia" in text or "FINAL" in text for text in texts)


@pytest.mark.parametrize(("name", "prepare"), [("mimic-reports", prepare_images), ("csv", prepare_texts)])
def test_the_wrong_side_is_refused(tmp_path, name: str, prepare: object) -> None:
    with pytest.raises(ValueError, match=r"has no (images|texts) here. It can serve as --(images|texts) only"):
        prepare(source(name, tmp_path), Preparation(tmp_path / "p", size=16))


def texts_of(tmp_path: Path, csv: str, labels: list[str] | None = None, **options: object) -> Prepared:
    (tmp_path / "texts.csv").write_text(csv)
    made = load_plugin("sources", "csv")(tmp_path / "texts.csv", labels=labels)
    return prepare_texts(made, Preparation(tmp_path / "p", **options))


def test_labels_that_texts_bring_are_kept_and_the_others_are_read(tmp_path: Path) -> None:
    made = texts_of(
        tmp_path,
        "study_id,text,Edema,Scoliosis\n1,Lines of a reader. No oedema at all.,0,1\n2,There is edema. No fracture.,,\n",
        ["Edema", "Scoliosis"],
    )
    told = made.sentences.set_index("text")
    whole = "Lines of a reader. No oedema at all."
    assert told.loc[whole, ["Edema", "Scoliosis"]].tolist() == [0, 1]
    assert np.isnan(told.loc[whole, "Cardiomegaly"])
    assert told.loc["There is edema.", "Edema"] == 1
    reports = made.reports().set_index("study_id")
    assert reports["text"].tolist() == ["There is edema. No fracture.", whole]
    assert reports["Edema"].tolist() == [1, 0]
    assert reports["Fracture"].isna().tolist() == [False, True]


def test_a_report_is_labelled_as_a_whole(tmp_path: Path) -> None:
    made = texts_of(
        tmp_path,
        "study_id,text\n1,No acute cardiopulmonary process. There is a moderate left pleural effusion.\n"
        "2,Heart size is normal. No pneumothorax. No pleural effusion. Nothing to add.\n",
    )
    reports = made.reports()
    assert reports["Pleural Effusion"].tolist() == [1, 0]
    assert reports["No Finding"].fillna(0).tolist() == [0, 1]
    assert reports["text"].iloc[1].endswith("Nothing to add.")


def test_texts_that_nobody_understands_are_an_error(tmp_path: Path) -> None:
    chinese = "study_id,text\n1,双肺纹理增多，左侧少量胸腔积液。\n"
    with pytest.raises(ValueError, match=r"none of its 1 different sentences gets a label.*chexpert14-zh"):
        texts_of(tmp_path, chinese)
    made = texts_of(tmp_path, chinese, labelling=Labelling(vocabulary="chexpert14-zh"))
    assert (made.sentences["Pleural Effusion"] == 1).any()
    assert "zh" in made.manifest["labeler"]
