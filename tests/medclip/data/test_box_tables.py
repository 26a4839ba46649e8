"""Boxes of a table of a user's own, by the names that people give to columns."""

from __future__ import annotations

import pandas as pd
import pytest

from medclip.data.box_tables import holds_boxes, of_images, positive_where_boxed, read_boxes

FORMS = {
    "corner and size": {"x": "10", "y": "20", "width": "30", "height": "40"},
    "two corners": {"x1": "10", "y1": "20", "x2": "40", "y2": "60"},
    "VinDr's names": {"x_min": "10", "y_min": "20", "x_max": "40", "y_max": "60"},
    "sides, in capitals": {"Left": "10", "Top": "20", "Right": "40", "Bottom": "60"},
    "short": {"X": "10,0", "Y": "20.0", "w": "30", "h": "40"},
    "with the size of the film": {
        "xmin": "10",
        "ymin": "20",
        "xmax": "40",
        "ymax": "60",
        "width": "999",
        "height": "9",
    },
}


def boxes(*rows: dict[str, str | None]) -> pd.DataFrame:
    return pd.DataFrame([{"image_id": "a.png", "observation": "Edema", **row} for row in rows])


@pytest.mark.parametrize("columns", FORMS.values(), ids=FORMS.keys())
def test_places_are_read_in_every_form(columns: dict[str, str]) -> None:
    found = read_boxes(boxes(columns), origin="x")
    assert found[["x", "y", "width", "height"]].to_numpy().tolist() == [[10, 20, 30, 40]]


@pytest.mark.parametrize(
    ("column", "value", "observation", "phrase"),
    [
        ("observation", "pleural effusion", "Pleural Effusion", ""),
        ("Finding Label", "Effusion", "Pleural Effusion", ""),
        ("class_name", "Clip", "Clip", ""),
        ("phrase", "small left effusion", "", "small left effusion"),
        ("label_text", "an opacity", "", "an opacity"),
    ],
)
def test_what_a_box_is_around(column: str, value: str, observation: str, phrase: str) -> None:
    table = boxes(FORMS["two corners"]).drop(columns="observation").assign(**{column: value})
    assert holds_boxes(list(table.columns))
    assert read_boxes(table, origin="x")[["observation", "phrase"]].to_numpy().tolist() == [[observation, phrase]]


def test_rows_without_a_place_are_images_without_a_box(caplog) -> None:
    none, part = dict.fromkeys(FORMS["short"]), FORMS["short"] | {"h": None}
    assert len(read_boxes(boxes(FORMS["short"], none, part), origin="x")) == 1
    assert "x: 1 row (2) is left out, with a part of the box blank" in caplog.text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"x1": "1", "y1": "1", "x2": "9"}],
            "expected columns x, y, width, height or x1, y1, x2, y2.*Found: image_id",
        ),
        ([FORMS["two corners"] | {"x2": "wide"}], "column 'x2': 'wide' in row 0 is no number"),
        ([FORMS["two corners"] | {"x2": "5"}], "1 boxes have no area, the first in row 0"),
        ([{"x1": ".1", "y1": "0.2", "x2": "0.4", "y2": "1.0"}], "shares of the image; expected pixels"),
        (
            [FORMS["two corners"] | {"observation": ""}],
            r"1 row \(0\) has a box, but neither an observation nor a phrase",
        ),
    ],
)
def test_what_is_no_box_is_refused(rows: list[dict[str, str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_boxes(boxes(*rows), origin="x")


def test_a_table_of_films_is_none_of_boxes() -> None:
    assert not holds_boxes(["path", "width", "height", "label"])
    assert not holds_boxes(["path", "x", "y", "width", "height"])


def test_boxes_find_their_images(tmp_path) -> None:
    films = pd.DataFrame({"image_id": ["0012", "7"], "path": ["a.png", "b.png"]})
    place = {"path": tmp_path / "boxes.csv", "images": "films.csv"}
    by_path = of_images(pd.DataFrame({"Path": ["b.png", "a.png", "c.png"], "x": "1"}), films, **place)
    assert by_path["image_id"].tolist() == ["7", "0012"]
    assert of_images(pd.DataFrame({"image id": ["0012"]}), films, **place)["image_id"].tolist() == ["0012"]
    with pytest.raises(ValueError, match=r"none of the 1 rows has its path in films\.csv"):
        of_images(pd.DataFrame({"path": ["d.png"]}), films, **place)
    with pytest.raises(ValueError, match=r"does not say which image a box is in\. Expected a column image_id or path"):
        of_images(pd.DataFrame({"file": ["a.png"]}), films, **place)


def test_what_is_boxed_is_positive() -> None:
    films = pd.DataFrame({"path": ["a.png", "b.png"]})
    found = positive_where_boxed(films, read_boxes(boxes(FORMS["short"]), origin="x"))
    assert found["Edema"].fillna("").tolist() == ["1", ""]
    assert positive_where_boxed(films, None).columns.tolist() == ["path"]
