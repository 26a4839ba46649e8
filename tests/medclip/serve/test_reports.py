from __future__ import annotations

import pytest

from labelers.errors import UserError
from medclip.serve.reports import read_as_fhir, read_report

ENGLISH = (
    "INDICATION: Edema?\nFINDINGS: The heart is mildly enlarged. No pneumothorax.\nIMPRESSION: Possible pneumonia."
)
CHINESE = "检查所见：心影增大。未见胸腔积液。"


def test_an_english_report_is_read_with_the_places_of_everything() -> None:
    found = read_report(ENGLISH)
    assert found["states"] == {"Cardiomegaly": 1, "Pneumonia": -1, "Pneumothorax": 0}
    assert [(one["name"], one["read"]) for one in found["sections"]] == [
        ("indication", False), ("findings", True), ("impression", True),
    ]  # fmt: skip
    heart, air, lung = found["findings"]
    assert ENGLISH[slice(*heart["span"])] == "heart is mildly enlarged"
    assert [(one["kind"], ENGLISH[slice(*one["span"])]) for one in heart["attributes"]] == [("severity", "mildly")]
    assert (ENGLISH[slice(*air["cue_span"])], air["state"]) == ("No", "negative")
    assert (ENGLISH[slice(*lung["cue_span"])], lung["certainty"]) == ("Possible", "possible")


def test_a_chinese_report_is_known_by_its_letters() -> None:
    found = read_report(CHINESE)
    assert found["labeler"] == "rules/chexpert14-zh"
    assert found["states"] == {"Cardiomegaly": 1, "Pleural Effusion": 0}
    assert read_report(CHINESE, "chexpert14")["states"] == {}


def test_places_are_those_of_the_text_as_it_was_sent() -> None:
    text = "\ufeffFINDINGS:\r\nThe \ufb01brosis. \u201cNo pneumo-\r\nthorax\u201d. 😀 The heart is enlarged."
    words = {one["observation"]: text[slice(*one["span"])] for one in read_report(text)["findings"]}
    assert words["Cardiomegaly"] == "heart is enlarged"
    assert words["Pneumothorax"].startswith("pneumo-")


def test_a_report_is_a_bundle_of_fhir() -> None:
    bundle = read_as_fhir(ENGLISH)
    kinds = [entry["resource"]["resourceType"] for entry in bundle["entry"]]
    assert kinds == ["DiagnosticReport"] + ["Observation"] * 3


def test_what_is_no_report_is_refused() -> None:
    with pytest.raises(UserError, match="nothing but blanks"):
        read_report("   ")
    with pytest.raises(UserError, match="50,001 characters"):
        read_report("a" * 50_001)
    with pytest.raises(UserError, match="looks German, and chexpert14 reads English"):
        read_report("Herz nicht vergrößert. Kein Erguss. Kein Pneumothorax.")
    with pytest.raises(UserError, match="no vocabulary 'none'"):
        read_report("Edema.", "none")
