"""A table of sentences for the phenomena of radiology reports, with the states of all observations."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelers.observations import CHEXPERT14
from labelers.rules import RuleLabeler

_SHORT = ("NF", "EC", "CM", "LO", "LL", "ED", "CO", "PN", "AT", "PX", "PE", "PO", "FX", "SD")
NAMES = dict(zip(_SHORT, CHEXPERT14, strict=True))
STATES = {"1": 1, "0": 0, "?": -1}

#: What the labeler gets wrong and is known to: no rule here fits one sentence only.
KNOWN_FAILURES = {
    "The opacity that was a nodule has turned out to be a nipple shadow.": {},
    "It has resolved. There was a pneumothorax.": {"Pneumothorax": 0, "No Finding": 1},
    "If this is a pneumothorax, a chest tube is needed.": {"Pneumothorax": -1},
}


def table() -> list[tuple[str, dict[str, int]]]:
    rows = []
    for line in Path(__file__).with_name("sentences.txt").read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#[":
            text, _, states = line.rpartition(" |")
            rows.append((text, {NAMES[token[:2]]: STATES[token[2]] for token in states.split()}))
    return rows


LABELER = RuleLabeler()


def states(text: str) -> dict[str, int]:
    return {name: int(s) for name, s in zip(LABELER.observations, LABELER([text])[0], strict=True) if s == s}


def test_the_table_is_large() -> None:
    assert len(table()) >= 200
    assert len({text for text, _ in table()}) == len(table())


def test_sentences() -> None:
    assert [(text, expected, states(text)) for text, expected in table() if states(text) != expected] == []


@pytest.mark.parametrize("text", KNOWN_FAILURES)
@pytest.mark.xfail(strict=True, reason="known limit")
def test_known_failures(text: str) -> None:
    assert states(text) == KNOWN_FAILURES[text]
