from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from medclip.data.severity import read_severity


def images(folder: Path) -> pd.DataFrame:
    return pd.DataFrame(
        {"image_id": ["csv/a", "csv/b/1"], "path": [str(folder / "x" / "a.png"), str(folder / "b.png")]}
    )


def table(folder: Path, text: str) -> Path:
    (folder / "scores.csv").write_text(text)
    return folder / "scores.csv"


@pytest.mark.parametrize(
    "text",
    [
        "image_id,one,other\na,3,4\nb/1,,2\nelsewhere,9,9\n",
        "image_id,one,other\ncsv/a,3,4\ncsv/b/1,,2\n",
        "path,one,other\nx/a.png,3,4\n./b.png,,2\nx/../c.png,9,9\n",
    ],
)
def test_scores_by_id_or_by_file(tmp_path, text: str) -> None:
    found = read_severity(table(tmp_path, text), ["one", "other"], images(tmp_path))
    assert found["image_id"].tolist() == ["csv/a", "csv/b/1"]
    assert found["other"].tolist() == [4, 2]
    assert found["one"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "readers", "message"),
    [
        ("image_id,one\na,3\n", [], "name its columns of scores with --severity-readers"),
        ("image_id,reader\na,3\n", ["raeder"], r"no column 'raeder'. Did you mean 'reader'"),
        ("name,one\na,3\n", ["one"], "needs a column image_id or path; found name, one"),
        ("image_id,one\nz,3\n", ["one"], "none of its 1 rows is one of the 2 images"),
        ("image_id,one\na,3\na,4\n", ["one"], "1 images are scored twice"),
        ("image_id,one\na,severe\n", ["one"], "'severe' in row 2 is no number"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text: str, readers: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_severity(table(tmp_path, text), readers, images(tmp_path))


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"--severity .*none\.csv: there is no such file"):
        read_severity(tmp_path / "none.csv", ["one"], images(tmp_path))
