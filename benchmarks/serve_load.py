"""The service under load: page weight, time to the first answer, 50 requests at once, 30 hostile uploads, 200 films.

    PYTHONPATH=. python benchmarks/serve_load.py RUN [--size 2048]

Starts medclip-serve as a process of its own, on a free port. Films are noisy PNG files of SIZE x SIZE pixels. After
each hostile upload a good film must be answered.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import resource
import subprocess
import sys
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from medclip.serve.app import STATIC
from medclip.sources.phantom.radiograph import draw_radiograph

_START = "import sys; from medclip.cli.serve import main; main()"
_PNG = b"\x89PNG\r\n\x1a\n"


class Client:
    """Sends forms to a service."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("GET", path)
        return connection.getresponse().read()

    def post(self, path: str, *files: bytes, name: str = "film", **fields: str) -> tuple[int, dict[str, object]]:
        edge = "medclip-edge"
        parts = [
            f'--{edge}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
            for key, value in fields.items()
        ]
        for content in files:
            head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
            parts.append(head.encode() + content + b"\r\n")
        return self.send(path, b"".join(parts) + f"--{edge}--\r\n".encode(), f"multipart/form-data; boundary={edge}")

    def send(self, path: str, body: bytes, kind: str) -> tuple[int, dict[str, object]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("POST", path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def png_of(width: int, height: int, data: bytes) -> bytes:
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\0\0\0\0"
    return _PNG + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def element(group: int, number: int, kind: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    long = kind in (b"OB", b"OW", b"SQ", b"UN")
    length = b"\0\0" + len(value).to_bytes(4, "little") if long else len(value).to_bytes(2, "little")
    return group.to_bytes(2, "little") + number.to_bytes(2, "little") + kind + length + value


def dicom_of(body: bytes, syntax: bytes = b"1.2.840.10008.1.2.1") -> bytes:
    uid = element(2, 0x10, b"UI", syntax)
    return bytes(128) + b"DICM" + element(2, 0, b"UL", len(uid).to_bytes(4, "little")) + uid + body


def header(
    rows: int, columns: int, *, bits: int = 16, frames: bytes = b"", photometric: bytes = b"MONOCHROME2"
) -> bytes:
    short = lambda value: value.to_bytes(2, "little")  # noqa: E731
    parts = [
        (0x08, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.1"), (0x10, 0x10, b"PN", b"Secret^Patient"),
        (0x28, 0x02, b"US", short(1)), (0x28, 0x04, b"CS", photometric), (0x28, 0x08, b"IS", frames or b"1"),
        (0x28, 0x10, b"US", short(rows)), (0x28, 0x11, b"US", short(columns)), (0x28, 0x100, b"US", short(bits)),
        (0x28, 0x101, b"US", short(bits)), (0x28, 0x102, b"US", short(bits - 1)), (0x28, 0x103, b"US", short(0)),
    ]  # fmt: skip
    return b"".join(element(*part) for part in parts)


def nested(depth: int) -> bytes:
    """Returns a sequence in a sequence in a sequence, of undefined lengths."""
    begin = b"\x08\0\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return begin * depth


def hostile(good: bytes) -> dict[str, bytes]:
    """Returns 30 files that are no radiographs, by what is wrong with them."""
    noise = np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    part = zlib.compressobj(9, wbits=-15)
    block = part.compress(bytes(1 << 24)) + part.flush(zlib.Z_FULL_FLUSH)
    pixels = element(0x7FE0, 0x10, b"OW", noise[:2000])
    jpeg = io.BytesIO()
    Image.fromarray(np.zeros((64, 64), dtype=np.uint8)).save(jpeg, "JPEG")
    frames = io.BytesIO()
    pictures = [Image.fromarray(np.full((64, 64), grey, dtype=np.uint8)) for grey in (0, 9)]
    pictures[0].save(frames, "PNG", save_all=True, append_images=pictures[1:])
    wrapped = element(0x7FE0, 0x10, b"OB", b"\xfe\xff\x00\xe0" + noise[:500])
    return {
        "empty": b"", "one byte": b"\0", "text": b"hello " * 500, "zeros": bytes(100_000), "noise": noise,
        "html": b"<!doctype html><script>alert(1)</script>", "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "zip": b"PK\x03\x04" + noise, "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n",
        "pdf": b"%PDF-1.7\n",
        "tiff": b"II*\0" + noise, "png signature": _PNG, "png cut off": good[: len(good) // 3],
        "png with a bit turned": good[:300] + bytes([good[300] ^ 255]) + good[301:],
        "png of 4 gigapixels": png_of(65_535, 65_535, zlib.compress(b"")),
        "png that unfolds to more than it says": png_of(64, 64, zlib.compress(bytes(50_000_000), 9)),
        "png without data": png_of(64, 64, b""), "png of one grey": png(np.full((64, 64), 7, dtype=np.uint8)),
        "png of several frames": frames.getvalue(), "png of 2 pixels": png(np.eye(2, dtype=np.uint8)),
        "png as thin as a hair": png(np.tile(np.arange(8, dtype=np.uint8), (2000, 1))),
        "jpeg cut off": jpeg.getvalue()[:200], "jpeg signature and noise": b"\xff\xd8\xff" + noise,
        "dicom without pixels": dicom_of(header(64, 64)),
        "dicom with too few pixels": dicom_of(header(64, 64) + pixels),
        "dicom of 4 gigapixels": dicom_of(header(65_535, 65_535) + pixels),
        "dicom of a million frames": dicom_of(header(16, 16, frames=b"1000000") + pixels),
        "dicom of broken JPEG 2000": dicom_of(header(64, 64) + wrapped, b"1.2.840.10008.1.2.4.90"),
        "dicom of 100,000 nested sequences": dicom_of(nested(100_000)),
        "dicom that unfolds to 4 GB": dicom_of(block * 256, b"1.2.840.10008.1.2.1.99"),
    }  # fmt: skip


def weight() -> None:
    sizes = [(len(path.read_bytes()), len(zlib.compress(path.read_bytes(), 9))) for path in STATIC.iterdir()]
    total, packed = map(sum, zip(*sizes, strict=True))
    print(
        f"page: {len(sizes)} files, {total / 1000:.0f} kB ({packed / 1000:.0f} kB compressed), nothing from elsewhere"
    )


def at_once(client: Client, films: list[bytes], count: int) -> None:
    """Prints how `count` requests of one film fare that come at the same time."""

    def ask(number: int) -> tuple[int, float]:
        before = time.perf_counter()
        status, _ = client.post("/api/classify", films[number % len(films)])
        return status, time.perf_counter() - before

    before = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(ask, range(count)))
    wall = time.perf_counter() - before
    seconds = sorted(second for _, second in answers)
    print(
        f"{count} requests at once: {wall:.2f} s in all, {count / wall:.1f} a second; each {seconds[count // 2]:.2f} s "
        f"(median), {seconds[-1]:.2f} s (longest); {dict(Counter(status for status, _ in answers))}"
    )


def attack(client: Client, good: bytes) -> None:
    print("hostile uploads, each followed by a good film:")
    failed = 0
    for name, content in hostile(good).items():
        before = time.perf_counter()
        status, said = client.post("/api/films", content, name="../../etc/<b>passwd\x00.png")
        seconds = time.perf_counter() - before
        rows = said.get("films")
        error = rows[0].get("error") if isinstance(rows, list) else said.get("error")
        after, answer = client.post("/api/classify", good)
        alive = after == 200 and "answers" in answer["films"][0]  # type: ignore[index]
        failed += not alive or error is None
        said_of_it = (error or "ACCEPTED") + ("" if alive else " - AND THE SERVICE FAILED")
        print(f"  {name:40} {len(content):>10,} B {seconds:6.2f} s {status} {said_of_it[:110]}")
    print(f"  {failed} of {len(hostile(good))} without an error of their own")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--size", type=int, default=1024)
    given = parser.parse_args()
    films = [png(draw_radiograph(5, number, size=given.size)) for number in range(8)]
    weight()
    before = time.perf_counter()
    words = [sys.executable, "-c", _START, given.run, "--port", "0", "--device", "cpu"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        client = Client(int(address.rsplit(":", 1)[1].strip("/")))
        ready = time.perf_counter() - before
        client.get("/")
        client.post("/api/classify", films[0])
        print(f"ready after {ready:.1f} s, first answer after {time.perf_counter() - before:.1f} s")
        before = time.perf_counter()
        client.post("/api/classify", films[1])
        print(f"one film of {given.size} x {given.size}: {time.perf_counter() - before:.3f} s")
        at_once(client, films, 50)
        before = time.perf_counter()
        for _ in range(25):
            client.post("/api/films", *films)
        print(f"200 films in requests of 8: {time.perf_counter() - before:.1f} s")
        attack(client, films[0])
        peak = Path(f"/proc/{process.pid}/status")
        if peak.is_file():
            print(
                "memory of the service:",
                next(line for line in peak.read_text().splitlines() if line.startswith("VmHWM")),
            )
        process.terminate()
        said = process.stderr.read() if process.stderr else ""
        print("patients in what the service printed:", "Secret" in said, "; lines:", len(said.splitlines()))
    print("memory of the largest process:", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1000, "MB")


if __name__ == "__main__":
    main()
