"""Ways of writing that labelers get wrong, several sentences of each kind; see kinds.txt."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import pytest

from labelers.observations import CHEXPERT14
from labelers.rules import RuleLabeler

_SHORT = ("NF", "EC", "CM", "LO", "LL", "ED", "CO", "PN", "AT", "PX", "PE", "PO", "FX", "SD")
NAMES = dict(zip(_SHORT, CHEXPERT14, strict=True))
_ESCAPE = re.compile(r"\\(?:u([0-9a-f]{4})|([nr]))")

#: Alternatives of which neither is a cause of what is seen are read as a list.
KNOWN_FAILURES = {"Scar or atelectasis at the left base.", "Atelectasis and/or consolidation."}

Row = tuple[str, str, str]  # the text, what is expected, the vocabulary


def _plain(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else {"n": "\n", "r": "\r"}[match[2]]


def table() -> dict[str, list[Row]]:
    kinds: dict[str, list[Row]] = {}
    kind = vocabulary = ""
    for line in Path(__file__).with_name("kinds.txt").read_text(encoding="utf-8").split("\n"):
        if line.startswith("["):
            kind, _, vocabulary = line[1:-1].partition(" | ")
        elif line and not line.startswith("#"):
            text, _, expected = line.rpartition(" | ")
            kinds.setdefault(kind, []).append((_ESCAPE.sub(_plain, text), expected, vocabulary or "chexpert14"))
    return kinds


ROWS = [row for rows in table().values() for row in rows]


@lru_cache(maxsize=2)
def labeler(vocabulary: str) -> RuleLabeler:
    return RuleLabeler(vocabulary)


def told(text: str, vocabulary: str) -> dict[str, str]:
    rules = labeler(vocabulary)
    states = dict(zip(rules.observations, rules([text])[0].tolist(), strict=True))
    return {name: {1.0: "1", 0.0: "0", -1.0: "?"}.get(states[long], "-") for name, long in NAMES.items()}


def test_every_kind_has_neighbours() -> None:
    kinds = table()
    assert len(kinds) >= 30
    assert all(len(rows) >= 2 for rows in kinds.values())
    assert len({text for text, _, _ in ROWS}) == len(ROWS) >= 210


def wrong(text: str, expected: str, vocabulary: str) -> dict[str, str]:
    """Returns the states that differ from what is expected."""
    states = told(text, vocabulary)
    return {item[:2]: states[item[:2]] for item in expected.split() if states[item[:2]] not in item[2:]}


@pytest.mark.parametrize("kind", table())
def test_kind(kind: str) -> None:
    rows = [row for row in table()[kind] if row[0] not in KNOWN_FAILURES]
    assert [
        (text, expected, wrong(text, expected, words)) for text, expected, words in rows if wrong(text, expected, words)
    ] == []


def test_known_failures_still_fail() -> None:
    assert {row[0] for row in ROWS if row[0] in KNOWN_FAILURES and wrong(*row)} == KNOWN_FAILURES
