"""What users' disks hold, and what becomes of it: each case gives a message, or a row of rejected.csv; none a traceback."""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

from medclip.data.images import ImageError, read_image
from medclip.data.preparation import Preparation
from medclip.data.prepare_images import prepare_images
from medclip.data.prepare_texts import prepare_texts
from medclip.utils.plugins import load_plugin
from tests.fixtures import layouts
from tests.fixtures.dicom import dicom
from tests.fixtures.picture import picture

GREY = np.random.default_rng(0).integers(0, 256, (40, 32), dtype=np.uint8)
Make = Callable[[Path], Any]


def file(name: str, content: bytes) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def saved(name: str, array: np.ndarray, **options: Any) -> Make:
    def make(folder: Path) -> Path:
        Image.fromarray(array).save(folder / name, **options)
        return folder / name

    return make


def truncated(name: str) -> Make:
    def make(folder: Path) -> Path:
        picture(folder / name, seed=0, size=(200, 200))
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        return folder / name

    return make


def dicom_with(pixels: np.ndarray | None = None, **elements: Any) -> Make:
    def make(folder: Path) -> Path:
        dicom(folder / "a.dcm", np.arange(1280).reshape(40, 32) if pixels is None else pixels, **elements)
        return folder / "a.dcm"

    return make


def without(*names: str) -> Make:
    def make(folder: Path) -> Path:
        path = dicom_with()(folder)
        data = pydicom.dcmread(path)
        for name in names:
            delattr(data, name)
        data.save_as(path)
        return path

    return make


def official(name: str) -> Make:
    """One of the small files that pydicom brings for its own tests."""
    return lambda folder: Path(str(pydicom.data.get_testdata_file(name, download=False)))


