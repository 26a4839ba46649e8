"""Text files and members of archives as people have them: in several encodings, and never longer than a report is."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from labelers.errors import UserError
from medclip.data.excel import is_workbook, workbook_as_text

#: No report is longer, in bytes; a member of an archive that is would only fill the memory.
MAX_TEXT = 20_000_000
#: What texts are taken for that are no UTF-8: the Latin alphabet of Windows, of which Latin-1 is a part.
LATIN = "cp1252"
_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF8: "utf-8-sig",
          codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip
_NO_TEXTS = {b"%PDF": "a PDF", b"{\\rtf": "RTF", b"PK\x03\x04": "an archive or a Word document",
             b"\xd0\xcf\x11\xe0": "a Word document"}  # fmt: skip
#: Signs of that alphabet which stand between letters only where a text is of another one, such as DOS' or Mac's.
_MISREAD = re.compile(r"[^\W\d_][‚ƒ„“”†‡ˆ‰‹›˜™¤¦§¨¬¯¸¶][^\W\d_]|[a-zà-ÿ][ŠŽŸŒ][a-zà-ÿ]")
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


def decode_text(
    content: bytes, *, origin: str = "The text", encoding: str = "", seen: Counter[str] | None = None
) -> str:
    """Returns a text file's content as text with line ends as on Unix; bytes that are no UTF-8 are taken as `LATIN`.

    Args:
        content: The file's content.
        origin: The file, for messages.
        encoding: Its encoding, where it is known.
        seen: Counts the encodings met, for whoever reads many files to say so.

    Raises:
        UserError: It is not in that encoding, or can be none of those that are told by looking.
    """
    _check_encoding(encoding, content[:65536], origin)
    found = encoding or encoding_of(content[:4096])
    try:
        text = content.decode(found)
    except UnicodeDecodeError as error:
        if encoding:
            raise UserError(f"{origin} is not {encoding}: byte {error.start} cannot be read.") from error
        found, text = LATIN, _latin(content, origin)
    if seen is not None:
        seen[found] += 1
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _latin(content: bytes, origin: str) -> str:
    try:
        text = content.decode(LATIN)
    except UnicodeDecodeError:
        text = ""
    letters = sum(char.isalpha() for char in text[:4096])
    if not text or _MISREAD.search(text) or sum("\x80" <= char <= "\xff" for char in text[:4096]) > 0.4 * letters:
        raise UserError(f"{origin} is neither UTF-8 nor UTF-16 nor Latin text as Windows writes it. Save it as UTF-8.")
    return text


def read_text(path: Path, *, encoding: str = "", seen: Counter[str] | None = None) -> str:
    """Returns the text of a file, read no further than `MAX_TEXT`.

    Args:
        path: The file.
        encoding: Its encoding, where it is known.
        seen: Counts the encodings met.

    Raises:
        UserError: It is longer than any report, or no text.
    """
    with path.open("rb") as file:
        return _report_text(file.read(MAX_TEXT + 1), str(path), encoding, seen)


def read_stdin(*, encoding: str = "", seen: Counter[str] | None = None) -> str:
    """Returns all of standard input as one text.

    Args:
        encoding: Its encoding, where it is known.
        seen: Counts the encodings met.

    Raises:
        UserError: It is longer than any report, or no text.
    """
    if hasattr(sys.stdin, "buffer"):
        return _report_text(sys.stdin.buffer.read(MAX_TEXT + 1), "stdin", encoding, seen)
    return sys.stdin.read()


def read_member(archive: zipfile.ZipFile, name: str, *, encoding: str = "", seen: Counter[str] | None = None) -> str:
    """Returns the text of a member of `archive`, read no further than `MAX_TEXT`.

    Args:
        archive: The archive.
        name: The member.
        encoding: Its encoding, where it is known.
        seen: Counts the encodings met.

    Raises:
        UserError: It is longer than any report, whatever size the archive says; it is damaged, locked or no text.
    """
    try:
        with archive.open(name) as member:
            content = member.read(MAX_TEXT + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{name} in {archive.filename} cannot be unpacked ({error}).") from error
    return _report_text(content, f"{name} in {archive.filename}", encoding, seen)


def _report_text(content: bytes, origin: str, encoding: str, seen: Counter[str] | None = None) -> str:
    """Returns `content` decoded, after checks that it can be a report."""
    if len(content) > MAX_TEXT:
        raise UserError(f"{origin} is larger than {MAX_TEXT // 1_000_000} MB; no report is.")
    kind = next((kind for mark, kind in _NO_TEXTS.items() if content.startswith(mark)), "")
    sample = content[:4096].decode(encoding_of(content[:4096]), errors="replace")  # of any encoding, to see controls
    controls = sum(1 for _ in _CONTROLS.finditer(sample))
    if kind or "\0" in sample or controls > 0.01 * len(sample):
        raise UserError(f"{origin} is {kind or 'binary'}; expected plain text. Save the report as text in UTF-8.")
    return decode_text(content, origin=origin, encoding=encoding, seen=seen)


@contextmanager
def open_text(path: Path, origin: str, *, encoding: str = "") -> Iterator[TextIO]:
    """Opens a table or a file of JSON, gzipped or not, or an Excel workbook as CSV, each told by its content.

    What is wrong with it becomes a UserError.

    Args:
        path: The file.
        origin: The source, for messages.
        encoding: Its encoding, where that is neither UTF-8 nor UTF-16.
    """
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with _unzipped(path) as raw:
            head = raw.read(65536)
        _check_kind(head, path, origin)
        if head.startswith(b"PK\x03\x04"):
            yield workbook_as_text(path, origin)
            return
        _check_encoding(encoding, head, f"{origin}: {path}")
        with _unzipped(path) as raw:
            yield io.TextIOWrapper(raw, encoding=encoding or encoding_of(head), newline="")
    except UnicodeDecodeError:
        raise UserError(_not_in(encoding, path, origin)) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{origin}: {path} is cut off or damaged ({error}). Download it again.") from error
    except csv.Error as error:
        raise UserError(f"{origin}: {path} is no table ({error}).") from error
    finally:
        csv.field_size_limit(limit)


def is_gzip(path: Path) -> bool:
    """Tells by its content whether the file at `path` is compressed by gzip, whatever it is called."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _unzipped(path: Path) -> Any:
    return gzip.open(path, "rb") if is_gzip(path) else path.open("rb")


