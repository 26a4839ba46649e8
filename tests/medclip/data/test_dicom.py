"""DICOM files as devices write them: tables, windows, padding and headers, and pydicom's own pictures."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import dcmwrite, write_dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence

from medclip.data.images import ImageError, image_shape, read_image
from tests.fixtures.dicom import dicom

#: A gradient of 12 bits, dark above, and what it looks like.
SHARE = np.linspace(0, 1, 48 * 40).reshape(48, 40)
TWELVE = np.rint(SHARE * 4095).astype(np.uint16)
GREY = SHARE * 255


def read(folder: Path, pixels: np.ndarray = TWELVE, **elements: object) -> np.ndarray:
    dicom(folder / "a.dcm", pixels, **elements)
    return read_image(folder / "a.dcm").astype(float)


def is_gradient(image: np.ndarray) -> bool:
    return image.shape == GREY.shape and float(np.abs(image - GREY).max()) <= 1.0


def rendered() -> Iterator[tuple[str, np.ndarray]]:
    """Yields pydicom's rendering, 0 to 255, of each picture of one grey frame that it brings and can decode."""
    for name in map(str, get_testdata_files()):
        try:
            data = pydicom.dcmread(name)
            one = "PixelData" in data and int(data.get("NumberOfFrames", 1) or 1) == 1
            if not one or not data.PhotometricInterpretation.startswith("MONOCHROME"):
                continue
            values = apply_voi_lut(apply_modality_lut(data.pixel_array, data), data).astype(float)
        except Exception:  # broken on purpose, without pixels, or without a decoder
            continue
        if np.ptp(values):
            grey = (values - values.min()) / np.ptp(values) * 255
            yield name, 255 - grey if data.PhotometricInterpretation == "MONOCHROME1" else grey


@pytest.mark.filterwarnings("ignore")
def test_every_picture_of_pydicom_is_within_half_a_grey_of_its_rendering() -> None:
    compared = 0
    for name, grey in rendered():
        if min(grey.shape) < 8:
            continue
        assert np.abs(read_image(name) - grey).max() <= 0.5 + 1e-6, name
        compared += 1
    assert compared >= 40


def lookup_table(descriptor: list[int], entries: object, *, data: str = "US", first: str = "US") -> Sequence:
    item = Dataset()
    item.add_new(0x00283002, first, descriptor)
    item.add_new(0x00283006, data, entries)
    return Sequence([item])


def straight(count: int, top: int) -> list[int]:
    return [int(value) for value in np.rint(np.linspace(0, top, count))]


