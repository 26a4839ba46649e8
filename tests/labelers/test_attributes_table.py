"""A table of sentences with the attributes that the record of one finding must have."""

from __future__ import annotations

from pathlib import Path

from labelers.findings import Finding
from labelers.rules import RuleLabeler

LABELER = RuleLabeler()
KINDS = ("side", "location", "severity", "size", "low", "course", "comparison", "certainty")

#: Sentences with an attribute that is known to be wrong.
KNOWN_FAILURES: set[str] = set()


def table() -> list[tuple[str, str, dict[str, str]]]:
    rows = []
    for line in Path(__file__).with_name("attributes.txt").read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#[":
            text, name, attributes = (part.strip() for part in line.split("|"))
            rows.append((text, name, parse(attributes)))
    return rows


def parse(attributes: str) -> dict[str, str]:
    """Returns the values by kind; values may hold blanks."""
    values: dict[str, str] = {}
    kind = ""
    for word in attributes.split():
        if "=" in word:
            kind, _, value = word.partition("=")
            values[kind] = value
        else:
            values[kind] += f" {word}"
    return values


def found(text: str, name: str) -> dict[str, str]:
    name, _, position = name.partition("#")
    findings = [finding for finding in LABELER.findings(text) if finding.observation == name]
    if not findings:
        return {"missing": name}
    return {kind: value for kind, value in said(findings[int(position or 1) - 1]).items() if value}


def said(finding: Finding) -> dict[str, str]:
    low = finding.size_low_mm
    return {
        "side": finding.side,
        "location": ",".join(finding.location),
        "severity": finding.severity,
        "size": ",".join(f"{number:g}" for number in finding.size_mm),
        "low": "" if low is None else f"{low:g}",
        "course": finding.course,
        "comparison": finding.comparison,
        "certainty": finding.certainty if finding.certainty in ("likely", "possible", "unlikely") else "",
    }


def test_the_table_is_large() -> None:
    assert len({text for text, _, _ in table()}) == len(table()) >= 100
    assert {kind for _, _, attributes in table() for kind in attributes} == set(KINDS)


def test_attributes() -> None:
    rows = [row for row in table() if row[0] not in KNOWN_FAILURES]
    assert [(text, name, expected) for text, name, expected in rows if found(text, name) != expected] == []
