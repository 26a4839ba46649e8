"""The way through an archive: films stored, searched, retrieved and classified, objects stored and read back.

    python benchmarks/dicomweb.py [STUDIES]

Needs Orthanc with its DICOMweb plug-in (Debian packages orthanc and orthanc-dicomweb) and the extras dicomweb and
objects. Starts a server of its own on 127.0.0.1 in a temporary folder. Films are synthetic and the model is untrained.
Prints the seconds of each part, how many objects came back, and how many of them highdicom reads as what they are.
"""

from __future__ import annotations

import collections
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import highdicom
import pydicom
import requests
from dicom_objects import SYNTAXES, film, model
from dicomweb_client.web import DICOMwebClient

from medclip.inference.dicom_objects import KINDS
from medclip.runs.classify import classify
from medclip.runs.settings import ClassifyConfig

#: Orthanc decodes no JPEG 2000, and is asked for none.
AS_STORED = (("application/dicom", "*"),)
PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


@contextlib.contextmanager
def orthanc(folder: Path) -> Iterator[str]:
    """Yields the address of a DICOMweb service that nobody else can reach."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "Name": "benchmark", "StorageDirectory": str(folder), "IndexDirectory": str(folder), "Plugins": [PLUGIN],
        "HttpPort": port, "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "DicomServerEnabled": False,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log, subprocess.Popen(
        ["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log
    ) as server:  # fmt: skip
        try:
            for _ in range(100):
                with contextlib.suppress(requests.ConnectionError):
                    requests.get(f"http://127.0.0.1:{port}/system", timeout=5)
                    break
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/dicom-web"
        finally:
            server.terminate()


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - began:.1f} s")


def read_back(client: DICOMwebClient, films: dict[str, str]) -> collections.Counter[str]:
    """Returns how many objects of each kind came back and are read by highdicom, and refer to the film of the study."""
    counts: collections.Counter[str] = collections.Counter()
    for study, source in films.items():
        for data in client.retrieve_study(study, media_types=AS_STORED):
            kind = {"SR": "sr", "SEG": "seg"}.get(data.Modality, "film" if data.SOPInstanceUID == source else "sc")
            counts[kind] += 1
            if kind == "sr":
                report = highdicom.sr.ComprehensiveSR.from_dataset(data)
                counts["sr read"] += bool(report.content.get_image_measurement_groups())
            elif kind == "seg":
                seg = highdicom.seg.Segmentation.from_dataset(data)
                counts["seg read"] += seg.get_pixels_by_source_instance([source]).any()
            elif kind == "sc":
                counts["sc read"] += data.pixel_array.ndim == 3
            if kind != "film":
                counts[f"{kind} of the film"] += source in str(data)
    return counts


def main(studies: int = 100) -> None:
    """Runs the round trip with so many studies of one film each."""
    if shutil.which("Orthanc") is None or not Path(PLUGIN).is_file():
        raise SystemExit("Install the server: apt-get install orthanc orthanc-dicomweb")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for name in ("films", "orthanc"):
            (root / name).mkdir()
        for number in range(studies):
            film(root / "films" / f"{number:04d}.dcm", number, SYNTAXES[number % len(SYNTAXES)])
        model(root / "model")
        with orthanc(root / "orthanc") as url:
            client = DICOMwebClient(url)
            stored = [pydicom.dcmread(path) for path in sorted((root / "films").iterdir())]
            with timed(f"{studies} films stored"):
                for data in stored:
                    client.store_instances([data])
            with timed("searched, retrieved, classified, and objects stored"):
                answers = classify(
                    ClassifyConfig(
                        model=str(root / "model"), from_=f"dicomweb:{url}?StudyDate=20260101", send=f"dicomweb:{url}",
                        to=",".join(KINDS), show=["Pleural Effusion"], device="cpu", objects=str(root / "objects"),
                    )
                )  # fmt: skip
            print(f"answers: {len(answers.paths)}, not read: {len(answers.problems)}, objects stored: "
                  f"{len(answers.stored)}, refused: {len(answers.not_stored)}")  # fmt: skip
            with timed("objects searched and retrieved"):
                counts = read_back(client, {data.StudyInstanceUID: data.SOPInstanceUID for data in stored})
            print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
