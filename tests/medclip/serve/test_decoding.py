"""Files that are to hurt the service, and files that are not."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medclip.data.dicom_values import read_values
from medclip.data.grey import ImageError
from medclip.data.images import read_image
from medclip.serve.decoding import Decoder
from medclip.serve.decoding_worker import file_of
from tests.fixtures.dicom import dicom
from tests.fixtures.served import film


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    made = Decoder(workers=1, megapixels=1)
    yield made
    made.close()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_film_is_what_the_reader_of_training_reads(decoder, tmp_path: Path, kind: str) -> None:
    (tmp_path / "film").write_bytes(film(kind=kind))
    found = decoder.grey(film(kind=kind))
    assert np.array_equal(found.array, read_image(tmp_path / "film"))
    assert found.facts["dicom"] is False and (found.facts["full_width"], found.facts["full_height"]) == (40, 50)


def pixels() -> np.ndarray:
    return np.arange(2000, dtype=np.uint16).reshape(50, 40)


def test_dicom_has_levels_for_windows(decoder, tmp_path: Path) -> None:
    path = tmp_path / "film.dcm"
    dicom(path, pixels(), WindowCenter=500, WindowWidth=100, RescaleSlope=2, RescaleIntercept=-10)
    found = decoder.values(path.read_bytes())
    assert found.array.dtype == np.uint16
    values = found.facts["lowest"] + found.facts["step"] * found.array
    assert np.allclose(values, pixels() * 2.0 - 10, atol=found.facts["step"])
    assert (found.facts["low"], found.facts["high"], found.facts["inverted"]) == (450, 550, False)
    grey = decoder.grey(path.read_bytes())
    assert grey.facts["dicom"] is True and np.array_equal(grey.array, read_image(path))


def test_levels_without_a_window_span_what_is_no_padding(tmp_path: Path) -> None:
    dicom(tmp_path / "a", pixels(), PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0)
    found = read_values(tmp_path / "a")
    assert (found.low, found.high, found.inverted) == (1.0, 1999.0, True)
    dicom(tmp_path / "b", np.full((50, 40), 7))
    with pytest.raises(ImageError, match="same value"):
        read_values(tmp_path / "b")


def bomb() -> bytes:
    """Returns a DICOM file whose header unfolds to four gigabytes."""
    packed = zlib.compressobj(9, wbits=-15)
    part = packed.compress(bytes(1 << 24)) + packed.flush(zlib.Z_FULL_FLUSH)
    body = part * 256 + packed.flush()  # a part stands for itself, so it can be repeated
    syntax = b"1.2.840.10008.1.2.1.99"
    meta = b"\x02\0\x10\0UI" + len(syntax).to_bytes(2, "little") + syntax
    return bytes(128) + b"DICM\x02\0\0\0UL\x04\0" + len(meta).to_bytes(4, "little") + meta + body


def huge() -> bytes:
    file = io.BytesIO()
    Image.new("L", (1001, 1000)).save(file, "PNG")
    return file.getvalue()


def gif() -> bytes:
    file = io.BytesIO()
    Image.new("L", (64, 64)).save(file, "GIF")
    return file.getvalue()


HOSTILE = {
    "empty": (b"", "empty"),
    "text": (b"hello", "none of JPEG, PNG and DICOM"),
    "another format": (gif(), "none of JPEG, PNG and DICOM"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n", "none of JPEG, PNG and DICOM"),
    "cut off": (film(size=(200, 200))[:300], "not readable"),
    "too many pixels": (huge(), "more than this service takes"),
    "only a signature": (b"\x89PNG\r\n\x1a\n", "size cannot be read"),
    "dicom of noise": (bytes(128) + b"DICM" + bytes(range(256)) * 8, "cannot be read|not readable"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_bad_file_is_an_error_of_its_own(decoder, name: str) -> None:
    content, reason = HOSTILE[name]
    with pytest.raises(ImageError, match=reason):
        decoder.grey(content)
    assert decoder.grey(film()).array.shape == (50, 40)


def deflated(tmp_path: Path) -> bytes:
    """Returns a film as a deflated DICOM file."""
    from pydicom import dcmread
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    dicom(tmp_path / "film", pixels())
    data = dcmread(tmp_path / "film")
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(tmp_path / "deflated", enforce_file_format=True)
    return (tmp_path / "deflated").read_bytes()


def test_a_deflated_film_is_read_and_one_that_unfolds_without_end_is_not(decoder, tmp_path: Path) -> None:
    assert decoder.grey(deflated(tmp_path)).array.shape == (50, 40)
    with pytest.raises(ImageError, match="unfolds to more than 4 MB"):
        decoder.grey(bomb())
    broken = bytearray(deflated(tmp_path))
    broken[400:] = bytes(len(broken) - 400)
    with pytest.raises(ImageError, match=r"broken|cannot be read|not readable|decoded"):
        decoder.grey(bytes(broken))


@pytest.mark.slow
def test_a_file_whose_header_hides_that_it_unfolds_meets_the_limits_of_memory_and_time(decoder) -> None:
    content = bomb()
    hidden = content[:132] + content[144:]  # without the length of the header, which the check goes by
    with pytest.raises(ImageError, match=r"cannot be read|more memory|seconds"):
        decoder.grey(hidden)
    assert decoder.grey(film()).array.shape == (50, 40)


def test_a_file_that_takes_too_long_or_ends_its_process_is_an_error_of_its_own(monkeypatch) -> None:
    slow = Decoder(workers=1, seconds=0.0)
    with pytest.raises(ImageError, match="more than 0 seconds"):
        slow.grey(film())
    slow.close()
    quick = Decoder(workers=1)
    assert quick.grey(film()).array.shape == (50, 40)
    import multiprocessing

    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    assert quick.grey(film()).array.shape == (50, 40)  # by another process
    quick.close()


def test_a_film_lies_nowhere_after_it_was_decoded() -> None:
    with file_of(b"film") as path:
        assert path.read_bytes() == b"film"
    assert not path.exists()
