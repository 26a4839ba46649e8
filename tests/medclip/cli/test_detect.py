from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medclip.cli import detect
from medclip.inference.classifier import ZeroShotClassifier
from medclip.sources.phantom.radiograph import draw_radiograph
from tests.fixtures import runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert runs.train(folder / "run", projection_dim=8, steps=2) == 0
    film = Image.fromarray(draw_radiograph(0, 17, size=96)).resize((300, 200))
    film.save(folder / "film.png")
    (folder / "broken.png").write_bytes(b"no film")
    return folder


def ask(folder: Path, *more: str, film: str = "film.png") -> int:
    return detect.run([str(folder / "run"), str(folder / film), "--device", "cpu", *more])


def test_boxes_are_in_pixels_of_the_film(folder, capsys, monkeypatch) -> None:
    """A map that is high where a box of the film is, on the square that the film is fitted to."""
    x, y, width, height = 60, 50, 90, 70

    def locate(self, images, names=(), *, kind):
        assert [image.shape for image in images] == [(200, 300)]
        square = np.zeros((300, 300), np.float32)
        square[50 + y : 50 + y + height, x : x + width] = 1
        square[:40] = 9  # in the padding, where nothing is
        return np.zeros((1, 8), np.float32), np.stack([np.stack([square] * len(self.observations))])

    monkeypatch.setattr(ZeroShotClassifier, "locate", locate)
    assert ask(folder, "--phrases", "a white box", "--format", "json") == 0
    [box] = json.loads(capsys.readouterr().out)
    assert (box["observation"], box["score"]) == ("a white box", pytest.approx(1, abs=0.02))
    assert [box[name] for name in ("x", "y", "width", "height")] == pytest.approx([x, y, width, height], abs=1.5)


def test_a_file_of_boxes_and_pictures(folder, capsys) -> None:
    output, pictures = folder / "boxes.csv", folder / "pictures"
    asked = ("--observations", "Cardiomegaly,Pleural Effusion", "--prompts", "chexpert14", "--phrases", "left effusion")
    assert ask(folder, *asked, "--least-score", "0", "--output", str(output), "--pictures", str(pictures)) == 0
    table = pd.read_csv(output)
    assert list(table.columns) == ["path", "observation", "x", "y", "width", "height", "score"]
    assert set(table["observation"]) == {"Cardiomegaly", "Pleural Effusion", "left effusion"}
    assert ((table["x"] >= 0) & (table["x"] + table["width"] <= 300.01)).all()
    assert ((table["y"] >= 0) & (table["y"] + table["height"] <= 200.01)).all()
    assert table["score"].is_monotonic_decreasing
    with Image.open(pictures / "film-boxes.png") as drawn:
        assert drawn.width / drawn.height == pytest.approx(1.5, abs=0.02)
    assert "boxes in 1 images" in capsys.readouterr().out


def test_each_word_has_a_place(folder, capsys) -> None:
    pictures = folder / "words"
    for maps in ("evidence", "patches"):
        asked = (
            "--words",
            "There is a large effusion.",
            "--maps",
            maps,
            "--format",
            "json",
            "--pictures",
            str(pictures),
        )
        assert ask(folder, *asked) == 0
        rows = json.loads(capsys.readouterr().out)
        assert [row["word"] for row in rows] == ["There", "is", "a", "large", "effusion"]
        assert all(0 <= row["x"] <= 300 and 0 <= row["y"] <= 200 for row in rows)
    assert (pictures / "film-words.png").is_file()


def test_the_number_of_boxes_is_bounded(folder, capsys) -> None:
    assert ask(folder, "--phrases", "hazy", "--least-score", "0", "--most", "1", "--format", "json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


def test_what_cannot_be_read_does_not_stop_the_rest(folder, capsys) -> None:
    assert ask(folder, str(folder / "broken.png"), "--format", "json", "--phrases", "hazy") == 1
    captured = capsys.readouterr()
    assert "broken.png: not readable as an image" in captured.err
    assert {row["path"] for row in json.loads(captured.out)} == {str(folder / "film.png"), str(folder / "broken.png")}


@pytest.mark.parametrize(
    ("more", "message"),
    [(("--observations", "Cardiomegalie"), r"no prompts for Cardiomegalie\. Did you mean"),
     (("--words", "hazy", "--phrases", "hazy"), "--words is about the words of one sentence"),
     (("--words", "..."), "there is no word in it"),
     (("--same", "2"), "--same 2.*between 0 and 1"),
     (("--output", "boxes.txt"), "boxes are written to .csv or .json")],
)  # fmt: skip
def test_what_cannot_be_asked_is_told(folder, more: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ask(folder, *more)
    with pytest.raises(ValueError, match="Which model, which images"):
        detect.run([])


def test_where_no_file_can_be_read_that_is_said(folder, capsys) -> None:
    assert detect.run([str(folder / "run"), str(folder / "broken.png"), "--phrases", "hazy"]) == 1
    assert "None of the files can be read." in capsys.readouterr().out
