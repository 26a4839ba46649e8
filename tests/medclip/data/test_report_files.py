from __future__ import annotations

import gzip
import io
import json
import zipfile

import pandas as pd
import pytest

from labelers.errors import UserError
from medclip.data import text_files
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
        ("torn.csv", b'text\n"a\n', "never closed"),
    ],
)
def test_broken_files_say_where(tmp_path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read_reports(str(tmp_path / name)).stream)


REPORT = "FINDINGS\r\nNo effusion\r\n\r\nRight pneumothorax\r\n"
PLAIN = REPORT.replace("\r\n", "\n")


def _as_json(text: str) -> bytes:
    return json.dumps({"id": "a", "report": text}).encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", REPORT.encode()),
        ("a.TXT", REPORT.encode("utf-8-sig")),
        ("a.txt", REPORT.encode("utf-16")),
        ("a.txt", REPORT.encode("utf-16-le")),
        ("t.csv", f'id,report\r\na,"{REPORT}"\r\n'.encode()),
        ("t.CSV", f'id,report,\r\na,"{REPORT}",\r\n'.encode("utf-16")),
        ("t.csv.gz", gzip.compress(f'id;report\na;"{REPORT}"\n'.encode(), mtime=0)),
        ("t.tsv", f'id\treport\na\t"{REPORT}"\n'.encode("utf-8-sig")),
        ("t.jsonl", _as_json(REPORT) + b"\n\n"),
        ("t.jsonl.gz", gzip.compress(_as_json(REPORT), mtime=0)),
        ("t.ndjson", _as_json(REPORT)),
        ("t.json", b"[" + _as_json(REPORT) + b"]"),
        ("t.json", json.dumps({"a": REPORT}).encode()),
        ("t.json", json.dumps({"a": {"report": REPORT}}).encode("utf-8-sig")),
        ("t.json", _as_json(REPORT) + b"\n"),
    ],
)
def test_a_report_is_the_same_in_every_file(tmp_path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    found = list(read_reports(str(tmp_path / name)).stream)
    assert [(i, text.replace("\r\n", "\n")) for i, text in found] == [("a", PLAIN)]


def test_json_lines_in_a_json_file(tmp_path) -> None:
    (tmp_path / "t.json").write_text('{"id": "a", "text": "One."}\n{"id": "b", "text": null}\n')
    assert list(read_reports(str(tmp_path / "t.json")).stream) == [("a", "One."), ("b", "")]


def test_files_of_one_name_are_named_by_path(tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for name in ("p1/report.txt", "p2/report.txt", "p2/other.TXT", "__MACOSX/p2/._report.txt"):
            archive.writestr(name, "No effusion.")
    assert [name for name, _ in read_reports(str(tmp_path / "in.zip")).stream] == ["p1/report", "other", "p2/report"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"%PDF-1.7\n", "is a PDF; expected plain text"),
        ("a.txt", b"{\\rtf1 No effusion.}", "is RTF"),
        ("a.txt", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x01\x02", "is binary"),
        ("a.txt", "\u53cc\u80ba\u7eb9\u7406\u6e05\u6670\u3002".encode("gb18030"), "neither UTF-8 nor UTF-16 nor Latin"),
        ("t.csv", b"id,report\na,No effusion, or edema.\n", "row 2 has more cells than the header"),
        ("t.csv", b'id,report\na,"One.\n\nTwo."\nb,c,d\n', "row 3 has more cells"),
        ("t.json", b"[1, 2]", "expected a list of objects"),
        ("t.json", b'[{"id": 1},\n{', "line 2: no JSON"),
        ("t.jsonl", b'{"text": "a"}\n["b"]\n', "line 2: found list; expected an object"),
        ("t.jsonl", b'{"text": ["a", "b"]}\n', "'text' holds lists or objects"),
        ("t.parquet", b"PAR1", "no Parquet file"),
        ("t.zip", b"PK\x03\x04 cut off", "cut off or no .zip"),
        ("t.csv.gz", gzip.compress(b"id,report\na,One.\n" * 50, mtime=0)[:40], "cut off or damaged"),
        ("t.docx", b"PK\x03\x04", "is no .csv, .tsv"),
    ],
)
def test_what_cannot_be_read_is_refused_without_its_text(tmp_path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        list(read_reports(str(tmp_path / name)).stream)
    assert "effusion" not in str(caught.value)


def test_texts_that_are_no_utf8_are_said(tmp_path, caplog) -> None:
    for name, encoding in (("a", "utf-8"), ("b", "cp1252"), ("c", "cp1252")):
        (tmp_path / f"{name}.txt").write_bytes("Herz vergrößert.".encode(encoding))
    assert {text for _, text in read_reports(str(tmp_path)).stream} == {"Herz vergrößert."}
    assert "2 of 3 files of text are not UTF-8 and were taken as cp1252" in caplog.text
    assert "Herz" not in caplog.text


def test_the_encoding_of_reports_can_be_named(tmp_path) -> None:
    text = "双肺纹理清晰。"
    (tmp_path / "a.txt").write_bytes(text.encode("gb18030"))
    (tmp_path / "t.csv").write_bytes(f"id,report\na,{text}\n".encode("gb18030"))
    for name in ("a.txt", "t.csv"):
        assert list(read_reports(str(tmp_path / name), encoding="gb18030").stream) == [("a", text)]
    with pytest.raises(UserError, match=r"not UTF-8: line 2.*--encoding cp1252"):
        list(read_reports(str(tmp_path / "t.csv")).stream)


def test_quotation_marks_inside_a_text_are_no_open_quote(tmp_path) -> None:
    (tmp_path / "t.csv").write_text('id,report\na,A 2" scar.\nb,None.\n')
    assert list(read_reports(str(tmp_path / "t.csv")).stream) == [("a", 'A 2" scar.'), ("b", "None.")]


def test_no_member_of_an_archive_fills_the_memory(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(text_files, "MAX_TEXT", 1000)
    with zipfile.ZipFile(tmp_path / "in.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "No effusion.")
        archive.writestr("b.txt", " " * 5000)
    stream = read_reports(str(tmp_path / "in.zip")).stream
    assert next(stream) == ("a", "No effusion.")
    with pytest.raises(UserError, match=r"b\.txt in .* is larger than"):
        next(stream)


def test_ids_are_text_and_blank_ones_are_said(tmp_path, caplog) -> None:
    (tmp_path / "t.csv").write_text("id,report\n0012,One.\n,Two.\n")
    assert [name for name, _ in read_reports(str(tmp_path / "t.csv")).stream] == ["0012", "row1"]
    assert "1 of 2 reports have no id" in caplog.text
    pd.DataFrame({"id": [7.0, None], "text": "One."}).to_parquet(tmp_path / "t.parquet")
    assert [name for name, _ in read_reports(str(tmp_path / "t.parquet")).stream] == ["7", "row1"]


def test_stdin_in_another_encoding_is_refused(monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\u00e9".encode("cp1252")), encoding="utf-8"))
    with pytest.raises(UserError, match="stdin is not UTF-8"):
        list(read_reports("-", lines=True).stream)
