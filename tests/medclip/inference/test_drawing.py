from __future__ import annotations

import io

import numpy as np
from PIL import Image

from medclip.inference.drawing import contact_sheet, with_bar, with_text
from medclip.inference.heatmap import overlay


def test_a_bar_beside_a_heatmap_has_its_colours() -> None:
    film = np.full((200, 160), 90, np.uint8)
    heat = np.linspace(-0.2, 0.6, film.size).reshape(film.shape)
    picture = overlay(film, heat)
    drawn = with_bar(picture, heat)
    assert drawn.shape[0] == 200
    np.testing.assert_array_equal(drawn[:, :160], picture)
    bar = drawn[:, 168].astype(int).sum(axis=1)
    assert bar[0] > bar[60] > bar[99]  # the highest at the top
    assert bar[150] == 0  # what is left clear in the picture is black here
    assert drawn[:20, 180:].max() > 200  # the highest value, written


def test_text_stands_below() -> None:
    drawn = with_text(np.zeros((50, 200, 3), np.uint8), ["Edema: score 0.71"])
    assert not drawn[:50].any()
    assert drawn[50:].max() > 200


def test_a_small_picture_is_widened_for_its_text() -> None:
    film = np.full((50, 40, 3), 90, np.uint8)
    drawn = with_text(film, ["Enlarged Cardiomediastinum: score 0.71"])
    np.testing.assert_array_equal(drawn[:50, :40], film)
    assert drawn.shape[1] > 200
    assert not drawn[:, -2:].any()  # no letter is cut


def test_a_contact_sheet_has_a_place_for_each_film() -> None:
    films = [np.full((40, 30), 200, np.uint8), None, np.full((30, 40), 100, np.uint8)]
    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet(films, side=60, across=2))))
    assert sheet.shape == (132, 132)
    assert (sheet == 200).sum() > 900
    assert not (sheet[:66, 66:] == 200).any()
    assert (sheet[66:, :66] == 100).any()
