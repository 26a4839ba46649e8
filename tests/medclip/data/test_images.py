from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from medclip.data.grey import equalise
from medclip.data.images import ImageError, fit_square, image_shape, read_image
from tests.fixtures.dicom import dicom

RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff"])
def test_lossless_pictures_come_back(tmp_path, name: str) -> None:
    Image.fromarray(RAMP).save(tmp_path / name)
    assert (read_image(tmp_path / name) == RAMP).all()


def test_colour_and_alpha_become_grey(tmp_path) -> None:
    Image.fromarray(np.stack([RAMP] * 3, axis=2)).save(tmp_path / "rgb.png")
    assert (read_image(tmp_path / "rgb.png") == RAMP).all()
    alpha = np.dstack([RAMP, RAMP, RAMP, np.full_like(RAMP, 255)])
    Image.fromarray(alpha).save(tmp_path / "rgba.png")
    assert (read_image(tmp_path / "rgba.png") == RAMP).all()


def test_sixteen_bits_keep_their_order(tmp_path) -> None:
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert (read_image(tmp_path / "deep.png") == RAMP).all()


def test_a_narrow_range_of_sixteen_bits_is_stretched(tmp_path) -> None:
    Image.fromarray(RAMP.astype(np.uint16) + 1000).save(tmp_path / "narrow.png")
    read = read_image(tmp_path / "narrow.png")
    assert (read.min(), read.max()) == (0, 255)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"hello there", "not readable as an image"), (b"\x89PNG\r\n\x1a\n", "not readable")],
)
def test_broken_files_say_why(tmp_path, content: bytes, message: str) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / "x.png")


def test_a_missing_file_is_a_missing_file(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "x.png")


def test_dicom_is_scaled_by_what_it_holds(tmp_path) -> None:
    dicom(tmp_path / "a.dcm", RAMP.astype(np.uint16) * 16)
    read = read_image(tmp_path / "a.dcm")
    assert (read.min(), read.max()) == (0, 255)
    assert (np.diff(read.ravel().astype(int)) > 0).all()


def test_inverted_greyscale_is_turned_round(tmp_path) -> None:
    dicom(tmp_path / "a.dcm", RAMP.astype(np.uint16))
    dicom(tmp_path / "b.dcm", RAMP.astype(np.uint16), PhotometricInterpretation="MONOCHROME1")
    assert (read_image(tmp_path / "b.dcm") == 255 - read_image(tmp_path / "a.dcm")).all()


def test_windows_are_applied(tmp_path) -> None:
    dicom(tmp_path / "a.dcm", RAMP.astype(np.uint16) * 16, WindowCenter=1000, WindowWidth=200)
    read = read_image(tmp_path / "a.dcm")
    assert (read == 0).sum() > 10
    assert (read == 255).sum() > 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"NumberOfFrames": 3}, "3 frames"),
        ({"SamplesPerPixel": 3}, "in colour"),
        ({"PixelData": b"\0\0"}, "cannot be decoded"),
        ({"Rows": 60000, "Columns": 60000}, "more than a radiograph has"),
    ],
)
def test_dicom_that_is_no_radiograph(tmp_path, change: dict[str, object], message: str) -> None:
    dicom(tmp_path / "a.dcm", RAMP.astype(np.uint16), **change)
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / "a.dcm")


def test_dicom_without_pixels(tmp_path) -> None:
    dicom(tmp_path / "a.dcm", RAMP.astype(np.uint16))
    data = pydicom.dcmread(tmp_path / "a.dcm")
    del data.PixelData
    data.save_as(tmp_path / "b.dcm")
    with pytest.raises(ImageError, match="has no pixels"):
        read_image(tmp_path / "b.dcm")


def test_a_flat_dicom_is_refused(tmp_path) -> None:
    dicom(tmp_path / "a.dcm", np.full((8, 8), 7, dtype=np.uint16))
    with pytest.raises(ImageError, match="same value"):
        read_image(tmp_path / "a.dcm")


@pytest.mark.parametrize("shape", [(40, 20), (20, 40), (31, 31), (1, 100)])
def test_squares_hold_the_whole_image_and_know_where(shape: tuple[int, int]) -> None:
    image = np.full(shape, 200, dtype=np.uint8)
    square, g = fit_square(image, 64)
    assert square.shape == (64, 64)
    rows, columns = np.nonzero(square)
    assert rows.min() == g.top
    assert columns.min() == g.left
    assert columns.max() + 1 - g.left == max(1, round(shape[1] * g.scale))
    assert (g.height, g.width) == shape


