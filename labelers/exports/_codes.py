"""The codes of `lexicon/codes.yaml`, as FHIR's Coding."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import yaml

from labelers.lexicon_files import LEXICON

SYSTEMS = {"snomed": "http://snomed.info/sct", "radlex": "http://www.radlex.org"}

Coding = dict[str, str]


def concept(group: str, name: str) -> dict[str, Any]:
    """Returns the CodeableConcept of `name` in a group of the file: its codes, if it has any, and its name."""
    codings = codings_of(group, name)
    return {"coding": list(codings), "text": name} if codings else {"text": name}


@lru_cache(maxsize=1024)
def codings_of(group: str, name: str) -> tuple[Coding, ...]:
    """Returns the codes of `name`, none where the table has none."""
    table = _table()
    name = table["aliases"].get(name, name) if group == "observations" else name
    codes = table[group].get(name, {})
    return tuple({"system": SYSTEMS[key], "code": code, "display": display} for key, (code, display) in codes.items())


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    return yaml.safe_load((LEXICON / "codes.yaml").read_text(encoding="utf-8"))
