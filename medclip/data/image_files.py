"""Which files are images: by content where they are DICOM, which has no name of its own, and by suffix otherwise."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png", ".dcm", ".dicom", ".tif", ".tiff", ".bmp")
#: How files of other formats begin, whatever they are called.
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*", b"BM")
#: Groups with which a DICOM data set begins, little and big endian.
_GROUPS = (b"\x02\0", b"\x08\0", b"\0\x08")


def is_dicom(path: Path) -> bool:
    """Tells whether the file at `path` is to be read as DICOM.

    It is where it says so after its preamble; where it begins with an element of the first groups, as files do that
    came without preamble; or where it is called .dcm and is no picture.
    """
    with path.open("rb") as file:
        head = file.read(132)
    if head[128:132] == b"DICM":
        return True
    if head.startswith(_PICTURES):
        return False
    return path.suffix.lower() in (".dcm", ".dicom") or _begins_with_element(head)


def _begins_with_element(head: bytes) -> bool:
    """Tells whether `head` is an element of group 2 or 8: a tag, then two capitals or a length that fits."""
    if len(head) < 16 or head[:2] not in _GROUPS:
        return False
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return explicit or (head[0] != 0 and int.from_bytes(head[4:8], "little") <= 1024 and head[2:4] <= b"\xff\x30")


def find_images(folder: Path) -> Iterator[Path]:
    """Yields the image files below `folder` in order of their names; DICOM files need no suffix.

    Links that lead out of the folder are left out, and so is the index of a DICOM medium, DICOMDIR.
    """
    inside = folder.resolve()
    for path in sorted(folder.rglob("*")):
        if path.name == "DICOMDIR" or not path.is_file() or not path.resolve().is_relative_to(inside):
            continue
        if path.suffix.lower() in SUFFIXES or is_dicom(path):
            yield path


def by_name(
    files: Iterable[Path], *, origin: str, key: Callable[[Path], str] = lambda path: path.name
) -> dict[str, Path]:
    """Returns files by their names, the first of each; names that lie in several folders are said.

    Args:
        files: Files in the order in which they count.
        origin: The source, for the message.
        key: What a table calls a file.
    """
    found: dict[str, Path] = {}
    again = []
    for path in files:
        if found.setdefault(key(path), path) != path:
            again.append(path)
    if again:
        logger.warning(
            "%s: %d files have the name of one in another folder, and the first is used: %s is not, %s is",
            origin, len(again), again[0], found[key(again[0])],
        )  # fmt: skip
    return found


def spelled_as_on_disk(path: Path) -> Path:
    """Returns a path whose accents are spelled as on disk, where it is there in one spelling only.

    macOS stores "ö" as two signs, other systems as one, and either is carried to where it means another file.
    """
    if str(path).isascii():
        return path
    forms = (path, *(Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD")))
    return next((form for form in forms if form.exists()), path)
