"""Excel workbooks are read as the CSV that Excel would write of them."""

from __future__ import annotations

import datetime
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from labelers.errors import UserError
from medclip.cli import label
from medclip.data import excel
from medclip.data.csv_files import read_csv
from medclip.data.report_files import read_reports
from medclip.sources.csv import Csv

openpyxl = pytest.importorskip("openpyxl", reason="needs openpyxl: pip install 'medclip-cxr[excel]'")

ROWS = [
    ["Fallnummer", "Datum", "Befund", "Alter", "Norm"],
    ["0012", datetime.datetime(2024, 3, 1), "Kein Erguss;\nHerz groß.", 61.0, True],
    [7, datetime.datetime(2024, 3, 2, 8, 30), None, 0.5, False],
]


def workbook(path: Path, *sheets: list[list[object]], hidden: int = 0) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"sheet {number}")
        sheet.sheet_state = "hidden" if number < hidden else "visible"
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_a_sheet_is_text_as_it_is_shown(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", ROWS)
    book = openpyxl.load_workbook(path)
    book.active["A3"].number_format = "0000"  # shown as 0007
    book.save(path)
    table = read_csv(path, origin="x").fillna("")
    assert table.to_numpy().tolist() == [
        ["0012", "2024-03-01", "Kein Erguss;\nHerz groß.", "61", "TRUE"],
        ["0007", "2024-03-02 08:30:00", "", "0.5", "FALSE"],
    ]
    assert table.index.tolist() == [2, 3]


def test_the_first_visible_sheet_that_is_not_empty_is_read_and_said(tmp_path: Path, caplog) -> None:
    path = workbook(tmp_path / "t.xlsx", [["hidden"], [1]], [], [["a"], [2]], [["b"], [3]], hidden=1)
    with caplog.at_level("INFO"):
        assert list(read_csv(path, origin="x").columns) == ["a"]
    assert "of the 3 sheets of t.xlsx, 'sheet 2' is read" in caplog.text


def test_a_workbook_is_told_by_its_content(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", ROWS).rename(tmp_path / "export.csv")
    assert len(read_csv(path, origin="x")) == 2


def test_images_and_reports_of_a_workbook(tmp_path: Path, capsys) -> None:
    rows = [
        ["path", "patient_id", "report"],
        ["1.png", "0012", "No effusion."],
        ["2.png", 13, "The heart is enlarged."],
    ]
    path = workbook(tmp_path / "hospital.xlsx", rows)
    assert Csv(path).images()["patient_id"].tolist() == ["0012", "13"]
    assert Csv(path).texts()["text"].tolist() == ["No effusion.", "The heart is enlarged."]
    assert [text for _, text in read_reports(str(path)).stream] == ["No effusion.", "The heart is enlarged."]
    assert label.run([str(path), "--id-column", "patient_id", "--output", str(tmp_path / "l.csv")]) == 0
    found = pd.read_csv(tmp_path / "l.csv", dtype=str).set_index("id")
    assert found.loc["0012", "Pleural Effusion"] == "0"
    assert found.loc["13", "Cardiomegaly"] == "1"


@pytest.mark.parametrize(
    ("sheets", "message"),
    [
        (([],), "none of its 1 sheets holds anything"),
        (([["a", "b"], [1, "=A2+1"]],), "row 2 holds a formula without its value. Open the workbook in Excel"),
    ],
)
def test_what_a_workbook_does_not_tell_is_refused(tmp_path: Path, sheets, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_csv(workbook(tmp_path / "t.xlsx", *sheets), origin="x")


def test_a_damaged_workbook_is_refused(tmp_path: Path) -> None:
    whole = workbook(tmp_path / "t.xlsx", ROWS)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(tmp_path / "broken.xlsx", "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content[: len(content) // 2] if name.endswith("sheet1.xml") else content)
    with pytest.raises(UserError, match=r"broken\.xlsx is no Excel workbook, or damaged"):
        read_csv(tmp_path / "broken.xlsx", origin="x")


def test_a_workbook_that_fills_the_memory_is_not_unpacked(tmp_path: Path, monkeypatch) -> None:
    path = workbook(tmp_path / "t.xlsx", ROWS)
    large = zipfile.ZipInfo("large")
    large.file_size = 3_000_000_000
    monkeypatch.setattr(excel.zipfile.ZipFile, "infolist", lambda _: [large])
    with pytest.raises(UserError, match="unpacks to 3,000,000,000 bytes"):
        excel.workbook_as_text(path, "x")


def test_without_openpyxl_the_message_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    path = workbook(tmp_path / "t.xlsx", ROWS)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(UserError, match=r"Install what reads it, pip install 'medclip-cxr\[excel\]', or save it in"):
        read_csv(path, origin="x")
