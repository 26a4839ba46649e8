"""Answers as DICOM objects that an archive stores beside the study: structured report, segmentation, picture.

A report follows template TID 1500 (DICOM PS3.16): observed by a device, one group for each observation with its score
and, where a threshold is known, its state. All objects refer to the image they are derived from, keep its patient and
study, and say that they are for research only. Written with highdicom.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelers.errors import UserError
from labelers.exports._codes import codings_of
from medclip import __version__
from medclip.inference.drawing import with_text
from medclip.utils.extras import install

if TYPE_CHECKING:
    from pydicom import Dataset

KINDS = ("sr", "seg", "sc")
NOTE = "Research use only, not a diagnosis"
_MANUFACTURER = "MedCLIP"
_SCHEME = "99MEDCLIP"
_SCHEMES = {"http://snomed.info/sct": "SCT", "http://www.radlex.org": "RADLEX"}
#: Observations that are things, not findings of the body.
_OBJECTS = (
    "Support Devices",
    "Foreign Body",
    "Endotracheal Tube",
    "Central Venous Catheter",
    "Pacemaker",
    "Chest Tube",
)
#: What a report or a picture cannot be written without.
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")


@dataclass(frozen=True)
class Maker:
    """What gave the answers.

    Attributes:
        model: Name of the model.
        prompts: Prompt set that it was asked with.
        uid: UID of the model: the same for the same weights.
    """

    model: str
    prompts: str
    uid: str


@dataclass(frozen=True)
class Answer:
    """An answer about one observation.

    Attributes:
        observation: Its name.
        score: Probability where it is calibrated, else a value to rank by.
        threshold: Probability from which on it counts as present; None where nothing was calibrated.
    """

    observation: str
    score: float
    threshold: float | None = None


def maker_of(model: str, weights: Path | None, prompts: str) -> Maker:
    """Returns what answers, with a UID by the content of its weights file."""
    digest = hashlib.blake2b(digest_size=16)
    if weights is not None:
        with weights.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return Maker(Path(model).name, prompts, f"2.25.{int.from_bytes(digest.digest(), 'big')}")


def check_packages() -> None:
    """Checks that DICOM objects can be written.

    Raises:
        ImportError: Highdicom is not installed; the message says how.
    """
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise ImportError(f"Writing DICOM objects needs an extra package: {install('objects')} ({error})") from error


def read_source(path: str | Path) -> Dataset:
    """Returns the data set of a DICOM file, without its pixels, that objects can refer to.

    Raises:
        UserError: It is no DICOM file, or lacks a UID that a reference needs.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        source = pydicom.dcmread(path, stop_before_pixels=True)
    except InvalidDicomError:  # perhaps only the preamble is missing
        source = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        if "SOPClassUID" not in source:
            raise UserError("no DICOM file, so no DICOM object can refer to it") from None
    if missing := [name for name in _NEEDED if not source.get(name)]:
        raise UserError(f"has no {', '.join(missing)}, so no DICOM object can refer to it")
    # What objects take over must be there, though it may be empty (type 2 in PS3.3).
    for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
                 "AccessionNumber", "ReferringPhysicianName"):  # fmt: skip
        if name not in source:
            setattr(source, name, None)
    return source


