"""Reading the text files of a lexicon: plain lines, lines in groups, phrases, subjects and cues.

In every file `#` begins a comment, and `@include folder/name` stands for another file. `docs/lexicon.md` describes the
formats.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labelers.errors import UserError

LEXICON = Path(__file__).parent / "lexicon"

_PHRASE_MARKS = {"?": "uncertain", "-": "negative", "!": "excluded", "=": "whole"}
EFFECTS = ("positive", "negative", "uncertain", "doubt", "ignore", "normal", "pseudo", "end")
REACHES = {
    "positive": ("before", "answer"),
    "negative": ("after", "before", "both", "answer"),
    "uncertain": ("after", "before", "both", "near", "between", "answer"),
    "doubt": ("after", "before", "both"),
    "ignore": ("after", "before", "both"),
    "normal": ("after", "before", "both"),
    "pseudo": ("",),
    "end": ("all", "negative"),
}


@dataclass(frozen=True, slots=True)
class Phrase:
    """One line of a phrase file.

    Attributes:
        kind: What the bare phrase says of the observation: "positive", "uncertain" (written `? words`), "negative"
            (written `- words`), "excluded" (written `! words`: these words do not speak of it at all), or "whole"
            (written `= words`: positive where they are the whole statement).
    """

    pattern: str
    observation: str
    kind: str


@dataclass(frozen=True, slots=True)
class Subject:
    """One line of `subjects.txt`: when `pattern` is called normal, `observations` are absent."""

    pattern: str
    observations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cue:
    """One line of a language's `cues.txt`.

    Attributes:
        pattern: The words.
        effect: one of `EFFECTS`: the state it gives, or "pseudo" (looks like a cue and is none), "end" (stops others).
        reach: Which side it speaks of; for "end", which effects it stops.
        example: A sentence and, after "->", the states it must give.
    """

    pattern: str
    effect: str
    reach: str
    example: str = ""


def read_lines(folder: str, name: str) -> list[str]:
    """Returns the entries of the lexicon file `<folder>/<name>.txt`, comments and blanks removed."""
    return [line for _, line in _lines(LEXICON / folder / f"{name}.txt")]


def read_groups(folder: str, name: str) -> dict[str, list[str]]:
    """Returns the entries of `<folder>/<name>.txt` under the [group] lines they stand below."""
    groups: dict[str, list[str]] = {}
    for place, line in _lines(LEXICON / folder / f"{name}.txt"):
        if line.startswith("[") and line.endswith("]"):
            entries = groups.setdefault(line[1:-1].strip(), [])
        elif not groups:
            raise UserError(f"{place}: {line!r} stands before any [group] line.")
        else:
            entries.append(line)
    return groups


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yields (file and line number, entry) of a lexicon file and of those it includes."""
    if not path.is_file():
        raise FileNotFoundError(f"The lexicon file {path} is missing.")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        entry = line.split("#", 1)[0].strip()
        if entry.startswith("@include "):
            yield from _lines(LEXICON / f"{entry.removeprefix('@include ').strip()}.txt")
        elif entry:
            yield f"{path}, line {number}", entry


def read_phrases(folder: Path, observations: tuple[str, ...] | None) -> Iterator[Phrase]:
    """Yields the phrases of `folder/phrases`, a file for each observation.

    Raises:
        UserError: A line is no phrase, or a file is of none of `observations` (None: any will do).
    """
    files = {path.stem: path for path in sorted((folder / "phrases").glob("*.txt"))}
    if observations is not None and (stray := set(files) - set(observations)):
        raise UserError(f"{folder / 'phrases'}: {sorted(stray)} are not among the observations of vocabulary.yaml.")
    for observation, path in files.items():
        for place, line in _lines(path):
            kind = _PHRASE_MARKS.get(line[0], "positive")
            pattern = line if kind == "positive" else line[1:].strip()
            if not pattern or pattern[0] in "!?-=@":
                raise UserError(
                    f"{place}: {line!r} is no phrase. Write words, '? words' (uncertain), '- words' (negative), "
                    "'! words' (not this observation) or '@include file'."
                )
            yield Phrase(pattern, observation, kind)


def read_subjects(folder: Path, observations: tuple[str, ...]) -> Iterator[Subject]:
    """Yields the subjects of `folder/subjects.txt`, none where there is no such file.

    Raises:
        UserError: A line is no subject, or names none of `observations`.
    """
    path = folder / "subjects.txt"
    for place, line in _lines(path) if path.is_file() else ():
        pattern, arrow, names = (part.strip() for part in line.partition("->"))
        denied = tuple(name.strip() for name in names.split(",") if name.strip())
        if not arrow or set(denied) - set(observations):
            raise UserError(f"{place}: {line!r}. Write 'words -> Observation, Observation'.")
        yield Subject(pattern, denied)


def read_cues(path: Path) -> Iterator[Cue]:
    """Yields the cues of a file.

    Raises:
        UserError: A line is no cue.
    """
    for place, line in _lines(path):
        parts = [part.strip() for part in line.split(" | ")]
        if len(parts) not in (3, 4) or parts[1] not in EFFECTS or parts[2].strip("-") not in REACHES[parts[1]]:
            raise UserError(
                f"{place}: {line!r}. Write 'words | effect | reach | example'; effects and their reaches are "
                + "; ".join(f"{effect}: {', '.join(r or '-' for r in reaches)}" for effect, reaches in REACHES.items())
            )
        yield Cue(parts[0], parts[1], parts[2].strip("-"), *parts[3:])
