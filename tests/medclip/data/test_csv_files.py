from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from medclip.data.csv_files import files_below, listed_paths, read_csv
from medclip.data.tables import as_ids, check_images, join_ids, joined_states, to_numbers, years
from medclip.data.text_files import decode_text, read_member


def table(folder: Path, text: str | bytes, **options: object) -> pd.DataFrame:
    (folder / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_csv(folder / "t.csv", origin="x", **options)


PLAIN = "id,b\n0012,x\n1e3,\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        "sep=;\n" + PLAIN.replace(",", ";"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        "\ufeff" + PLAIN,
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-be"),
        gzip.compress(PLAIN.encode(), mtime=0),
        gzip.compress(("\ufeff" + PLAIN).encode(), mtime=0),
        PLAIN.replace("\n", ",,\n"),
        PLAIN.replace("id,b", " id , b "),
        PLAIN.replace("\n1e3", "\n\n\n1e3"),
    ],
)
def test_tables_of_any_form_say_the_same(tmp_path: Path, content: str | bytes) -> None:
    found = table(tmp_path, content)
    assert found.fillna("").to_dict("list") == {"id": ["0012", "1e3"], "b": ["x", ""]}


@pytest.mark.parametrize("name", ["plain.csv.gz", "packed.csv"])
def test_compression_is_told_by_content(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(
        PLAIN.encode() if name.startswith("plain") else gzip.compress(PLAIN.encode(), mtime=0)
    )
    assert len(read_csv(tmp_path / name, origin="x")) == 2


UMLAUTS = "id,Größe\nä,Übergröße\n"


def test_the_encoding_of_a_table_can_be_named(tmp_path: Path) -> None:
    expected = {"id": ["ä"], "Größe": ["Übergröße"]}
    for encoding in ("cp1252", "latin-1", "cp850", "mac-roman"):
        assert table(tmp_path, UMLAUTS.encode(encoding), encoding=encoding).to_dict("list") == expected
        with pytest.raises(ValueError, match=r"t\.csv is not UTF-8: line 1 holds the byte 0x.*Save it as UTF-8"):
            table(tmp_path, UMLAUTS.encode(encoding))
    assert table(tmp_path, UMLAUTS.encode("utf-32")).to_dict("list") == expected
    assert table(tmp_path, UMLAUTS.encode(), encoding="UTF8").to_dict("list") == expected
    assert table(tmp_path, UMLAUTS.encode("utf-16"), encoding="utf-16-le").to_dict("list")["Größe"] == ["Übergröße"]


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (UMLAUTS.encode(), "cp1252", "is UTF-8, not cp1252. Leave the encoding out."),
        (UMLAUTS.encode("utf-8-sig"), "latin-1", "is UTF-8, not latin-1"),
        (UMLAUTS.encode("utf-16"), "cp1252", "is UTF-16, not cp1252"),
        (UMLAUTS.encode("cp1252"), "ascii", "is not ascii: line 1 holds the byte 0xf6"),
        (UMLAUTS.encode("cp850"), "cp1252", r"is not cp1252: it would have quotation marks .* Is it of DOS"),
        ("id,u\nä,Müde\n".encode("cp850"), "cp1252", "is not cp1252: line 2 holds the byte 0x81"),
        (UMLAUTS.encode("cp1252"), "windoof", "'windoof' is no encoding of texts. Usual ones: utf-8, cp1252"),
        (UMLAUTS.encode("cp1252"), "hex", "'hex' is no encoding of texts"),
    ],
)
def test_an_encoding_that_would_garble_a_table_is_refused(tmp_path: Path, content, encoding, message) -> None:
    with pytest.raises(ValueError, match=message):
        table(tmp_path, content, encoding=encoding)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "t.xls",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
            r"old kind \(\.xls\), or one with a password.*'CSV UTF-8'",
        ),
        ("t.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), r"old kind \(\.xls\)"),
        ("t.ods", b"PK\x03\x04" + bytes(200), "OpenDocument sheet; save it as CSV"),
        ("t.csv", b"PAR1" + bytes(200), r"a Parquet file. Give it a name that ends in \.parquet"),
    ],
)
def test_a_table_of_another_kind_is_called_what_it_is(tmp_path: Path, name, content, message) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_csv(tmp_path / name, origin="x")


def test_a_text_that_is_called_xls_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.xls").write_text(PLAIN.replace(",", "\t"))  # what many hospital systems export
    assert read_csv(tmp_path / "t.xls", origin="x")["id"].tolist() == ["0012", "1e3"]


def test_rows_are_those_of_the_file(tmp_path: Path, caplog) -> None:
    found = table(tmp_path, 'a,b\n1,"two\nlines"\n\n2,x,y\n3\n4,z\n')
    assert found.index.tolist() == [2, 5, 6]
    assert "1 row (4) is left out, with more cells than the header" in caplog.text
    assert "1 row (5) has fewer cells than the header; the rest is blank" in caplog.text
    with pytest.raises(ValueError, match=r"x, column 'b': 'z' in row 6 is no number"):
        to_numbers(found["b"].replace("two\nlines", "1"), origin="x")
    images = found.assign(image_id=["i", "j", "i"], study_id="s", patient_id="p", path="f")
    with pytest.raises(ValueError, match="the first in row 6"):
        check_images(images[["image_id", "study_id", "patient_id", "path"]], origin="x")


def test_columns_are_found_in_capitals(tmp_path: Path) -> None:
    assert list(table(tmp_path, "rad_ID,Other\n1,2\n", needed=("rad_id",)).columns) == ["rad_id", "Other"]
    with pytest.raises(ValueError, match="lacks the column path"):
        table(tmp_path, "a,b\n1,2\n", needed=("path",))