def test_the_histogram_is_equalised_as_opencv_does() -> None:
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    for image in (
        RAMP,
        rng.normal(90, 20, (64, 48)).clip(0, 255).astype(np.uint8),
        np.array([[5, 5], [5, 9]], np.uint8),
    ):
        assert (equalise(image) == cv2.equalizeHist(image)).all()


def test_the_recipe_of_mimic_cxr_jpg(tmp_path) -> None:
    dicom(
        tmp_path / "a.dcm",
        RAMP.astype(np.uint16) * 5,
        PhotometricInterpretation="MONOCHROME1",
        WindowCenter=3,
        WindowWidth=2,
    )
    expected = equalise(255 - np.round(RAMP / 252 * 255).astype(np.uint8))
    assert np.abs(read_image(tmp_path / "a.dcm", dicom="mimic-cxr-jpg").astype(int) - expected).max() <= 4
    with pytest.raises(ValueError, match="voi, mimic-cxr-jpg"):
        read_image(tmp_path / "a.dcm", dicom="other")


def test_a_missing_decoder_is_named(monkeypatch) -> None:
    def undecodable(*args, **kwargs):
        raise RuntimeError("Unable to decompress because all plugins are missing dependencies")

    monkeypatch.setattr(pydicom.FileDataset, "pixel_array", property(undecodable))
    with pytest.raises(ImageError, match=r"pylibjpeg-openjpeg is not installed: pip install 'medclip-cxr\[dicom\]'"):
        read_image(Path(str(get_testdata_file("JPEG2000.dcm", download=False))))


def test_signed_values_over_the_whole_range(tmp_path) -> None:
    values = np.linspace(-32768, 32767, 1280).astype(np.int16).reshape(40, 32)
    dicom(tmp_path / "a.dcm", values.view(np.uint16), PixelRepresentation=1, BitsStored=16, HighBit=15)
    read = read_image(tmp_path / "a.dcm")
    assert (np.diff(read.ravel().astype(int)) >= 0).all()
    assert (read.min(), read.max()) == (0, 255)


@pytest.mark.parametrize("bits", [8, 10, 12, 13, 14, 15, 16])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_files_hold_any_number_of_bits(tmp_path, name: str, bits: int) -> None:
    share = np.linspace(0, 1, 2400).reshape(60, 40)
    Image.fromarray(np.rint(share * (2**bits - 1)).astype(np.uint16)).save(tmp_path / name)
    assert np.abs(read_image(tmp_path / name) - share * 255).max() <= 1


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize(("name", "bits"), [("a.png", 16), ("a.png", 12), ("a.tif", 12)])
def test_colours_of_sixteen_bits_keep_them(tmp_path, name: str, bits: int, alpha: bool) -> None:
    import cv2

    values = np.rint(np.linspace(0, 2**bits - 1, 2400)).astype(np.uint16).reshape(60, 40)
    opaque = [np.full_like(values, 65535)] if alpha else []
    cv2.imwrite(str(tmp_path / name), np.dstack([values, values, values, *opaque]))
    read = read_image(tmp_path / name)
    assert np.abs(read - values * (255 / (2**bits - 1))).max() <= 1


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(tmp_path, name: str, orientation: int) -> None:
    upright = np.zeros((64, 48), dtype=np.uint8)
    upright[:16, :], upright[:32, :16] = 120, 250  # no two of its eight positions look alike
    stored = {
        1: upright, 2: upright[:, ::-1], 3: np.rot90(upright, 2), 4: upright[::-1], 5: upright.T,
        6: np.rot90(upright), 7: np.rot90(upright, 2).T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / name, exif=exif)
    assert image_shape(tmp_path / name) == (48, 64)
    assert np.abs(read_image(tmp_path / name).astype(int) - upright).mean() < 4


def test_inverted_tiff_of_sixteen_bits(tmp_path) -> None:
    values = RAMP.astype(np.uint16) * 257
    Image.fromarray(values).save(tmp_path / "a.tif", tiffinfo={262: 0})
    assert (read_image(tmp_path / "a.tif") == 255 - RAMP).all()


def test_floats_in_a_tiff(tmp_path) -> None:
    Image.fromarray((RAMP / 255).astype(np.float32)).save(tmp_path / "a.tif")
    assert (read_image(tmp_path / "a.tif") == RAMP).all()
    Image.fromarray((RAMP / 252 * 6 - 3).astype(np.float32)).save(tmp_path / "b.tif")
    assert (read_image(tmp_path / "b.tif").min(), read_image(tmp_path / "b.tif").max()) == (0, 255)
