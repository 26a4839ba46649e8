"""What a pasted report says, for the page: sections, sentences, findings and where in the text each of them stands."""

from __future__ import annotations

import uuid
from functools import lru_cache
from typing import Any

from labelers.errors import UserError
from labelers.exports.fhir import bundle
from labelers.findings import Finding, record_of
from labelers.languages import foreign_language
from labelers.normalize import normalize
from labelers.rules import RuleLabeler
from labelers.sections import SILENT_SECTIONS, find_sections
from labelers.vocabulary import Vocabulary, load_vocabulary, vocabulary_names

#: Characters of the longest report; the longest of public collections have a few thousand.
MAX_CHARACTERS = 50_000
ENGLISH, CHINESE = "chexpert14", "chexpert14-zh"
#: Share of letters from which on a text counts as Chinese.
_CHINESE_SHARE = 0.2


def choose_vocabulary(text: str, name: str = "") -> str:
    """Returns the vocabulary that is asked for, or else the one of the text's language.

    Raises:
        UserError: There is no vocabulary of that name.
    """
    if name and name not in vocabulary_names():
        raise UserError(f"There is no vocabulary {name!r}. Choose from {', '.join(vocabulary_names())}.")
    letters = [character for character in text if character.isalpha()]
    chinese = sum("\u4e00" <= character <= "\u9fff" for character in letters)
    return name or (CHINESE if letters and chinese > _CHINESE_SHARE * len(letters) else ENGLISH)


def read_report(text: str, vocabulary: str = "") -> dict[str, Any]:
    """Returns sections, sentences, states and findings of a report; spans are characters [start, end) of `text`.

    Raises:
        UserError: The text is blank or too long, or there is no such vocabulary.
    """
    labeler, language = _labeler(text, vocabulary)
    states, found = labeler.labels_and_findings([text])
    known = {name: int(s) for name, s in zip(labeler.observations, states[0].tolist(), strict=True) if s == s}
    return {
        "labeler": labeler.name,
        "language": language,
        "states": known,
        "sections": _sections(text, language),
        "sentences": [{"section": section, "span": list(span)} for section, span in labeler.sentences(text)],
        "findings": [_finding(finding) for finding in found[0]],
    }


def read_as_fhir(text: str, vocabulary: str = "") -> dict[str, Any]:
    """Returns a FHIR R4 Bundle of what a report says.

    Raises:
        UserError: See `read_report`.
    """
    labeler, _ = _labeler(text, vocabulary)
    return bundle(str(uuid.uuid4()), labeler.findings(text), labeler=labeler.name)


def _labeler(text: str, vocabulary: str) -> tuple[RuleLabeler, str]:
    """Returns a new labeler, which takes a few milliseconds: one that was used before keeps its sentences."""
    if not text.strip() or len(text) > MAX_CHARACTERS:
        found = f"{len(text):,} characters" if text.strip() else "nothing but blanks"
        raise UserError(f"Found {found}; a report has 1 to {MAX_CHARACTERS:,} characters. Paste one report.")
    loaded = _vocabulary(choose_vocabulary(text, vocabulary))
    if loaded.language == "english" and (found := foreign_language([text])):
        raise UserError(
            f"The report looks {found}, and {loaded.name} reads English: it would take denials for findings. Paste a "
            "report in English or Chinese."
        )
    return RuleLabeler(loaded), loaded.language


@lru_cache(maxsize=16)
def _vocabulary(name: str) -> Vocabulary:
    return load_vocabulary(name)


def _sections(text: str, language: str) -> list[dict[str, Any]]:
    plain = normalize(text, knows=lambda word: False)
    return [
        {"name": one.name, "span": list(plain.original(one.start, one.end)), "read": one.name not in SILENT_SECTIONS}
        for one in find_sections(plain.text, language=language)
    ]


def _finding(finding: Finding) -> dict[str, Any]:
    spans = [
        {
            "kind": attribute.kind,
            "value": attribute.value,
            "span": list(finding.place((attribute.start, attribute.end))),
        }
        for attribute in finding.said.description.spans
    ]
    return record_of(finding) | {"cue_span": finding.cue_span, "attributes": spans}
