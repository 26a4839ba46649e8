"""Text files and members of archives as people have them: in several encodings, and never longer than a report is."""

from __future__ import annotations

import codecs
import re
import sys
import zipfile
import zlib
from pathlib import Path

from labelers.errors import UserError

#: No report is longer, in bytes; a member of an archive that is would only fill the memory.
MAX_TEXT = 20_000_000
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_NO_TEXTS = {b"%PDF": "a PDF", b"{\\rtf": "RTF", b"PK\x03\x04": "an archive or a Word document",
             b"\xd0\xcf\x11\xe0": "a Word document"}  # fmt: skip
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b]")


def encoding_of(head: bytes) -> str:
    """Returns the encoding of a text that begins with `head`: by its mark, or UTF-16 by its zero bytes, or UTF-8."""
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return name
    for start, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = head[start::2], head[1 - start :: 2]
        if len(head) >= 4 and zeros.count(0) > 0.8 * len(zeros) and others.count(0) < 0.2 * len(others):
            return name
    return "utf-8"


def decode_text(content: bytes) -> str:
    """Returns a text file's content as text with line ends as on Unix; bytes that are no UTF-8 are taken as Latin."""
    encoding = encoding_of(content[:4096])
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_text(path: Path) -> str:
    """Returns the text of a file, read no further than `MAX_TEXT`.

    Raises:
        UserError: It is longer than any report, or no text.
    """
    with path.open("rb") as file:
        return _report_text(file.read(MAX_TEXT + 1), str(path))


def read_stdin() -> str:
    """Returns all of standard input as one text.

    Raises:
        UserError: It is longer than any report, or no text.
    """
    if hasattr(sys.stdin, "buffer"):
        return _report_text(sys.stdin.buffer.read(MAX_TEXT + 1), "stdin")
    return sys.stdin.read()


def read_member(archive: zipfile.ZipFile, name: str) -> str:
    """Returns the text of a member of `archive`, read no further than `MAX_TEXT`.

    Raises:
        UserError: It is longer than any report, whatever size the archive says; it is damaged, locked or no text.
    """
    try:
        with archive.open(name) as member:
            content = member.read(MAX_TEXT + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{name} in {archive.filename} cannot be unpacked ({error}).") from error
    return _report_text(content, f"{name} in {archive.filename}")


def _report_text(content: bytes, origin: str) -> str:
    """Returns `content` decoded, after checks that it can be a report."""
    if len(content) > MAX_TEXT:
        raise UserError(f"{origin} is larger than {MAX_TEXT // 1_000_000} MB; no report is.")
    kind = next((kind for mark, kind in _NO_TEXTS.items() if content.startswith(mark)), "")
    text = decode_text(content)
    controls = sum(1 for _ in _CONTROLS.finditer(text))
    if kind or "\0" in text or controls > 0.01 * len(text):
        raise UserError(f"{origin} is {kind or 'binary'}; expected plain text. Save the report as text in UTF-8.")
    letters = sum(char.isalpha() for char in text[:4096])
    if sum("\x80" <= char <= "\xff" for char in text[:4096]) > 0.4 * letters:
        raise UserError(f"{origin} is neither UTF-8 nor UTF-16 nor Latin text. Save it as UTF-8.")
    return text
