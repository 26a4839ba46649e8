"""The sources with boxes, outlines or readings that came later; each on a tiny copy of its official layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from labelers.observations import CHEXPERT14
from medclip.utils.plugins import load_plugin
from tests.fixtures import layouts
from tests.fixtures.layouts_new import pack_coco


def images_of(name: str, folder: Path, **options: object) -> pd.DataFrame:
    source = layouts.source_of(name, folder)
    return load_plugin("sources", source.name)(source.root, **options).images().set_index("image_id")


def test_chexlocalize_has_cheXperts_ids_and_official_sets(tmp_path: Path) -> None:
    source = layouts.source_of("chexlocalize", tmp_path)
    table, boxes = source.images(), source.boxes()
    assert table["split"].tolist() == ["valid"] * 3 + ["test"] * 3
    assert table["image_id"][0] == "valid/patient64541/study1/view1_frontal.jpg"
    assert table["patient_id"][3] == "patient64741"
    assert (table["Cardiomegaly"] == 1).all()
    assert (table["Lung Opacity"] == 0).all()
    assert boxes["observation"].tolist() == ["Cardiomegaly"] * 6  # an empty mask is no box
    assert boxes.iloc[0, 2:].tolist() == [10, 5, 10 + 64541 % 3, 10]


@pytest.mark.parametrize("seed", range(5))
def test_masks_are_unpacked_as_cocos(seed: int) -> None:
    from medclip.sources.chexlocalize import decode_coco

    mask = np.random.default_rng(seed).random((50, 37)) < [0.5, 0.01, 0.99, 0.2, 0.0][seed]
    assert (decode_coco([50, 37], pack_coco(mask)) == mask).all()
    with pytest.raises(ValueError, match="fill"):
        decode_coco([51, 37], pack_coco(mask))


def test_masks_of_a_known_string() -> None:
    """The runs 6, 1, 40, 4, 5, 4, 5, 4, 21 of a 9 x 10 mask, as the COCO tools write them."""
    from medclip.sources.chexlocalize import decode_coco

    mask = decode_coco([9, 10], "61X13mN000`0")
    assert mask.T.ravel().nonzero()[0].tolist() == [6, *range(47, 51), *range(56, 60), *range(65, 69)]


def test_chestx_det10_has_nihs_ids(tmp_path: Path) -> None:
    source = layouts.source_of("chestx-det10", tmp_path)
    table = source.images().set_index("image_id")
    assert source.population == "nih"
    assert table["patient_id"].tolist() == ["1", "2", "3", "9", "10", "11"]
    assert table["split"].fillna("").tolist() == [""] * 3 + ["test"] * 3
    assert table.loc["00000003_000.png", ["Pleural Effusion", "Lung Lesion"]].tolist() == [1, 0]
    assert table.loc["00000002_002.png", ["Pleural Effusion", "Lung Lesion", "Emphysema"]].tolist() == [0, 0, 0]
    assert len(source.boxes()) == 6
    assert source.boxes().iloc[0].tolist() == ["00000001_001.png", "Lung Lesion", 4, 6, 10, 20]


def test_brax_takes_frontal_images_and_groups_of_ages(tmp_path: Path) -> None:
    table = images_of("brax", tmp_path)
    assert len(table) == 4
    assert table["age"].tolist() == [40, 85, 85, 85]
    assert table["study_id"].tolist() == ["000", "001", "002", "003"]
    assert table.iloc[0][sorted(CHEXPERT14)[:3]].tolist() == [1, 0, -1]
    assert len(images_of("brax", tmp_path / "b", views="all")) == 8


def test_vindr_pcxr_has_one_reader(tmp_path: Path) -> None:
    source = layouts.source_of("vindr-pcxr", tmp_path)
    table = source.images()
    assert table["split"].tolist() == [None] * 3 + ["test"] * 3
    assert table["Pneumonia"].tolist() == [1, 0, 0] * 2
    assert table["No Finding"].tolist() == [0, 0, 1] * 2
    assert source.boxes().iloc[0, 1:].tolist() == ["Lung Opacity", 1.5, 2, 10, 10]


def test_padchest_gr_has_padchests_ids_boxes_in_pixels_and_two_languages(tmp_path: Path) -> None:
    source = layouts.source_of("padchest-gr", tmp_path)
    table = source.images()
    assert table["split"].tolist() == ["train", "train", "valid", "test"]
    assert table["No Finding"].tolist() == [1, 0, 1, 0]
    assert table["Cardiomegaly"].tolist() == [0, 1, 0, 1]
    assert source.boxes().iloc[0, 1:].tolist() == ["Cardiomegaly", 8, 20, 16, 20]
    assert source.texts()["text"][1] == "Cardiomegaly. No pleural effusion."
    spanish = load_plugin("sources", "padchest-gr")(source.root, language="es").texts()
    assert spanish["text"][1] == "Cardiomegalia. Sin derrame pleural."
    assert source.population == load_plugin("sources", "padchest").population


def test_padchest_offers_its_spanish_reports(tmp_path: Path) -> None:
    texts = layouts.source_of("padchest", tmp_path).texts()
    assert len(texts) == 8
    assert texts["text"][0] == "sin hallazg patolog ."


def test_rexgradient_has_official_splits_and_sections(tmp_path: Path) -> None:
    source = layouts.source_of("rexgradient", tmp_path)
    table, texts = source.images(), source.texts()
    assert table["split"].tolist() == ["train"] * 2 + ["valid"] * 2 + ["test"] * 2
    assert set(table["view"]) == {"PA"}
    assert set(table["age"]) == {58}
    assert texts["text"][0] == ("INDICATION: Cough\n\nFINDINGS: Small left pleural effusion.\n\nIMPRESSION: Effusion.")
    assert set(texts["study_id"]) == set(table["study_id"])
    assert len(images_of("rexgradient", tmp_path / "b", views="all")) == 12


def test_shenzhen_reads_readings(tmp_path: Path) -> None:
    source = layouts.source_of("shenzhen", tmp_path)
    table = source.images()
    assert table["Tuberculosis"].tolist() == [0, 0, 1, 1]
    assert table["No Finding"].tolist() == [1, 1, 0, 0]
    assert table["sex"].tolist()[:3] == ["M", "F", "F"]
    assert table["age"].round(2).tolist()[:3] == pytest.approx([45, 28, 1.33])
    assert source.texts()["text"].tolist() == ["normal", "normal", "PTB in the right upper field"]


def test_montgomery_reads_readings(tmp_path: Path) -> None:
    source = layouts.source_of("montgomery", tmp_path)
    table = source.images()
    assert (table["sex"].tolist(), table["age"].tolist()) == (["F", "M"], [27, 54])
    assert source.texts()["text"].tolist() == ["normal", "cavity in the left lung"]


def test_covid_chestxray_leaves_open_what_is_open(tmp_path: Path) -> None:
    table = images_of("covid-chestxray", tmp_path)
    assert table.index.tolist() == [f"case-{i}.png" for i in range(5)]
    assert table["COVID-19"].fillna(9).tolist() == [1, 9, 0, 0, 9]
    assert table["Pneumonia"].fillna(9).tolist() == [1, 1, 0, 0, 9]
    assert table["view"].tolist() == ["PA", "AP", "AP", "PA", "AP"]
    assert len(images_of("covid-chestxray", tmp_path / "b", views="all")) == 6


@pytest.mark.parametrize("name", ["brax", "covid-chestxray", "rexgradient", "openi"])
def test_unknown_views_name_the_known(name: str) -> None:
    with pytest.raises(ValueError, match="views must be 'frontal' or 'all'"):
        load_plugin("sources", name)("nowhere", views="x")