@pytest.mark.parametrize("keyword", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize(
    "table",
    [
        lookup_table([4096, 0, 8], straight(4096, 255)),
        lookup_table([4096, 0, 8], straight(4096, 4095)),  # the descriptor is wrong
        lookup_table([4096, 0, 10], straight(4096, 1023)),
        lookup_table([4096, 0, 14], straight(4096, 16383)),
        lookup_table([4096, 0, 16], straight(4096, 65535)),
        lookup_table([4096, 0, 8], bytes(straight(4096, 255)), data="OW"),
        lookup_table([4096, 0, 8], np.array(straight(4096, 255), np.uint8).view("<u2").tolist()),  # two in a word
        lookup_table([0, 0, 16], straight(4096, 65535)),  # 0 stands for 65536, and fewer are there
    ],
    ids=["8", "8, wrong", "10", "14", "16", "8 in OW", "8 in pairs", "fewer"],
)
def test_tables_of_any_depth(tmp_path: Path, keyword: str, table: Sequence) -> None:
    image = read(tmp_path, **{keyword: table})
    assert np.abs(image - GREY).max() <= 1.6  # 255 steps, rounded twice


def test_a_table_begins_below_zero(tmp_path: Path) -> None:
    signed = (TWELVE.astype(np.int16) - 2048).view(np.uint16)
    table = lookup_table([4096, 2**16 - 2048, 16], straight(4096, 65535))
    assert is_gradient(read(tmp_path, signed, PixelRepresentation=1, BitsStored=16, HighBit=15, VOILUTSequence=table))


@pytest.mark.parametrize(
    "elements",
    [
        {"WindowCenter": 2048, "WindowWidth": 0},
        {"WindowCenter": 0, "WindowWidth": 0},
        {"WindowCenter": 2048, "WindowWidth": -50},
        {"WindowCenter": 60000, "WindowWidth": 10},  # all black
        {"WindowCenter": [2048, 2048], "WindowWidth": [0, 4096]},
        {"WindowCenter": 2048},
        {"WindowCenter": None, "WindowWidth": None},
        {"WindowCenter": 2048, "WindowWidth": 4096, "VOILUTFunction": ""},
        {"WindowCenter": 2048, "WindowWidth": 4096, "VOILUTFunction": "linear "},
        {"WindowCenter": 2047.5, "WindowWidth": 4095, "VOILUTFunction": "LINEAR_EXACT"},
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"RescaleSlope": 0, "RescaleIntercept": 0},
        {"RescaleSlope": 0.5, "RescaleIntercept": -100},
        {"VOILUTSequence": Sequence([Dataset()])},
        {"VOILUTSequence": lookup_table([1, 0, 16], [7])},
        {"PhotometricInterpretation": "monochrome2"},
        {"PhotometricInterpretation": " MONOCHROME2"},
        {"PhotometricInterpretation": None},
        {"SamplesPerPixel": None, "PixelRepresentation": None},
        {"PixelPaddingValue": 5000},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore")
def test_elements_that_cannot_be_used_do_not_cost_the_image(tmp_path: Path, elements: dict[str, object]) -> None:
    assert is_gradient(read(tmp_path, **elements))


def test_a_sigmoid_window_bends(tmp_path: Path) -> None:
    image = read(tmp_path, WindowCenter=2048, WindowWidth=2000, VOILUTFunction="sigmoid")
    expected = 1 / (1 + np.exp(-4 * (TWELVE - 2048.0) / 2000))
    expected = (expected - expected.min()) / np.ptp(expected) * 255
    assert np.abs(image - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("padding", "signed", "elements"),
    [
        (65535, False, {"PixelPaddingValue": 65535}),
        (-32768, True, {"PixelPaddingValue": -32768}),
        (63000, False, {"PixelPaddingValue": 60000, "PixelPaddingRangeLimit": 65535}),
        (63000, False, {"PixelPaddingValue": 65535, "PixelPaddingRangeLimit": 60000}),
        (0, False, {"PixelPaddingValue": 0, "PhotometricInterpretation": "MONOCHROME1"}),
    ],
)
@pytest.mark.parametrize("recipe", ["voi", "mimic-cxr-jpg"])
def test_padding_is_black_and_sets_no_range(
    tmp_path: Path, recipe: str, padding: int, signed: bool, elements: dict[str, object]
) -> None:
    film = TWELVE.astype(np.int64) // 2 + 700
    padded = film.copy()
    padded[:, :6] = padding
    depth = {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": int(signed)}
    other = {name: value for name, value in elements.items() if not name.startswith("PixelPadding")}
    for name, pixels, more in (("a", padded, elements), ("b", film[:, 6:], other)):
        dicom(
            tmp_path / f"{name}.dcm", pixels.astype(np.int16 if signed else np.uint16).view(np.uint16), **depth, **more
        )
    image, alone = (read_image(tmp_path / f"{name}.dcm", dicom=recipe).astype(int) for name in "ab")
    assert image[:, :6].max() == 0
    if recipe == "voi":
        assert (image[:, 6:] == alone).all()
    else:
        assert len(np.unique(image[:, 6:])) > 100


def test_padding_that_is_everything_is_no_padding(tmp_path: Path) -> None:
    assert is_gradient(read(tmp_path, PixelPaddingValue=0, PixelPaddingRangeLimit=4095))


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big endian"])
@pytest.mark.parametrize("name", ["a.dcm", "IM000001", "1.2.840.7"])
def test_files_without_preamble(tmp_path: Path, syntax: str, name: str) -> None:
    dicom(tmp_path / "whole.dcm", TWELVE)
    read_back, out = pydicom.dcmread(tmp_path / "whole.dcm"), DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = syntax != "big endian", syntax == "implicit"
    plain = Dataset()
    plain.update({tag: read_back[tag] for tag in read_back.keys()})  # noqa: SIM118
    if syntax == "big endian":
        plain.PixelData = TWELVE.astype(">u2").tobytes()
    write_dataset(out, plain)
    (tmp_path / name).write_bytes(out.getvalue())
    assert is_gradient(read_image(tmp_path / name).astype(float))
    assert image_shape(tmp_path / name) == (40, 48)


def test_a_file_without_transfer_syntax(tmp_path: Path) -> None:
    dicom(tmp_path / "a.dcm", TWELVE)
    data = pydicom.dcmread(tmp_path / "a.dcm")
    del data.file_meta.TransferSyntaxUID
    dcmwrite(tmp_path / "b.dcm", data, enforce_file_format=False, implicit_vr=True, little_endian=True)
    assert is_gradient(read_image(tmp_path / "b.dcm").astype(float))


def test_a_picture_called_dcm_is_a_picture(tmp_path: Path) -> None:
    Image.fromarray(GREY.astype(np.uint8)).save(tmp_path / "a.dcm", format="PNG")
    assert (read_image(tmp_path / "a.dcm") == GREY.astype(np.uint8)).all()


@pytest.mark.parametrize(("top", "inverted"), [(255, False), (200, False), (200, True), (90, False)])
def test_eight_bits_look_like_the_same_png(tmp_path: Path, top: int, inverted: bool) -> None:
    pixels = np.rint(SHARE * (top - 20) + 20).astype(np.uint8)
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelData": pixels.tobytes()}
    if inverted:
        eight |= {"PhotometricInterpretation": "MONOCHROME1"}
    for more in ({}, {"WindowCenter": 128, "WindowWidth": 256}, {"RescaleSlope": 1, "RescaleIntercept": 0}):
        assert (read(tmp_path, pixels, **eight, **more) == (255 - pixels if inverted else pixels)).all()


def colour(pixels: np.ndarray) -> dict[str, object]:
    return {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "BitsAllocated": 8,
            "BitsStored": 8, "HighBit": 7, "PixelData": pixels.astype(np.uint8).tobytes()}  # fmt: skip


def test_colours_that_are_grey(tmp_path: Path) -> None:
    grey = np.rint(GREY).astype(np.uint8)
    assert (read(tmp_path, **colour(np.dstack([grey] * 3))) == grey).all()
    with pytest.raises(ImageError, match="in colour"):
        read(tmp_path, **colour(np.dstack([grey, grey, 255 - grey])))


def palette(red: list[int], blue: list[int], bits: int) -> dict[str, object]:
    tables: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, entries in (("Red", red), ("Green", red), ("Blue", blue)):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        tables[f"{name}PaletteColorLookupTableData"] = np.array(entries, f"<u{bits // 8}").tobytes()
    return tables


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_that_are_grey(tmp_path: Path, bits: int) -> None:
    pixels = np.rint(GREY).astype(np.uint8)
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelData": pixels.tobytes()}
    falling = straight(256, 2**bits - 1)[::-1]
    assert (read(tmp_path, pixels, **eight, **palette(falling, falling, bits)) == 255 - pixels).all()
    with pytest.raises(ImageError, match="in colour"):
        read(tmp_path, pixels, **eight, **palette(falling, falling[::-1], bits))


def test_another_modality_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for modality in ("XX", "XX", "DX", ""):
            assert is_gradient(read(tmp_path, Modality=modality))
    assert [record.message.split(" and is read")[0] for record in caplog.records] == [
        "A DICOM file has (0008,0060) Modality XX"
    ]
