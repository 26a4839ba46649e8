"""Reading and checking a lexicon: the text files that say what the rule labeler looks for.

A vocabulary is a folder: `vocabulary.yaml` names the observations and the language, `phrases/<Observation>.txt`
their phrases, `subjects.txt` what a normal statement denies; or it extends another. A language is a folder too: cues,
headings, abbreviations. In every file `#` begins a comment. `docs/lexicon.md` describes the format.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from labelers.errors import UserError
from labelers.lexicon_files import LEXICON, Cue, Phrase, Subject, read_cues, read_groups, read_phrases, read_subjects

CLAUSE_GROUPS = (
    "verbs", "existence", "joints", "near ends", "gap stops", "causes", "descriptions", "degrees", "no ends",
    "no beginnings", "answers", "ellipsis",
)  # fmt: skip


@dataclass(frozen=True)
class Vocabulary:
    """Everything the rule labeler knows about one list of observations in one language.

    Attributes:
        observations: The columns it gives, in order.
        helpers: Observations it looks for but does not give: "Abnormality" (a general word for disease; denied, it
            supports No Finding) and "Other" (disease outside the list; present, it rules No Finding out).
        no_finding: The column computed from the others, or None.
        devices: The column that never rules No Finding out, or None.
        added: Observations laid over another vocabulary, which keeps its states.
        causes: Observations that explain what is seen; "A or B" leaves both uncertain where one of them is a cause.
    """

    name: str
    language: str
    observations: tuple[str, ...]
    helpers: tuple[str, ...]
    no_finding: str | None
    devices: str | None
    causes: frozenset[str]
    phrases: tuple[Phrase, ...]
    subjects: tuple[Subject, ...]
    cues: tuple[Cue, ...]
    clause_words: dict[str, frozenset[str]]
    added: tuple[str, ...] = ()

    def layers(self) -> tuple[Vocabulary, ...]:
        """Returns the parts that are read apart: what is extended, and what is added.

        Phrases use up words that would otherwise be cues, and hide shorter subjects. Read apart, those of the added
        observations cannot change a state of the others.
        """
        if not self.added:
            return (self,)
        return tuple(
            replace(
                self,
                phrases=tuple(p for p in self.phrases if (p.observation in self.added) == added),
                subjects=tuple(s for s in self.subjects if any(n in self.added for n in s.observations) == added),
            )
            for added in (False, True)
        )


def vocabulary_names() -> list[str]:
    """Returns the names of the vocabularies that come with the package."""
    return sorted(path.parent.name for path in LEXICON.glob("*/vocabulary.yaml"))


def profile_names() -> list[str]:
    """Returns the names of the profiles that come with the package."""
    return sorted(path.name for path in (LEXICON / "profiles").iterdir() if path.is_dir())


@lru_cache(maxsize=16)
def load_vocabulary(name: str, profile: str | None = None) -> Vocabulary:
    """Returns the vocabulary called `name`, or the one in the folder that `name` is a path to.

    Args:
        name: Name or folder of a vocabulary.
        profile: Conventions laid over it, by name or folder: its lines replace those with the same words, and the
            others are added.

    Raises:
        FileNotFoundError: There is no such vocabulary.
        UserError: one of its files breaks the format; the message names file and line.
    """
    folder = Path(name) if "/" in name or Path(name, "vocabulary.yaml").is_file() else LEXICON / name
    described = folder / "vocabulary.yaml"
    if not described.is_file():
        raise FileNotFoundError(
            f"Vocabulary {name!r}: no {described.name} in {folder}. "
            f"Name one of {', '.join(vocabulary_names())}, or the path of a folder laid out like them."
        )
    fields = yaml.safe_load(described.read_text(encoding="utf-8"))
    if "extends" in fields:
        return _extend(folder, fields, profile)
    unknown = set(fields) - {"language", "observations", "helpers", "no_finding", "devices", "causes"}
    if unknown or not {"language", "observations"} <= set(fields):
        raise UserError(
            f"{described}: found {sorted(fields)}; needs 'language' and 'observations', "
            "and may have 'helpers', 'no_finding', 'devices', 'causes'; or 'extends' and 'observations' alone."
        )
    observations, helpers = tuple(fields["observations"]), tuple(fields.get("helpers", ()))
    language = fields["language"]
    cues = {(cue.pattern, cue.reach): cue for cue in read_cues(LEXICON / language / "cues.txt")}
    if profile is not None:
        path = _find_profile(profile) / "cues.txt"
        own = list(read_cues(path)) if path.is_file() else []
        replaced = {cue.pattern for cue in own}
        cues = {key: cue for key, cue in cues.items() if cue.pattern not in replaced}
        cues |= {(cue.pattern, cue.reach): cue for cue in own}
    return Vocabulary(
        name=_full_name(folder, profile),
        language=language,
        observations=observations,
        helpers=helpers,
        no_finding=fields.get("no_finding"),
        devices=fields.get("devices"),
        causes=frozenset(fields.get("causes", ())),
        phrases=_with_profile(read_phrases(folder, observations + helpers), observations + helpers, profile),
        subjects=tuple(read_subjects(folder, observations + helpers)),
        cues=tuple(cues.values()),
        clause_words=_clause_words(language),
    )


def _extend(folder: Path, fields: dict[str, Any], profile: str | None) -> Vocabulary:
    """Returns the vocabulary that `fields` extend, with the observations of `folder` added."""
    place = folder / "vocabulary.yaml"
    if set(fields) != {"extends", "observations"}:
        raise UserError(f"{place}: found {sorted(fields)}; one that extends another has 'extends' and 'observations'.")
    base, added = load_vocabulary(fields["extends"], profile), tuple(fields["observations"])
    if base.added:
        raise UserError(f"{place}: {base.name} extends a vocabulary itself. Name that one, and list all observations.")
    if twice := set(added) & set(base.observations + base.helpers):
        raise UserError(f"{place}: {sorted(twice)} are in {base.name} already. Name them otherwise.")
    return replace(
        base,
        name=_full_name(folder, profile),
        observations=base.observations + added,
        phrases=base.phrases + _with_profile(read_phrases(folder, added), added, profile),
        subjects=base.subjects + tuple(read_subjects(folder, added)),
        added=added,
    )


def _full_name(folder: Path, profile: str | None) -> str:
    return folder.name if profile is None else f"{folder.name}+{Path(profile).name}"


def _with_profile(phrases: Iterator[Phrase], observations: tuple[str, ...], profile: str | None) -> tuple[Phrase, ...]:
    """Returns `phrases`, those with the words of a line of the profile replaced by it, and its other lines added."""
    kept = {(p.observation, p.pattern): p for p in phrases}
    if profile is not None:
        known = [p for p in read_phrases(_find_profile(profile), None) if p.observation in observations]
        kept |= {(p.observation, p.pattern): p for p in known}
    return tuple(kept.values())


def _clause_words(language: str) -> dict[str, frozenset[str]]:
    groups = read_groups(language, "clauses")
    if unknown := set(groups) - set(CLAUSE_GROUPS):
        raise UserError(f"{language}/clauses.txt: unknown groups {sorted(unknown)}; known: {', '.join(CLAUSE_GROUPS)}.")
    return {name: frozenset(groups.get(name, ())) for name in CLAUSE_GROUPS}


def _find_profile(name: str) -> Path:
    folder = Path(name) if "/" in name or Path(name, "phrases").is_dir() else LEXICON / "profiles" / name
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no profile {name!r}. Name one of {', '.join(profile_names())}, or the path of a folder with "
            "phrases/ or cues.txt."
        )
    return folder