def _check_kind(head: bytes, path: Path, origin: str) -> None:
    """Refuses what is no text, by how it begins; an Excel workbook of today is let through."""
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise UserError(
            f"{origin}: {path} is an Excel workbook of the old kind (.xls), or one with a password. Save it in Excel "
            "as 'CSV UTF-8' or as .xlsx, without a password, and name that file."
        )
    if head.startswith(b"PK\x03\x04") and not is_workbook(path):
        what = "an OpenDocument sheet; save it as CSV" if path.suffix.lower() == ".ods" else "a zip archive; unpack it"
        raise UserError(f"{origin}: {path} is {what}.")
    if head.startswith(b"PAR1"):
        raise UserError(f"{origin}: {path} is a Parquet file. Give it a name that ends in .parquet.")


def _check_encoding(encoding: str, head: bytes, origin: str) -> None:
    """Checks that an encoding is one, and that it does not garble a text that says itself what it is."""
    if not encoding:
        return
    try:
        b"a".decode(encoding, errors="replace")
    except LookupError as error:
        raise UserError(f"{encoding!r} is no encoding of texts. Usual ones: utf-8, cp1252, utf-16.") from error
    wanted, found = (_unicode_width(name) for name in (encoding, encoding_of(head)))
    if (found != "8" or _is_utf8(head)) and wanted != found:
        raise UserError(f"{origin} is UTF-{found}, not {encoding}. Leave the encoding out.")
    if codecs.lookup(encoding).name in (LATIN, "iso8859-1") and _MISREAD.search(head.decode(LATIN, errors="replace")):
        raise UserError(
            f"{origin} is not {encoding}: it would have quotation marks and the like within words. Is it of DOS "
            "(cp850) or an old Mac (mac-roman)?"
        )


def _unicode_width(encoding: str) -> str:
    """Returns 8, 16 or 32 for the encodings of Unicode, and nothing for others."""
    found = re.match(r"utf-(8|16|32)", codecs.lookup(encoding).name)
    return found[1] if found else ""


def _is_utf8(head: bytes) -> bool:
    """Tells whether bytes, perhaps cut within a character, are UTF-8 that is more than ASCII."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return not head.isascii()


def _not_in(encoding: str, path: Path, origin: str) -> str:
    """Returns the message for a file that is not in UTF-8, or not in the encoding that was named."""
    with _unzipped(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode(encoding or "utf-8")
            except UnicodeDecodeError as error:
                where = f"line {number} holds the byte 0x{line[error.start]:02x}"
                break
        else:
            where = "it ends within a character"
    if encoding:
        return f"{origin}: {path} is not {encoding}: {where}. Name its encoding, or save it as UTF-8."
    known = {"csv": "; or say that it is: --source-options '{csv: {encoding: cp1252}}'",
             "reports": "; or say that it is: --encoding cp1252"}.get(origin, "")  # fmt: skip
    return (
        f"{origin}: {path} is not UTF-8: {where}. Save it as UTF-8 (Excel: 'CSV UTF-8'); if it is Windows' Latin "
        f"alphabet, with: iconv -f CP1252 -t UTF-8 {path.name}{known}"
    )
