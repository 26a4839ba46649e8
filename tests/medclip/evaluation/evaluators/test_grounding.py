from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import medclip
from medclip.data.boxes import prepare_boxes
from medclip.data.cache import PixelCache
from medclip.data.preparation import Preparation
from medclip.data.prepare_images import prepare_images
from medclip.data.source import Source
from medclip.evaluation.box_metrics import box_scores, mean_overlap
from medclip.evaluation.evaluators import grounding
from medclip.evaluation.evaluators.grounding import Grounding
from tests.fixtures.layouts import source_of


def test_box_scores_by_hand() -> None:
    heat = np.array([[0.0, 0.2, 0.0], [0.1, 0.9, 0.6], [0.0, 0.0, 5.0]])
    inside, seen = np.zeros((3, 3), bool), np.ones((3, 3), bool)
    inside[1, 1:] = True
    seen[2] = False  # padding, and what shines there does not count
    found = box_scores(heat, inside, seen)
    within, without = np.array([0.9, 0.6]), np.array([0.0, 0.2, 0.0, 0.1])
    assert found["pointing"] == 1
    assert found["cnr"] == pytest.approx((within.mean() - without.mean()) / np.sqrt(within.var() + without.var()))
    assert found["iou"] == found["dice"] == 1
    assert mean_overlap(heat, inside, seen) == pytest.approx(np.mean([2 / 4, 2 / 3, 1, 1, 1]))


def test_a_map_that_looks_away_is_told_so() -> None:
    heat = np.zeros((4, 4))
    heat[0, 0] = 1
    inside = np.zeros((4, 4), bool)
    inside[2:, 2:] = True
    seen = np.ones((4, 4), bool)
    found = box_scores(heat, inside, seen)
    assert found["pointing"] == 0
    assert found["cnr"] < 0
    assert mean_overlap(heat, inside, seen) == 0


def test_overlaps_of_half_a_hit_by_hand() -> None:
    heat = np.array([[3.0, 2.0, 0.0, 0.0]])  # the two highest pixels, of which one is in the box of two
    found = box_scores(heat, np.array([[False, True, True, False]]), np.ones((1, 4), bool))
    assert found["iou"] == pytest.approx(1 / 3)
    assert found["dice"] == pytest.approx(1 / 2)


def test_grounding_of_maps_that_know_the_boxes(data, model, monkeypatch) -> None:
    evaluator = Grounding(data, resamples=50, examples=3)
    boxed = data.boxes[data.boxes["image_id"].isin(data.rows()["image_id"])]
    images, names = sorted(boxed["image_id"].unique()), sorted(boxed["observation"].unique())
    maps = np.zeros((len(images), len(names), 32, 32), dtype=np.float32)
    for i, image in enumerate(images):
        for box in data.boxes[data.boxes["image_id"] == image].itertuples():
            top, left = round(box.top * 32), round(box.left * 32)
            maps[
                i, names.index(box.observation), top : top + round(box.height * 32), left : left + round(box.width * 32)
            ] = 1
    left = iter(maps)

    def known(model, pixels, positive, negative, *, kind):
        yield None, np.stack([next(left) for _ in next(iter(pixels))])

    with monkeypatch.context() as patch:
        patch.setattr(grounding, "text_maps", known)
        knowing = evaluator(*model)
    assert knowing.numbers["grounding/pointing"] > 0.99
    assert knowing.numbers["grounding/iou"] > 0.75
    assert knowing.numbers["grounding/pointing/of_others"] < 0.7
    assert knowing.numbers["grounding/pointing/low"] <= knowing.numbers["grounding/pointing"]
    assert set(knowing.figures) == {"grounding"}
    assert knowing.numbers["grounding/pointing/large"] > 0.99
    assert 0.5 < knowing.numbers["grounding/pointing/large/usual_place"] < 1  # large findings lie where they do
    untrained = Grounding(data, resamples=0)(*model)
    assert untrained.numbers["grounding/pointing"] < 0.6
    assert not untrained.figures
    assert "grounding/miou" not in untrained.numbers
    assert "grounding/miou" in Grounding(data, resamples=0, maps="patches")(*model).numbers


def test_a_box_with_a_phrase_is_asked_about_by_it(data, model, monkeypatch) -> None:
    reported = data.boxes["image_id"].isin(data.rows()["image_id"])
    boxes = data.boxes[reported].assign(phrase="").reset_index(drop=True)
    boxes.loc[0, ["phrase", "observation"]] = ["a small left effusion", ""]
    boxes.loc[1, "phrase"] = "hazy"
    asked: list[tuple[str, ...]] = []
    directions = grounding.prompt_directions
    monkeypatch.setattr(
        grounding, "prompt_directions", lambda m, p, texts: asked.append(texts) or directions(m, p, texts)
    )
    found = Grounding(dataclasses.replace(data, boxes=boxes), resamples=0)(*model)
    assert asked[0][-2:] == [("a small left effusion",), ("hazy",)]
    assert asked[1][-2:] == [(), ()]
    assert "grounding/pointing/phrases" in found.numbers
    assert "a small left effusion" not in str(found.tables) + str(found.metrics)  # a phrase is a part of a report


