"""What every export must do, and what each says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from labelers.exports import export_names, load_export
from labelers.exports.fhir import bundle
from labelers.exports.radgraph import radgraph
from labelers.findings import record_of
from labelers.lexicon_files import LEXICON
from labelers.rules import RuleLabeler
from labelers.vocabulary import load_vocabulary

LABELER = RuleLabeler("cxr50")
REPORT = """FINDINGS: Small left pleural effusion, unchanged since the prior study. No "pneumothorax". Nodules of 3-4 mm
in the right upper lobe. Probable 2 x 1.5 cm mass.\nIMPRESSION: Severe scoliosis. Pneumonia cannot be excluded."""


def exported(name: str, text: str = REPORT) -> str:
    return load_export(name)('s/1 "é"', text, LABELER.findings(text), labeler=LABELER.name)


@pytest.mark.parametrize("name", export_names())
def test_every_export_gives_whole_lines_of_json_that_never_change(name: str) -> None:
    lines = exported(name)
    assert lines.endswith("\n")
    assert lines == exported(name)
    for line in lines.splitlines():
        assert 's/1 "é"' in json.dumps(json.loads(line), ensure_ascii=False).replace('\\"', '"')
    assert load_export(name)("empty", "", [], labeler="x").count("\n") <= 1


def test_an_unknown_format_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="no format 'xml' for findings"):
        load_export("xml")


def test_json_lines_are_the_records() -> None:
    records = [json.loads(line) for line in exported("jsonl").splitlines()]
    expected = [{"id": 's/1 "é"'} | json.loads(json.dumps(record_of(f))) for f in LABELER.findings(REPORT)]
    assert records == expected
    assert list(records[0]) == list(expected[0])


def test_every_field_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "findings.md").read_text(encoding="utf-8")
    for field in json.loads(exported("jsonl").splitlines()[0]):
        assert f"`{field}`" in text


def test_observations_without_a_code_are_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "findings.md").read_text(encoding="utf-8")
    listed = text.partition("are exported by name:\n")[2].partition(".\n")[0].replace("\n", " ")
    vocabulary = load_vocabulary("cxr50")
    assert listed.split(", ") == [name for name in vocabulary.observations if name not in CODES["observations"]]


def observations(text: str = REPORT) -> list[dict[str, Any]]:
    made = bundle("s1", LABELER.findings(text), labeler=LABELER.name)
    return [entry["resource"] for entry in made["entry"][1:]]


def test_fhir_refers_to_what_it_holds() -> None:
    made = bundle("s1", LABELER.findings(REPORT), labeler=LABELER.name)
    report, *rest = made["entry"]
    assert report["resource"]["resourceType"] == "DiagnosticReport"
    references = [result["reference"] for result in report["resource"]["result"]]
    assert references == [entry["fullUrl"] for entry in rest]
    assert len(set(references)) == len(references) == len(LABELER.findings(REPORT))
    assert "result" not in bundle("s1", [], labeler="x")["entry"][0]["resource"]


def test_fhir_says_what_the_finding_says() -> None:
    effusion, *_ = observations()
    assert effusion["code"]["text"] == "Pleural Effusion"
    assert {c["code"] for c in effusion["code"]["coding"]} == {"60046008", "RID34539"}
    assert effusion["valueCodeableConcept"]["coding"][0]["code"] == "52101004"
    components = {c["code"]["text"]: c for c in effusion["component"]}
    assert components["side"]["valueCodeableConcept"]["coding"][0]["code"] == "7771000"
    assert components["course"]["valueCodeableConcept"]["text"] == "unchanged"
    assert components["comparison"]["valueString"] == "the prior study"
    by_name = {(o["code"]["text"], o["valueCodeableConcept"]["text"]): o for o in observations()}
    assert by_name["Pneumothorax", "negative"]["interpretation"][0]["coding"][0]["code"] == "NEG"
    nodule = by_name["Nodule", "positive"]
    assert nodule["bodySite"]["text"] == "right upper"
    sizes = [c["valueRange"] for c in nodule["component"] if "valueRange" in c]
    assert [(size["low"]["value"], size["high"]["value"]) for size in sizes] == [(3, 4)]
    mass = by_name["Mass", "uncertain"]
    assert [c["valueQuantity"]["value"] for c in mass["component"] if "valueQuantity" in c] == [20, 15]
    assert by_name["Scoliosis", "positive"]["code"]["coding"][0]["code"] == "298382003"


def test_fhir_is_valid() -> None:
    validated = pytest.importorskip("fhir.resources.R4B.bundle").Bundle
    for text in (REPORT, "", "Normal chest radiograph."):
        validated.model_validate(bundle("s1", LABELER.findings(text), labeler=LABELER.name))


def test_radgraph_counts_tokens() -> None:
    graph = radgraph(REPORT, LABELER.findings(REPORT))
    tokens = graph["text"].split(" ")
    for entity in graph["entities"].values():
        assert " ".join(tokens[entity["start_ix"] : entity["end_ix"] + 1]) == entity["tokens"]
        assert all(target in graph["entities"] for _, target in entity["relations"])
    by_tokens = {entity["tokens"]: entity for entity in graph["entities"].values()}
    assert by_tokens["pleural effusion"]["label"] == "Observation::definitely present"
    assert by_tokens["pneumothorax"]["label"] == "Observation::definitely absent"
    assert by_tokens["Pneumonia"]["label"] == "Observation::uncertain"
    assert by_tokens["left"]["label"] == "Anatomy::definitely present"
    numbers = {entity["tokens"]: number for number, entity in graph["entities"].items()}
    assert ["modify", numbers["pleural effusion"]] in by_tokens["Small"]["relations"]
    assert ["located_at", numbers["left"]] in by_tokens["pleural effusion"]["relations"]


# --- codes

CODES = yaml.safe_load((LEXICON / "codes.yaml").read_text(encoding="utf-8"))


def test_codes_are_well_formed_and_of_known_observations() -> None:
    known = {name for v in ("cxr50", "nih14") for name in load_vocabulary(v).observations}
    assert set(CODES["observations"]) <= known
    assert set(CODES["aliases"].values()) <= known
    for group in CODES.values():
        for codes in group.values():
            if isinstance(codes, dict):
                assert set(codes) <= {"snomed", "radlex"}
                assert "snomed" not in codes or is_snomed(codes["snomed"][0])
                assert "radlex" not in codes or re.fullmatch(r"RID\d{3,5}", codes["radlex"][0])


def test_no_code_stands_for_two_observations() -> None:
    found = [codes[key][0] for codes in CODES["observations"].values() for key in codes]
    assert len(set(found)) == len(found)


def is_snomed(code: str) -> bool:
    """Tells whether the last digit is the check digit (Verhoeff) that SNOMED CT demands."""
    permutation = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    check = 0
    for position, digit in enumerate(reversed(code)):
        value = int(digit)
        for _ in range(position % 8):
            value = permutation[value]
        check = _product(check, value)
    return check == 0


def _product(a: int, b: int) -> int:
    """Returns the product in the dihedral group of ten elements."""
    if a < 5:
        return (a + b) % 5 if b < 5 else 5 + (a + b) % 5
    return 5 + (a - b) % 5 if b < 5 else (a - b) % 5


def test_the_check_digit_is_checked() -> None:
    assert is_snomed("46621007")
    assert not is_snomed("46621008")
    assert not is_snomed("46612007")
