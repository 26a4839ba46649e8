from __future__ import annotations

import json
import zipfile

import pandas as pd
import pytest

from medclip.data.report_files import read_reports

ROWS = [
    {"study_id": "a", "findings": "One.", "impression": "Two."},
    {"study_id": "b", "findings": "", "impression": "Three."},
]


@pytest.fixture
def places(tmp_path):
    pd.DataFrame(ROWS).to_csv(tmp_path / "r.csv", index=False)
    pd.DataFrame(ROWS).to_parquet(tmp_path / "r.parquet")
    (tmp_path / "r.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    return tmp_path


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_tables(places, kind: str) -> None:
    assert list(read_reports(str(places / f"r.{kind}")).stream) == [("a", "One.\n\nTwo."), ("b", "Three.")]
    named = read_reports(str(places / f"r.{kind}"), id_column="impression", text_columns=["findings"])
    assert list(named.stream) == [("Two.", "One."), ("Three.", "")]


def test_a_folder_and_a_zip_give_the_same(tmp_path) -> None:
    (tmp_path / "in" / "p1").mkdir(parents=True)
    for name in ("s2", "s1"):
        (tmp_path / "in" / "p1" / f"{name}.txt").write_text(name * 2)
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in (tmp_path / "in" / "p1").iterdir():
            archive.write(path, f"files/p1/{path.name}")
    for place in ("in", "in.zip"):
        reports = read_reports(str(tmp_path / place))
        assert reports.total == 2
        assert list(reports.stream) == [("s1", "s1s1"), ("s2", "s2s2")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.jsonl", b'{"text": "a"}\n{"text"', "line 2: no JSON"),
        ("latin.csv", "text\n\u00e9t\u00e9\n".encode("latin-1"), "not UTF-8"),
        ("none.csv", b"a,b\n1,2\n", "which column holds the text"),
        ("torn.csv", b'text\n"a\n', "no well-formed CSV"),
    ],
)
def test_broken_files_say_where(tmp_path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read_reports(str(tmp_path / name)).stream)