def bomb(folder: Path) -> Path:
    """A PNG of 60,000 x 60,000 pixels in a few hundred bytes."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    content = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )
    (folder / "bomb.png").write_bytes(content)
    return folder / "bomb.png"


def frames(folder: Path) -> Path:
    pages = [Image.fromarray(GREY), Image.fromarray(GREY)]
    pages[0].save(folder / "pages.tiff", save_all=True, append_images=pages[1:])
    return folder / "pages.tiff"


#: What is tried, how it is made, and what the message says; None where it is read after all.
IMAGES: list[tuple[str, Make, str | None]] = [
    ("a JPEG cut off in the middle", truncated("a.jpg"), "not readable as an image"),
    ("a PNG cut off in the middle", truncated("a.png"), "not readable as an image"),
    ("zero bytes", file("a.png", b""), "the file is empty"),
    ("zero bytes called .dcm", file("a.dcm", b""), "the file is empty"),
    ("text called .png", file("a.png", b"patient,finding\n1,none\n"), "not readable as an image"),
    ("text called .dcm", file("a.dcm", b"no pixels here " * 20), "DICOM"),
    ("a zip called .jpg", file("a.jpg", b"PK\x03\x04" + b"\0" * 200), "not readable as an image"),
    ("random bytes", file("a.jpg", bytes(np.random.default_rng(1).integers(0, 256, 999, dtype=np.uint8))), "not readable"),
    ("a PNG called .jpg", saved("a.jpg", GREY, format="PNG"), None),
    ("a DICOM file without its suffix", lambda f: dicom_with()(f).rename(f / "IM0001"), None),
    ("a 1x1 image", saved("a.png", GREY[:1, :1]), "too small"),
    ("a 20000x10 image", saved("a.png", np.tile(GREY[:10], (1, 625))), "too narrow"),
    ("a decompression bomb, 60000x60000", bomb, "more pixels than a radiograph"),
    ("every pixel black", saved("a.png", np.zeros((40, 32), dtype=np.uint8)), "same value"),
    ("a 16-bit PNG", saved("a.png", GREY.astype(np.uint16) * 257), None),
    ("a palette PNG", lambda f: Image.fromarray(GREY).convert("P").save(f / "a.png") or f / "a.png", None),
    ("a PNG with alpha", saved("a.png", np.dstack([GREY] * 3 + [np.full_like(GREY, 255)])), None),
    ("a TIFF of two pages", frames, "2 frames"),
    ("DICOM without pixels", without("PixelData"), "has no pixels"),
    ("DICOM without Rows", without("Rows"), "header does not say"),
    ("DICOM of three frames", dicom_with(np.zeros((3, 40, 32)), NumberOfFrames=3), "3 frames"),
    ("DICOM with fewer pixels than it says", dicom_with(Rows=80), "cannot be decoded"),
    ("DICOM that says 60000x60000", dicom_with(Rows=60000, Columns=60000), "more than a radiograph has"),
    ("DICOM in colour", dicom_with(SamplesPerPixel=3, PhotometricInterpretation="RGB"), "in colour"),
    ("DICOM with a palette", official("examples_palette.dcm"), "in colour"),
    ("DICOM, all values equal", dicom_with(np.full((40, 32), 7)), "same value"),
    ("DICOM, a structured report", official("reportsi.dcm"), "has no pixels"),
    ("DICOM cut off in the middle", official("MR_truncated.dcm"), "cannot be decoded"),
    ("DICOM, inverted grey", dicom_with(PhotometricInterpretation="MONOCHROME1"), None),
    ("DICOM with an overlay burned over it", official("examples_overlay.dcm"), None),
    ("DICOM, big endian", official("MR_small_bigendian.dcm"), None),
    ("DICOM, deflated", official("image_dfl.dcm"), None),
    ("DICOM, RLE", official("MR_small_RLE.dcm"), None),
    ("DICOM, JPEG 2000 lossless", official("MR_small_jp2klossless.dcm"), None),
    ("DICOM, JPEG 2000", official("JPEG2000.dcm"), None),
    ("DICOM, JPEG-LS lossless", official("MR_small_jpeg_ls_lossless.dcm"), None),
    ("DICOM, JPEG-LS near-lossless, 16 bits", official("JPEGLSNearLossless_16.dcm"), None),
    ("DICOM, JPEG extended, 12 bits", official("JPGExtended.dcm"), None),
    ("DICOM, JPEG baseline in colour", official("SC_rgb_jpeg.dcm"), "in colour"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), [case[1:] for case in IMAGES], ids=[case[0] for case in IMAGES])
def test_images(tmp_path: Path, make: Make, message: str | None) -> None:
    path = make(tmp_path)
    if message is None:
        image = read_image(path)
        assert image.dtype == np.uint8
        assert image.ndim == 2
        assert image.max() > image.min()
    else:
        with pytest.raises(ImageError, match=message):
            read_image(path)


def table(text: str | bytes, **options: Any) -> Make:
    def make(folder: Path) -> Any:
        for i in range(3):
            picture(folder / f"{i}.png", seed=i)
        (folder / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        source = load_plugin("sources", "csv")(folder / "t.csv", **options)
        return source.images()

    return make


def changed(name: str, path: str, before: str, after: str, read: str = "images") -> Make:
    """A source's layout with one text replaced in one of its files."""

    def make(folder: Path) -> Any:
        source = layouts.source_of(name, folder)
        content = (source.root / path).read_text()
        assert before in content
        (source.root / path).write_text(content.replace(before, after, 1))
        return getattr(source, read)()

    return make


def link_out(folder: Path) -> Any:
    picture(folder / "secret" / "a.png", seed=0)
    (folder / "data").mkdir()
    (folder / "data" / "a.png").symlink_to(folder / "secret" / "a.png")
    (folder / "data" / "t.csv").write_text("path\na.png\n")
    return load_plugin("sources", "csv")(folder / "data" / "t.csv").images()


def one_bad_image(strict: bool) -> Make:
    def make(folder: Path) -> Any:
        root = layouts.csv(folder / "data")
        (root.parent / "images" / "3.png").write_bytes(b"")
        (root.parent / "images" / "4.png").unlink()
        source = load_plugin("sources", "csv")(root)
        made = prepare_images(source, Preparation(folder / "p", size=16, strict=strict))
        rejected = pd.read_csv(next((folder / "p").glob("*/rejected.csv")))
        assert rejected["reason"].tolist() == ["the file is empty", "No such file or directory"]
        assert len(made.images) == 38
        return made

    return make