def test_numbers_as_people_write_them() -> None:
    found = to_numbers(pd.Series(["1", "0,5", "TRUE", "false", "NA", None, " -1.0 "]), origin="x")
    assert found.fillna(9).tolist() == [1, 0.5, 1, 0, 9, 9, -1]


def test_ages_are_in_years() -> None:
    found = years(pd.Series(["58", "058Y", "003M", "011D", "52W", 61.0, "411", "x", None]))
    assert found[:6].round(2).tolist() == [58, 58, 0.25, 0.03, 1.0, 61]
    assert found[6:].isna().all()


def test_ids_stay_text() -> None:
    assert as_ids(pd.Series([12.0, None, 7.0])).tolist()[::2] == ["12", "7"]
    assert as_ids(pd.Series([" 0012", "1.10", "1e3"])).tolist() == ["0012", "1.10", "1e3"]


def test_columns_of_one_observation_are_joined() -> None:
    raw = pd.DataFrame({"Mass": ["1", "0", "", "-1", "", "0"], "Nodule": ["0", "0", "", "0", "0", "-1"]})
    found = joined_states(raw, origin="x")
    assert found["Lung Lesion"].fillna(9).tolist() == [1, 0, 9, -1, 0, -1]


def test_tables_that_do_not_meet_say_how_their_ids_look() -> None:
    images = pd.DataFrame({"study_id": ["50000001", "50000002"]})
    labels = pd.DataFrame({"Edema": [1]}, index=["s50000001.0"])
    with pytest.raises(ValueError, match=r"none of the 2 rows has its study_id in labels.*99999999.*s99999999\.9"):
        join_ids(images, labels, on="study_id", origin="x", what="labels")


def test_tables_that_meet_in_part_say_how_much(caplog) -> None:
    images, labels = pd.DataFrame({"study_id": ["1", "2", "3"]}), pd.DataFrame({"Edema": [1]}, index=["1"])
    assert join_ids(images, labels, on="study_id", origin="x", what="labels")["Edema"].notna().sum() == 1
    assert "x: 2 of 3 rows have no study_id in labels" in caplog.text


def test_listed_paths_use_slashes_and_stay_inside() -> None:
    assert listed_paths(pd.Series(["a\\b.png", " c.png"]), origin="x").tolist() == ["a/b.png", "c.png"]
    for wrong in ("..\\a.png", "C:\\a.png", "/a.png", "a/../../b"):
        with pytest.raises(ValueError, match="leads out of its folder"):
            listed_paths(pd.Series([wrong]), origin="x")
    with pytest.raises(ValueError, match="row 1 lists no path"):
        listed_paths(pd.Series(["a", None]), origin="x")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_texts_are_decoded(encoding: str) -> None:
    assert (
        decode_text("No effusion, café.\r\nHeart normal.\r".encode(encoding)) == "No effusion, café.\nHeart normal.\n"
    )


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Größe der Lunge", "cp850"),  # ö is 0x94 there, a quotation mark of Windows
        ("Länge 5 cm", "cp850"),
        ("Übergröße", "mac-roman"),
        ("Müde", "cp850"),  # 0x81 is nothing in Windows' alphabet
        ("Płuca bez zmian ogniskowych, źródło", "mac-latin2"),
        ("Лёгкие чистые", "koi8-r"),
    ],
)
def test_texts_of_other_alphabets_are_refused_not_garbled(text: str, encoding: str) -> None:
    with pytest.raises(ValueError, match="a is neither UTF-8 nor UTF-16 nor Latin text"):
        decode_text(text.encode(encoding), origin="a")
    assert decode_text(text.encode(encoding), encoding=encoding) == text


def test_signs_that_windows_texts_hold_are_no_reason_to_refuse() -> None:
    text = "Don’t know – “enlarged” heart, 5 cm², 30°C, œdème…souvent, „groß“ (§ 5), Škoda 3×4"
    assert decode_text(text.encode("cp1252")) == text


def test_members_of_archives_are_read_so_far_and_no_further(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "No effusion.".encode("utf-16"))
        archive.writestr("b.txt", b" " * 30_000_000)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert read_member(archive, "a.txt") == "No effusion."
        with pytest.raises(ValueError, match="larger than 20 MB"):
            read_member(archive, "b.txt")


def test_each_folder_of_many_files_is_looked_at_once(tmp_path: Path, monkeypatch) -> None:
    looked, usual = [], os.path.realpath
    monkeypatch.setattr(os.path, "realpath", lambda path: looked.append(path) or usual(path))
    found = files_below(tmp_path, [*(f"a/{i}.png" for i in range(9)), "b\\1.png"], origin="table")
    assert found == [*(str(tmp_path / "a" / f"{i}.png") for i in range(9)), str(tmp_path / "b" / "1.png")]
    assert len(looked) == 2


def test_links_and_dots_in_paths_are_followed(tmp_path: Path) -> None:
    inside, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    inside.mkdir()
    elsewhere.mkdir()
    (inside / "a.png").touch()
    (inside / "link.png").symlink_to(inside / "a.png")
    (inside / "out").symlink_to(elsewhere)
    assert files_below(inside, ["x/../link.png", "./a.png"], origin="table") == [str(inside / "a.png")] * 2
    for path in ("out/b.png", "../b.png", "..", "/etc/passwd"):
        with pytest.raises(ValueError, match="leads out of"):
            files_below(inside, [path], origin="table")
    assert files_below(inside, ["out/b.png"], origin="table", outside=True) == [str(elsewhere / "b.png")]
