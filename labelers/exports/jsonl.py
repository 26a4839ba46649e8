"""One JSON object a line for each finding: the record as it is (`docs/findings.md` lists the fields)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache

from labelers.findings import Finding, Statement, said_record

_encode = json.JSONEncoder(ensure_ascii=False).encode


def lines(report_id: str, text: str, findings: Sequence[Finding], *, labeler: str) -> str:
    """Returns one line for each finding of a report."""
    head = f'{{"id": {_encode(report_id)}, "section": "'
    return "".join([_line(head, finding) for finding in findings])


def _line(head: str, finding: Finding) -> str:
    start, end = finding.sentence
    first, last = finding.span
    place = f'"sentence_span": [{start}, {end}], "span": [{first}, {last}]'
    return f'{head}{finding.section}", {place}, {_said(finding.said)}'


@lru_cache(maxsize=50_000)
def _said(said: Statement) -> str:
    """Returns the rest of a line: what does not depend on where the sentence stands."""
    return _encode(said_record(said))[1:] + "\n"