HOSPITAL = """Datei;PatNr;Ödem;split
1.png;0012;1;test
2.png;0013;1;test
3.png;0014;0;train
"""
BOXES = """Datei;x1;y1;x2;y2;observation;phrase
1.png;10;20;40;60;Edema;
2.png;0;0;50;50;;Verschattung links
4.png;0;0;50;50;Edema;
"""


def test_from_a_table_of_boxes_to_metrics(tmp_path: Path, model, caplog) -> None:
    for i in (1, 2, 3):
        grey = np.random.default_rng(i).integers(0, 255, (100, 100), dtype=np.uint8)
        Image.fromarray(grey).save(tmp_path / f"{i}.png")
    (tmp_path / "films.csv").write_text(HOSPITAL)
    (tmp_path / "boxes.csv").write_text(BOXES)
    for part in model:
        part.save_pretrained(tmp_path / "model")
    options = {"columns": {"path": "Datei", "patient_id": "PatNr"}, "labels": ["Ödem"], "boxes": "boxes.csv"}
    results, folder = medclip.evaluate(
        medclip.EvaluateConfig(
            model=str(tmp_path / "model"),
            on=f"csv={tmp_path / 'films.csv'}",
            source_options={"csv": options},
            evaluators="grounding",
            resamples=0,
            prepared=str(tmp_path / "p"),
            output=str(tmp_path / "out"),
        )
    )
    found = results.metrics()
    assert found["grounding/boxed"].value == 2
    assert found["grounding/pointing/by_chance"].value == pytest.approx((0.12 + 0.25) / 2, abs=0.005)
    assert {"grounding/pointing/Edema", "grounding/pointing/phrases"} <= found.keys()
    assert "csv: boxes.csv: 1 of 3 rows have no path in films.csv" in caplog.text
    assert "Verschattung" not in "".join(path.read_text(errors="ignore") for path in folder.glob("*.*"))


def test_grounding_needs_boxes(data) -> None:
    with pytest.raises(ValueError, match=r"Sources that can have them: .*csv.*nih.*\{csv: \{boxes: boxes\.csv\}\}"):
        Grounding(dataclasses.replace(data, boxes=None))
    with pytest.raises(ValueError, match="No image of the train split has a box"):
        Grounding(dataclasses.replace(data, split="train"))


def test_boxes_land_on_the_square_where_their_pixels_do(tmp_path) -> None:
    """A bright rectangle in a wide and in a tall film, looked up again in the cached squares."""

    class Films(Source):
        name = "films"

        def images(self) -> pd.DataFrame:
            rows = []
            for name, (width, height) in {"wide": (300, 200), "tall": (120, 240)}.items():
                pixels = np.full((height, width), 40, np.uint8)
                pixels[60:90, 30:80] = 250
                Image.fromarray(pixels).save(tmp_path / f"{name}.png")
                rows.append(
                    {"image_id": name, "study_id": name, "patient_id": name, "path": str(tmp_path / f"{name}.png")}
                )
            return pd.DataFrame(rows).assign(split="test", view="frontal", Edema=1.0)

        def boxes(self) -> pd.DataFrame:
            box = {"observation": "Edema", "x": 30, "y": 60, "width": 50, "height": 30}
            return pd.DataFrame([{"image_id": name, **box} for name in ("wide", "tall")])

    prepared = prepare_images(Films(tmp_path), Preparation(tmp_path / "prepared", size=120))
    cache = PixelCache(tmp_path / "prepared" / "cache", 120)
    boxes = prepare_boxes(Films(tmp_path), prepared.images).set_index("image_id")
    for row in prepared.images.itertuples():
        bright = np.argwhere(cache.get([prepared.images.loc[row.Index, "_key"]])[0] > 150)
        box = boxes.loc[row.image_id]
        found = np.array([box["top"], box["left"], box["top"] + box["height"], box["left"] + box["width"]]) * 120
        np.testing.assert_allclose(found, [*bright.min(axis=0), *(bright.max(axis=0) + 1)], atol=1.01)


@pytest.mark.parametrize("name", ["nih", "rsna", "siim", "vindr"])
def test_boxes_of_every_source_lie_within_their_images(tmp_path: Path, caplog, name: str) -> None:
    source = source_of(name, tmp_path / "data")
    images = prepare_images(source, Preparation(tmp_path / "prepared", size=32)).images
    boxes = prepare_boxes(source, images)
    assert len(boxes) or "reach out of their image" in caplog.text  # the layouts' films are smaller than real ones
    right, bottom = boxes["left"] + boxes["width"], boxes["top"] + boxes["height"]
    assert (boxes[["left", "top"]].to_numpy() >= 0).all()
    assert (right <= boxes["image_left"] + boxes["image_width"] + 0.05).all()
    assert (bottom <= boxes["image_top"] + boxes["image_height"] + 0.05).all()
