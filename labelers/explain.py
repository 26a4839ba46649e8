"""Why a report got its labels: as rows, as JSON, and as a coloured page."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence

from labelers.findings import Finding, record_of
from labelers.observations import NO_FINDING
from labelers.rules import RuleLabeler

COLOURS = {"positive": "#f4b6b0", "negative": "#b9dfb4", "uncertain": "#f7dd9b", "normal": "#cfe0f5"}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Labels, explained</title><style>
body {{ font: 16px/1.6 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
pre {{ white-space: pre-wrap; font: inherit; border: 1px solid #ccc; border-radius: 6px; padding: 1rem }}
mark {{ border-radius: 3px; padding: 0 2px }} u {{ text-decoration-thickness: 2px }}
{colours}
table {{ border-collapse: collapse; width: 100% }}
td, th {{ text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #ddd; overflow-wrap: break-word }}
</style></head><body>
<h1>Labels, explained</h1><p>Labeler: {labeler}. Marked: mentions, by state ({legend}). Underlined: the cue that
decided.{shown}</p>
{reports}
</body></html>
"""
_REPORT = """{heading}<pre>{report}</pre>
<table><tr><th>observation</th><th>state</th><th>mention</th><th>attributes</th><th>cue</th><th>rule</th></tr>{rows}</table>
"""


def explain_rows(text: str, evidence: Sequence[Finding]) -> list[dict[str, str]]:
    """Returns a row for each piece of evidence: observation, state, mention, attributes, cue, rule, sentence."""
    return [
        {
            "observation": f.observation,
            "state": f.state,
            "mention": text[slice(*f.span)],
            "cue": text[slice(*f.cue_span)] if f.cue_span else "",
            "rule": f.rule,
            "attributes": ", ".join(f.attributes.values()),
            "sentence": text[slice(*f.sentence)],
        }
        for f in evidence
    ]


def explain_json(labeler: RuleLabeler, text: str) -> str:
    """Returns labels and evidence of `text`, with character offsets."""
    evidence = labeler.explain(text)
    row = labeler([text])[0]
    states = {name: int(s) for name, s in zip(labeler.observations, row, strict=True) if s == s}
    records = [record_of(finding) | {"cue_span": finding.cue_span} for finding in evidence]
    return json.dumps({"labeler": labeler.name, "states": states, "evidence": records}, indent=2, ensure_ascii=False)


def explain_html(labeler: RuleLabeler, text: str) -> str:
    """Returns a self-contained page of `text` with its mentions coloured by state and their cues underlined."""
    return explain_page(labeler, [("", text)])


def explain_page(labeler: RuleLabeler, reports: Sequence[tuple[str, str]], *, left_out: int = 0) -> str:
    """Returns a self-contained page of several reports, one below the other.

    Args:
        labeler: The labeler.
        reports: Name and text of each; a name may be "".
        left_out: Number of further reports that are not on the page, which it says.
    """
    shown = f" Shown: the first {len(reports)} of {len(reports) + left_out} reports; {left_out} are left out."
    legend = ", ".join(f'<mark class="{state}">{_MEANS.get(state, state)}</mark>' for state in COLOURS)
    return _PAGE.format(
        colours="\n".join(f".{state} {{ background: {colour} }}" for state, colour in COLOURS.items()),
        legend=legend, labeler=html.escape(labeler.name), shown=shown if left_out else "",
        reports="".join(_section(name, text, labeler.explain(text)) for name, text in reports),
    )  # fmt: skip


#: What a colour stands for, where that is no state.
_MEANS = {"normal": f"{NO_FINDING} positive"}


def _section(name: str, text: str, evidence: Sequence[Finding]) -> str:
    cells = ("observation", "state", "mention", "attributes", "cue", "rule")
    rows = "".join(
        f'<tr class="{_colour(found)}">' + "".join(f"<td>{html.escape(row[cell])}</td>" for cell in cells) + "</tr>"
        for row, found in zip(explain_rows(text, evidence), evidence, strict=True)
    )
    heading = f"<h2>{html.escape(name)}</h2>\n" if name else ""
    return _REPORT.format(heading=heading, report=_marked(text, evidence), rows=rows)


def _colour(finding: Finding) -> str:
    """Returns the class of a finding: its state, but that nothing was found is no disease."""
    return "normal" if finding.observation == NO_FINDING and finding.state == "positive" else finding.state


def _marked(text: str, evidence: Sequence[Finding]) -> str:
    """Returns `text` escaped, each run of characters with the marks that lie on it."""
    states: dict[int, list[Finding]] = {}
    cued: set[int] = set()
    for e in evidence:
        for position in range(*e.span):
            states.setdefault(position, []).append(e)
        cued |= set(range(*e.cue_span)) if e.cue_span else set()
    parts, start = [], 0
    for position in range(1, len(text) + 1):
        same = (
            position < len(text) and states.get(position) == states.get(start) and (position in cued) == (start in cued)
        )
        if not same:
            parts.append(_run(text[start:position], states.get(start, []), start in cued))
            start = position
    return "".join(parts)


def _run(text: str, evidence: list[Finding], cued: bool) -> str:
    escaped = html.escape(text)
    escaped = f"<u>{escaped}</u>" if cued else escaped
    if not evidence:
        return escaped
    title = html.escape("; ".join(dict.fromkeys(f"{e.observation}: {e.state}" for e in evidence)))
    return f'<mark class="{_colour(evidence[0])}" title="{title}">{escaped}</mark>'