def structured_report(source: Dataset, answers: Sequence[Answer], maker: Maker) -> Dataset:
    """Returns a report by template TID 1500: a group for each answer, about the whole image."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    device = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=maker.uid, name=_short(maker.model), manufacturer_name=_MANUFACTURER,
            model_name=_short(f"{maker.model}, {maker.prompts}"), serial_number=__version__,
        ),
    )  # fmt: skip
    algorithm = sr.AlgorithmIdentification(
        name=maker.model, version=__version__, parameters=[f"prompts {maker.prompts}"]
    )
    image = sr.SourceImageForMeasurementGroup(
        referenced_sop_class_uid=source.SOPClassUID, referenced_sop_instance_uid=source.SOPInstanceUID
    )
    groups = [
        sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=sr.TrackingIdentifier(uid=_new_uid(), identifier=_short(answer.observation)),
            finding_type=_finding(answer.observation),
            source_images=[image],
            algorithm_id=algorithm,
            measurements=[_measured(answer)],
            qualitative_evaluations=_state(answer),
        )
        for answer in answers
    ]
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=device),
        procedure_reported=sr.CodedConcept("399208008", "SCT", "Plain chest X-ray"),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    return _finished(sr.ComprehensiveSR(
        evidence=[source], content=content, series_number=9001, series_description=f"{_MANUFACTURER}: {NOTE}",
        manufacturer=_MANUFACTURER, is_complete=True, is_final=False, is_verified=False, **_instance(),
    ), source)  # fmt: skip


def segmentation(source: Dataset, regions: Mapping[str, np.ndarray], maker: Maker) -> Dataset:
    """Returns a binary segmentation whose segments are the regions of an image that are most like each observation.

    Args:
        source: The image, see `read_source`.
        regions: By observation, booleans (height, width) in pixels of the image.
        maker: What found them.
    """
    from highdicom import AlgorithmIdentificationSequence, seg
    from pydicom.sr.codedict import codes

    algorithm = AlgorithmIdentificationSequence(
        name=maker.model, version=__version__, family=codes.DCM.ArtificialIntelligence,
        parameters={"prompts": maker.prompts, "note": NOTE},
    )  # fmt: skip
    described = [
        seg.SegmentDescription(
            segment_number=number, segment_label=_short(name),
            segmented_property_category=(
                codes.SCT.PhysicalObject if name in _OBJECTS else codes.SCT.MorphologicallyAbnormalStructure
            ),
            segmented_property_type=_finding(name), algorithm_type=seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm, tracking_uid=_new_uid(), tracking_id=_short(name),
        )
        for number, name in enumerate(regions, start=1)
    ]  # fmt: skip
    pixels = np.stack(list(regions.values()), axis=-1)[None].astype(np.uint8)
    return _finished(seg.Segmentation(
        source_images=[source], pixel_array=pixels, segmentation_type=seg.SegmentationTypeValues.BINARY,
        segment_descriptions=described, series_number=9002, series_description=f"{_MANUFACTURER}: {NOTE}",
        content_description="Regions most like a text", manufacturer=_MANUFACTURER,
        manufacturer_model_name=_short(maker.model), software_versions=__version__,
        device_serial_number=__version__, omit_empty_frames=False, **_instance(),
    ), source)  # fmt: skip


def secondary_capture(source: Dataset, picture: np.ndarray, lines: Sequence[str]) -> Dataset:
    """Returns a picture (height, width, 3), with lines of text and the note that it is for research written into it."""
    from highdicom.sc import SCImage
    from pydicom import Dataset, Sequence
    from pydicom.uid import RLELossless

    made = _finished(SCImage.from_ref_dataset(
        ref_dataset=source, pixel_array=with_text(picture, [*lines, f"{_MANUFACTURER}. {NOTE}."]),
        photometric_interpretation="RGB", bits_allocated=8, coordinate_system="PATIENT", series_number=9003,
        patient_orientation=("L", "F"), manufacturer=_MANUFACTURER, transfer_syntax_uid=RLELossless,
        series_description=f"{_MANUFACTURER}: {NOTE}", **_instance(),
    ), source)  # fmt: skip
    film = Dataset()
    film.ReferencedSOPClassUID, film.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    made.SourceImageSequence = Sequence([film])
    return made


def _finished(made: Any, source: Dataset) -> Dataset:
    """Returns an object with what validators ask for beside what highdicom writes."""
    from pydicom import Dataset, Sequence

    scheme = Dataset()
    scheme.CodingSchemeDesignator, scheme.CodingSchemeName = _SCHEME, "Codes of the MedCLIP package"
    scheme.CodingSchemeResponsibleOrganization = _MANUFACTURER
    made.CodingSchemeIdentificationSequence = Sequence([scheme])
    if "Rows" in made:
        # A chest has no side of its own, and how a film lies is unknown unless its own header says.
        made.PatientOrientation = source.get("PatientOrientation", "")
        made.BodyPartExamined = source.get("BodyPartExamined") or "CHEST"
    return made  # type: ignore[no-any-return]


def _instance() -> dict[str, Any]:
    return {"series_instance_uid": _new_uid(), "sop_instance_uid": _new_uid(), "instance_number": 1}


def _new_uid() -> str:
    return f"2.25.{uuid.uuid4().int}"


def _short(text: str) -> str:
    """Returns a text that fits into 64 characters."""
    return text[:64]


def _finding(observation: str) -> Any:
    """Returns the code of an observation: SNOMED CT, else RadLex, else one of this package."""
    from highdicom.sr import CodedConcept

    for coding in codings_of("observations", observation):
        return CodedConcept(coding["code"], _SCHEMES[coding["system"]], _short(coding["display"]))
    own = "".join(part[:5].upper() for part in observation.split())[:16]
    return CodedConcept(own, _SCHEME, _short(observation))


def _measured(answer: Answer) -> Any:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    name = (
        sr.CodedConcept("SCORE", _SCHEME, "Score to rank images by, no probability")
        if answer.threshold is None
        else sr.CodedConcept("PROBABILITY", _SCHEME, "Calibrated probability")
    )
    return sr.Measurement(name=name, value=round(float(answer.score), 4), unit=codes.UCUM.NoUnits)


def _state(answer: Answer) -> list[Any] | None:
    """Returns whether the observation is present, where a threshold tells."""
    if answer.threshold is None:
        return None
    from highdicom import sr

    code = ("52101004", "Present") if answer.score >= answer.threshold else ("2667000", "Absent")
    name = sr.CodedConcept("STATE", _SCHEME, "State of the observation")
    return [sr.QualitativeEvaluation(name=name, value=sr.CodedConcept(code[0], "SCT", code[1]))]
