from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medclip.data.cache import PixelCache
from medclip.data.prepare import Prepared, prepare_images, prepare_sentences
from medclip.data.source import Source
from medclip.utils.plugins import load_plugin
from tests.fixtures.layouts import LAYOUTS


def source(name: str, folder: Path) -> Source:
    if name == "phantom":
        return load_plugin("sources", "phantom")(studies=40, size=32)
    return load_plugin("sources", name)(LAYOUTS[name].write(folder / name))


def images(made: Source, folder: Path, **options: object) -> Prepared:
    return prepare_images(made, folder=folder, size=16, split_seed=0, **options)


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
    made = prepare_sentences(source("openi", tmp_path), folder=tmp_path / "p", split_seed=0)
    assert not made.sentences.duplicated(["split", "text"]).any()
    assert made.manifest["without_text"] == 1
    assert len(made.occurrences) == made.sentences["count"].sum()
    told = made.sentences.set_index("text")["Cardiomegaly"]
    assert (told[["The heart is enlarged."]] == 1).all()
    joined = made.sentences["text"].iloc[made.occurrences["sentence"]].tolist()
    assert "Pneumonia?" not in joined


def test_preparing_again_gives_the_same_and_reads_it_back(tmp_path) -> None:
    made = source("phantom", tmp_path)
    first = prepare_sentences(made, folder=tmp_path / "p", split_seed=0)
    again = prepare_sentences(made, folder=tmp_path / "p", split_seed=0)
    assert first.sentences.equals(again.sentences)
    assert images(made, tmp_path / "p").images.equals(images(made, tmp_path / "p").images)
    assert len(list((tmp_path / "p").glob("phantom-*"))) == 2


def test_mimic_reports_give_findings_and_impression_only(tmp_path) -> None:
    made = prepare_sentences(source("mimic-reports", tmp_path), folder=tmp_path / "p", split_seed=0)
    texts = set(made.sentences["text"])
    assert "Cardiomegaly." in texts
    assert any(text.endswith("Moderate pulmonary edema.") for text in texts)
    assert "There is no pleural effusion or pneumothorax." in texts
    assert not any("with pneumonia" in text or "FINAL" in text for text in texts)


@pytest.mark.parametrize(("name", "prepare"), [("mimic-reports", prepare_images), ("csv", prepare_sentences)])
def test_the_wrong_side_is_refused(tmp_path, name: str, prepare: object) -> None:
    options = {"size": 16} if prepare is prepare_images else {}
    with pytest.raises(ValueError, match=r"has no (images|texts) here. It can serve as --(images|texts) only"):
        prepare(source(name, tmp_path), folder=tmp_path / "p", split_seed=0, **options)