def empty_zip(folder: Path) -> Any:
    with zipfile.ZipFile(folder / "mimic-cxr-reports.zip", "w"):
        pass
    return load_plugin("sources", "mimic-reports")(folder).texts()


def broken_zip(folder: Path) -> Any:
    (folder / "mimic-cxr-reports.zip").write_bytes(b"PK\x03\x04 and then nothing")
    return load_plugin("sources", "mimic-reports")(folder).texts()


def no_xml(folder: Path) -> Any:
    source = layouts.source_of("openi", folder)
    for path in (folder / "ecgen-radiology").iterdir():
        path.write_text("<eCitation>")
    return source.texts()


def zip_bomb(folder: Path) -> Any:
    with zipfile.ZipFile(folder / "mimic-cxr-reports.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("files/p10/p10000001/s50000001.txt", b" " * 50_000_000)
        archive.writestr("files/p10/p10000001/s50000002.txt", b"No effusion.")
    found = load_plugin("sources", "mimic-reports")(folder).texts()
    assert found["study_id"].tolist() == ["50000002"]
    return found


def sentences_of(text: str) -> Make:
    def make(folder: Path) -> Any:
        pd.DataFrame({"text": [text, "No effusion."], "split": "train"}).to_csv(folder / "t.csv", index=False)
        return prepare_texts(load_plugin("sources", "csv")(folder / "t.csv"), Preparation(folder / "p"))

    return make


def only_silence(folder: Path) -> Any:
    (folder / "t.csv").write_text("text,study_id\n,a\n ,b\n")
    return prepare_texts(load_plugin("sources", "csv")(folder / "t.csv"), Preparation(folder / "p"))


TABLES: list[tuple[str, Make, str | None]] = [
    ("path with ..", table("path\n../a.png\n"), "leads out of"),
    ("absolute path", table("path\n/etc/passwd\n"), "leads out of"),
    ("a link that leads out", link_out, "leads out of"),
    ("CheXpert's train.csv with .. in a path", changed("chexpert", "train.csv", "train/patient00001/", "../../"), "row 2 lists"),
    ("MIMIC record list with an absolute path", changed("openi, two tables", "indiana_projections.csv", "1_IM", "/etc/1_IM"), "row 2 lists"),
    ("a label of 5", table("path,Edema\n0.png,5\n"), "column 'Edema': Found states"),
    ("a label in words", table("path,Edema\n0.png,yes\n"), "column 'Edema'.*yes"),
    ("an unknown finding", changed("nih", "Data_Entry_2017_v2020.csv", "Hernia", "Herniation"), "unknown findings.*Herniation"),
    ("an unknown class", changed("rsna", "stage_2_detailed_class_info.csv", "Normal", "Normel"), "unknown classes.*Normel"),
    ("a missing column", changed("chexpert", "train.csv", "Cardiomegaly", "Cardiomegalie"), "lacks the column Cardiomegaly. Did you mean 'Cardiomegalie'"),
    ("two missing columns", changed("vindr", "annotations/annotations_test.csv", "x_min,y_min", "xmin,ymin", "boxes"), "lacks the columns x_min, y_min"),
    ("LATIN-1", table("path,note\n0.png,\xe9t\xe9\n".encode("latin-1")), "not UTF-8: line 2 holds the byte 0xe9"),
    ("UTF-8 with a mark", table("\ufeffpath,Edema\n0.png,1\n"), None),
    ("UTF-16", table("path,Edema\n0.png,1\n".encode("utf-16")), None),
    ("an empty table", table(b"path"[:0] + b"\n  \npath"), "no rows|no table|path"),
    ("a header alone", table("path\n"), "no rows"),
    ("an image id twice", table("path,image_id\n0.png,a\n1.png,a\n"), "image ids occur twice, the first in row 3"),
    ("a blank patient id", table("path,patient_id\n0.png,p\n1.png,\n"), None),
    ("a blank path", table("path,Edema\n0.png,1\n,0\n"), None),
    ("nothing but blank paths", table("path,Edema\n,1\n,0\n"), "path is blank in every row"),
    ("a row with a cell too many", table("path,Edema\n0.png,1\n1.png,0,9\n"), None),
    ("a row with a cell too few", table("path,Edema\n0.png,1\n1.png\n"), None),
    ("a comma after every row", table("path,Edema\n0.png,1,\n1.png,0,\n"), None),
    ("a quotation mark that stays open", table('path,note\n0.png,"a\n1.png,b\n'), "opened and never closed"),
    ("semicolons", table("path;Edema\n0.png;1\n"), None),
    ("semicolons with decimal commas", table("sep=;\npath;Edema\n0.png;1,0\n"), None),
    ("tabs", table("path\tEdema\n0.png\t1\n"), None),
    ("columns in capitals", table("Path,EDEMA\n0.png,1\n"), None),
    ("backslashes", table("path,Edema\n.\\0.png,1\n"), None),
    ("labels of true and false", table("path,Edema\n0.png,TRUE\n1.png,false\n"), None),
    ("labels of NA", table("path,Edema\n0.png,NA\n1.png,nan\n"), None),
    ("UTF-16 without a mark", table("path,Edema\n0.png,1\n".encode("utf-16-le")), None),
    ("gzip, called .csv", table(gzip.compress(b"path,Edema\n0.png,1\n", mtime=0)), None),
    ("gzip, cut off", table(gzip.compress(b"path,Edema\n" + b"0.png,1\n" * 99, mtime=0)[:-12]), "cut off or damaged"),
    ("an Excel workbook", table(b"PK\x03\x04" + b"\0" * 200), "zip archive"),
    ("a table of neither images nor texts", table("file id,finding\na,b\n"), "has no column 'path'.*Found: file id, finding.*--columns path=COLUMN"),
    ("an unknown split", table("path,split\n0.png,dev\n"), r"found splits \['dev'\]"),
    ("a mask beyond its image", changed("siim", "train-rle.csv", " 5 2", " 1048576 9", "boxes"), "leads beyond its 1024x1024"),
    ("a mask that is no pairs", changed("siim", "train-rle.csv", " 5 2", " 5 2 7", "boxes"), "no list of pairs"),
    ("a box without area", changed("nih", "BBox_List_2017.csv", "8.0,6.0", "0,6.0", "boxes"), "1 boxes have no area"),
    ("a report that is no XML", changed("openi", "ecgen-radiology/3.xml", "<Abstract>", "", "texts"), None),
    ("no report is XML", no_xml, "no readable XML, as all others"),
    ("labels of PadChest that are no list", changed("padchest", "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", "['normal']", "normal"), None),
    ("a zip without reports", empty_zip, "was not found"),
    ("a zip with a member of 50 MB", zip_bomb, None),
    ("a zip that is none", broken_zip, "no readable zip"),
    ("one empty and one missing image among 40", one_bad_image(False), None),
    ("the same with --strict", one_bad_image(True), "2 images cannot be read; the first is"),
    ("reports without a word", only_silence, "none of its 2 texts holds a sentence"),
    ("a report of 2 MB in one line", sentences_of("There is no pleural effusion and the lungs are clear " * 38_000), None),
    ("a report of control characters", sentences_of("\x00\x07\x1b[31m effusion \ufffd"), None),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), [case[1:] for case in TABLES], ids=[case[0] for case in TABLES])
def test_tables_and_reports(tmp_path: Path, make: Make, message: str | None) -> None:
    if message is None:
        assert make(tmp_path) is not None
    else:
        with pytest.raises((ValueError, FileNotFoundError), match=f"(?s){message}"):
            make(tmp_path)


def test_enough_is_tried() -> None:
    assert len(IMAGES) + len(TABLES) >= 70
