"""DICOM objects about films in every transfer syntax that is read, checked by a validator that is not ours.

    python benchmarks/dicom_objects.py [FILMS]

Needs dciodvfy (Debian package dicom3tools). Films are synthetic and the model is untrained: the objects are checked.
Prints objects, errors and kinds of warnings by kind of object, and how many films of each syntax were answered.
"""

from __future__ import annotations

import collections
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from medclip.inference.dicom_objects import KINDS
from medclip.models import MedCLIPProcessor
from medclip.models.model import build_model
from medclip.models.processor import train_tokenizer
from medclip.runs.classify import classify
from medclip.runs.settings import ClassifyConfig
from medclip.sources.phantom.radiograph import draw_radiograph

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless)


def film(path: Path, number: int, syntax: UID) -> None:
    """Writes one synthetic film as 12-bit computed radiography, of a patient and study of its own."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, UID("1.2.840.10008.5.1.4.1.1.1")
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.PatientName, data.PatientID, data.PatientSex, data.PatientBirthDate = f"Phantom^{number}", str(number), "O", ""
    data.StudyDate, data.StudyTime, data.StudyID, data.AccessionNumber = "20260101", "120000", str(number), str(number)
    data.ReferringPhysicianName, data.Modality, data.Manufacturer = "", "CR", "phantom"
    data.SeriesNumber, data.InstanceNumber = 1, 1
    pixels = draw_radiograph(0, number, size=96).astype(np.uint16) * 16
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = pixels.tobytes()
    if syntax.is_compressed:
        data.compress(syntax, generate_instance_uid=False)
    else:
        data.file_meta.TransferSyntaxUID = syntax
    data.save_as(path, enforce_file_format=True)


def model(folder: Path) -> None:
    """Writes a small untrained model."""
    tokenizer = train_tokenizer(["No pleural effusion.", "The heart is enlarged."])
    build_model(vision="tiny", text="tiny", vocab_size=len(tokenizer), projection_dim=16).save_pretrained(folder)
    MedCLIPProcessor(tokenizer, image_size=64).save_pretrained(folder)


def main(films: int = 100) -> None:
    """Writes films, answers and objects into a temporary folder, and validates them."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "films").mkdir()
        for number in range(films):
            film(root / "films" / f"{number:04d}.dcm", number, SYNTAXES[number % len(SYNTAXES)])
        model(root / "model")
        answers = classify(
            ClassifyConfig(
                model=str(root / "model"), files=[str(root / "films")], to=",".join(KINDS), device="cpu",
                objects=str(root / "objects"), show=["Pleural Effusion", "Support Devices"],
            )
        )  # fmt: skip
        answered = collections.Counter(
            pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID.name for path in answers.paths
        )
        print("films answered:", ", ".join(f"{name} {count}" for name, count in answered.items()))
        print("films refused:", answers.problems or "none")
        said: dict[str, collections.Counter[str]] = {}
        for path in answers.objects:
            kind = pydicom.dcmread(path, stop_before_pixels=True).SOPClassUID.name
            lines = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False).stderr
            found = said.setdefault(kind, collections.Counter())
            found["objects"] += 1
            for line in lines.splitlines():
                if line.startswith(("Error", "Warning")):
                    found[line.split(" - ")[0].lower()] += 1
                    found[line] += 0
        for kind, counts in said.items():
            print(f"{kind}: {counts['objects']} objects, {counts['error']} errors, {counts['warning']} warnings")
            for line in (text for text in counts if text.startswith(("Error", "Warning"))):
                print(f"    {line}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
