"""How many labels change when the same reports are written in another style.

    python benchmarks/labeler_styles.py /data/openi [vocabulary]

The findings and the impression of each report are cut into statements by a splitter of this file's own, and written
again in each style. A label is a report and an observation; those blank in both readings are not counted. A style that
drops or changes words would measure itself, so every style keeps the words in their order.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from labelers.rules import RuleLabeler
from labelers.sections import find_sections
from medclip.sources.openi import Openi

#: A report: the statements of each of its sections, by the heading of the section.
Parts = dict[str, list[str]]

_STATEMENT_END = re.compile(r"(?<=[a-zA-Z)]{2}[.!;])\s+(?=[A-Z])")
_DENIAL = re.compile(
    r"(?:there is |there are )?no ((?:[a-z]+ ){0,2}[a-z]+?)(?:(,? or | and )((?:[a-z]+ ){0,2}[a-z]+))?", re.I
)
_NAMES = re.compile(
    r"(?:pleural )?effusions?|pneumothora(?:x|ces)|(?:focal )?consolidations?|pneumonia|cardiomegaly|"
    r"(?:pulmonary )?edema|(?:focal )?infiltrates?|atelectasis|(?:rib )?fractures?|nodules?|mass(?:es)?",
    re.I,
)


def statements(text: str) -> list[str]:
    return [piece.strip() for piece in _STATEMENT_END.split(" ".join(text.split())) if piece.strip()]


def _each(change: Callable[[int, str], str], *, joint: str = "\n") -> Callable[[Parts], str]:
    """Returns a style: every statement changed by itself, the sections one below the other."""

    def write(parts: Parts) -> str:
        bodies = (joint.join(change(i, s) for i, s in enumerate(said, start=1)) for said in parts.values())
        return "\n\n".join(f"{name.upper()}:\n{body}" for name, body in zip(parts, bodies, strict=True))

    return write


def bare(statement: str) -> str:
    return statement.rstrip(" .;")


def answer(_: int, statement: str) -> str:
    """Returns "Effusion: No" for "No effusion.", two lines for two of them; other statements as they are."""
    denial = _DENIAL.fullmatch(bare(statement))
    found = [name for name in (denial.group(1), denial.group(3)) if name] if denial else []
    if not found or not all(_NAMES.fullmatch(name) for name in found):
        return bare(statement)
    return "\n".join(f"{name.capitalize()}: No" for name in found)


def prose(parts: Parts, *, joint: str = "\n\n") -> str:
    return joint.join(f"{name.upper()}: {' '.join(said)}" for name, said in parts.items())


def wrapped(width: int, change: Callable[[str], str] = str) -> Callable[[Parts], str]:
    def write(parts: Parts) -> str:
        paragraphs = (f"{name.upper()}: {' '.join(said)}" for name, said in parts.items())
        return "\n\n".join(textwrap.fill(change(paragraph), width) for paragraph in paragraphs)

    return write


STYLES: dict[str, Callable[[Parts], str]] = {
    "a line each": _each(lambda i, s: s),
    "a line each, no full stop": _each(lambda i, s: bare(s)),
    "a line each, no full stop, CAPITALS": lambda parts: _each(lambda i, s: bare(s))(parts).upper(),
    "a line each, no full stop, lower case": _each(lambda i, s: bare(s).lower()),
    "a line each, CRLF": lambda parts: _each(lambda i, s: bare(s))(parts).replace("\n", "\r\n"),
    "bullets": _each(lambda i, s: f"• {bare(s)}"),
    "dashes without a space": _each(lambda i, s: f"-{bare(s)}"),
    "bullets in one line": _each(lambda i, s: f"•{bare(s)}", joint=" "),
    "numbered": _each(lambda i, s: f"{i}. {bare(s)}"),
    "numbered in one line": _each(lambda i, s: f"{i}) {bare(s)}", joint=" "),
    "lettered": _each(lambda i, s: f"{chr(96 + min(i, 26))}) {bare(s)}"),
    "pipes": _each(lambda i, s: bare(s), joint=" | "),
    "<br>": _each(lambda i, s: bare(s), joint="<br>"),
    "blank lines of no-break spaces": _each(lambda i, s: bare(s), joint="\n\u00a0\n"),
    "line separators (U+2028)": _each(lambda i, s: bare(s), joint="\u2028"),
    "semicolons": _each(lambda i, s: bare(s), joint="; "),
    "template answers": _each(answer),
    "template answers, CAPITALS": lambda parts: _each(answer)(parts).upper(),
    "CAPITALS": lambda parts: prose(parts).upper(),
    "lower case": lambda parts: prose(parts).lower(),
    "CRLF": lambda parts: prose(parts).replace("\n", "\r\n"),
    "wrapped at 60": wrapped(60),
    "wrapped at 80": wrapped(80),
    "wrapped at 60, CAPITALS": wrapped(60, str.upper),
    "wrapped at 80, CAPITALS": wrapped(80, str.upper),
    "wrapped at 80, CRLF": lambda parts: wrapped(80)(parts).replace("\n", "\r\n"),
    "sections in one paragraph": lambda parts: prose(parts, joint=" "),
    "no headings": lambda parts: "\n\n".join(" ".join(said) for said in parts.values()),
    "headings on their own lines": lambda parts: "\n".join(f"{n.title()}\n{' '.join(s)}" for n, s in parts.items()),
    "after a comparison, no heading": lambda parts: (
        "COMPARISON: None.\n\n" + " ".join(s for said in parts.values() for s in said)
    ),
    "two spaces, no-break": lambda parts: prose(parts).replace(" ", "\u00a0 "),
}


def read_parts(folder: str) -> list[Parts]:
    reports = []
    for text in Openi(Path(folder)).texts()["text"]:
        sections = [s for s in find_sections(text) if s.name in ("findings", "impression")]
        parts = {section.name: statements(text[section.start : section.end]) for section in sections}
        if any(parts.values()):
            reports.append(parts)
    return reports


def changes(before: np.ndarray, after: np.ndarray) -> tuple[float, float, int]:
    """Returns the share of labels and of reports that differ, and how many positives are not positive any more."""
    different = ~((before == after) | (np.isnan(before) & np.isnan(after)))
    stated = ~(np.isnan(before) & np.isnan(after))
    lost = int(((before == 1) & (after != 1)).sum())
    return float(different.sum() / stated.sum()), float(different.any(axis=1).mean()), lost


def main(folder: str, vocabulary: str = "chexpert14") -> None:
    reports = read_parts(folder)
    labeler = RuleLabeler(vocabulary)

    def label(style: Callable[[Parts], str]) -> np.ndarray:
        return labeler([style(parts) for parts in reports])

    reference = label(prose)
    print(f"{len(reports)} reports, {vocabulary}, {int((reference == 1).sum())} positives")
    print(f"{'style':40s} {'labels':>8s} {'reports':>8s} {'positives lost':>15s}")
    for name, style in STYLES.items():
        labels, changed, lost = changes(reference, label(style))
        print(f"{name:40s} {labels:8.2%} {changed:8.2%} {lost:15d}")


def show(folder: str, name: str, count: int = 20, vocabulary: str = "chexpert14") -> None:
    """Prints reports of which labels change in a style, for development on reports that may be shown."""
    reports, labeler = read_parts(folder), RuleLabeler(vocabulary)
    for parts in reports:
        first, second = labeler([prose(parts), STYLES[name](parts)])
        where = [
            i
            for i in range(len(first))
            if not (first[i] == second[i] or (first[i] != first[i] and second[i] != second[i]))
        ]
        if where and count:
            count -= 1
            print([(labeler.observations[i], float(first[i]), float(second[i])) for i in where])
            print(STYLES[name](parts), end="\n\n")


if __name__ == "__main__":
    arguments: Sequence[str] = sys.argv[1:]
    show(arguments[0], arguments[2]) if arguments[1:2] == ["--show"] else main(*arguments)
