"""JSON like RadGraph's (Jain et al. 2021): one report a line, its text in tokens, entities and their relations.

What RadGraph marks by hand is here what the rules found: mentions are observations; severity, size and course are
observations that modify them; sides and locations are anatomy. `suggestive_of` is not given.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from labelers.findings import Finding, Span

#: RadGraph's text is split at blanks and punctuation.
_TOKEN = re.compile(r"\w+(?:\.\d+)?|[^\w\s]")
_LABELS = {"positive": "definitely present", "negative": "definitely absent", "uncertain": "uncertain"}
_ANATOMY = ("side", "location")
_MODIFIERS = ("severity", "size", "course")


def lines(report_id: str, text: str, findings: Sequence[Finding], *, labeler: str) -> str:
    """Returns one line: the graph of a report."""
    graph = {report_id: radgraph(text, findings) | {"data_source": labeler, "data_split": "inference"}}
    return json.dumps(graph, ensure_ascii=False) + "\n"


def radgraph(text: str, findings: Sequence[Finding]) -> dict[str, Any]:
    """Returns the tokens of `text`, joined by blanks, and its entities; `start_ix` and `end_ix` count tokens."""
    spans = [match.span() for match in _TOKEN.finditer(text)]
    tokens = [text[start:end] for start, end in spans]
    starts = [start for start, _ in spans]
    entities: dict[tuple[int, int, str], dict[str, Any]] = {}

    def entity(span: Span, label: str) -> dict[str, Any]:
        first, last = bisect_right(starts, span[0]) - 1, bisect_right(starts, span[1] - 1) - 1
        made = {"tokens": " ".join(tokens[first : last + 1]), "label": label, "start_ix": first, "end_ix": last}
        return entities.setdefault((first, last, label.partition("::")[0]), made | {"relations": []})

    links: list[tuple[dict[str, Any], str, dict[str, Any]]] = []
    for finding in findings:
        named = entity(finding.span, f"Observation::{_LABELS[finding.state]}")
        for attribute in finding.said.description.spans:
            span = finding.place((attribute.start, attribute.end))
            if attribute.kind in _MODIFIERS:
                links.append((entity(span, f"Observation::{_LABELS[finding.state]}"), "modify", named))
            elif attribute.kind in _ANATOMY:
                links.append((named, "located_at", entity(span, "Anatomy::definitely present")))
    numbers = {id(found): str(i) for i, found in enumerate(entities.values(), start=1)}
    for source, relation, target in links:
        link = [relation, numbers[id(target)]]
        if source is not target and link not in source["relations"]:
            source["relations"].append(link)
    return {"text": " ".join(tokens), "entities": {numbers[id(found)]: found for found in entities.values()}}
