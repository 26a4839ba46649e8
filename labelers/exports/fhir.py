"""FHIR R4: one Bundle a line, with a DiagnosticReport and an Observation for each finding.

Reference: https://hl7.org/fhir/R4/diagnosticreport.html and https://hl7.org/fhir/R4/observation.html. Status is
"preliminary": nobody has verified what a program read. Ids are made from the report's id and the place in its text, so
that the same report gives the same resources.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from labelers.exports._codes import concept
from labelers.findings import Finding

_CATEGORIES = "http://terminology.hl7.org/CodeSystem/observation-category"
_SECTIONS = "http://terminology.hl7.org/CodeSystem/v2-0074"
_INTERPRETATIONS = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
_INTERPRETATION = {
    "positive": ("POS", "Positive"),
    "negative": ("NEG", "Negative"),
    "uncertain": ("IND", "Indeterminate"),
}
_STUDY = {"system": "http://loinc.org", "code": "18748-4", "display": "Diagnostic imaging study"}
_MILLIMETRE = {"unit": "mm", "system": "http://unitsofmeasure.org", "code": "mm"}
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "http://hl7.org/fhir/DiagnosticReport")


def lines(report_id: str, text: str, findings: Sequence[Finding], *, labeler: str) -> str:
    """Returns one line: the Bundle of a report."""
    return json.dumps(bundle(report_id, findings, labeler=labeler), ensure_ascii=False) + "\n"


def bundle(report_id: str, findings: Sequence[Finding], *, labeler: str) -> dict[str, Any]:
    """Returns a Bundle of type "collection": the DiagnosticReport of a report and its Observations."""
    references = [_reference(report_id, i, finding) for i, finding in enumerate(findings)]
    report = {
        "resourceType": "DiagnosticReport",
        "identifier": [{"value": report_id}],
        "status": "preliminary",
        "category": [_coded(_SECTIONS, "RAD", "Radiology")],
        "code": {"coding": [_STUDY]},
    }
    if references:
        report["result"] = [{"reference": reference} for reference in references]
    entries = [{"fullUrl": _urn(report_id), "resource": report}]
    entries += [
        {"fullUrl": reference, "resource": observation(finding, labeler=labeler)}
        for reference, finding in zip(references, findings, strict=True)
    ]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def observation(finding: Finding, *, labeler: str) -> dict[str, Any]:
    """Returns the Observation of a finding."""
    code, display = _INTERPRETATION[finding.state]
    resource: dict[str, Any] = {
        "resourceType": "Observation",
        "status": "preliminary",
        "category": [_coded(_CATEGORIES, "imaging", "Imaging")],
        "code": concept("observations", finding.observation),
        "valueCodeableConcept": concept("states", finding.state),
        "interpretation": [_coded(_INTERPRETATIONS, code, display)],
        "note": [{"text": finding.said.sentence}],
        "device": {"display": labeler},
    }
    if finding.location:
        resource["bodySite"] = _body_site(finding)
    if components := list(_components(finding)):
        resource["component"] = components
    return resource


def _body_site(finding: Finding) -> dict[str, Any]:
    """Returns where the finding is; the side is a component too, for those who look for it alone."""
    codings = [coding for place in finding.location for coding in concept("location", place).get("coding", ())]
    words = " ".join(word for word in (finding.side, ", ".join(finding.location)) if word)
    return {"coding": codings, "text": words} if codings else {"text": words}


def _components(finding: Finding) -> Iterator[dict[str, Any]]:
    yield {"code": concept("kinds", "certainty"), "valueCodeableConcept": concept("certainty", finding.certainty)}
    for kind in ("side", "severity", "course"):
        value = getattr(finding, kind)
        if value:
            yield {"code": concept("kinds", kind), "valueCodeableConcept": concept(kind, value)}
    if finding.comparison:
        yield {"code": {"text": "comparison"}, "valueString": finding.comparison}
    if finding.size_low_mm is not None:
        ends = {"low": _length(finding.size_low_mm), "high": _length(finding.size_mm[0])}
        yield {"code": concept("kinds", "size"), "valueRange": ends}
        return
    for number in finding.size_mm:
        yield {"code": concept("kinds", "size"), "valueQuantity": _length(number)}


def _length(number: float) -> dict[str, Any]:
    return {"value": number, **_MILLIMETRE}


def _coded(system: str, code: str, display: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": display}]}


def _reference(report_id: str, position: int, finding: Finding) -> str:
    return _urn(f"{report_id}/{position}/{finding.observation}")


def _urn(name: str) -> str:
    return f"urn:uuid:{uuid.uuid5(_NAMESPACE, name)}"
