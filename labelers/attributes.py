"""What is said of a mention beside its state: severity, side, location, size, course, comparison, certainty.

The words of each kind stand in the language's `attributes.txt`; `labelers.attachment` decides which mention each
belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from labelers.attachment import Attachment, Attribute, load_attachment_words
from labelers.mentions import Mention
from labelers.patterns import PatternSet
from labelers.vocabulary import read_groups

#: Value of the lines "! words".
EXCLUDED = "!"


class Attributes:
    """Finds the attributes of the mentions of a sentence.

    Args:
        language: whose `attributes.txt`, `attachment.txt` and `clauses.txt` to read.
    """

    def __init__(self, language: str) -> None:
        entries = list(_entries(language))
        self._kinds = [(kind, value) for kind, value, _ in entries]
        self._patterns = PatternSet(pattern for _, _, pattern in entries)
        self._words = load_attachment_words(language)

    def find(self, tokens: Sequence[str]) -> list[Attribute]:
        """Returns all attributes in `tokens`, sizes apart, in order; the longest of a kind at each place."""
        found: dict[str, list[Attribute]] = {}
        for match in self._patterns.find(tokens):
            kind, value = self._kinds[match.entry]
            start = match.start
            while kind == "comparison" and start < match.end - 1 and tokens[start] in self._words.comparison_words:
                start += 1  # "compared to the prior study": the study is what is compared with
            found.setdefault(kind, []).append(Attribute(kind, value, start, match.end))
        kept = [attribute for of_kind in found.values() for attribute in _longest(of_kind)]
        return sorted(kept, key=lambda a: (a.start, a.end))

    def certainty(self, words: Sequence[str]) -> str:
        """Returns the grade of certainty that the words of a cue stand for, or ""."""
        grades = [a.value for a in self.find(words) if a.kind == "certainty"]
        return grades[-1] if grades else ""

    def __call__(
        self, tokens: Sequence[str], mentions: Sequence[Mention], sizes: Sequence[Attribute] = ()
    ) -> list[tuple[Attribute, ...]]:
        """Returns, for each mention, its attributes in the order of the sentence.

        Args:
            tokens: of the sentence.
            mentions: all that the sentence names, those that count for nothing included: they have attributes too.
            sizes: of the sentence, as attributes.
        """
        found = sorted([*self.find(tokens), *sizes], key=lambda a: (a.start, a.end))
        if not found or not mentions:
            return [() for _ in mentions]
        sentence = Attachment(self._words, tokens, mentions, found)
        return [sentence.attributes_of(mention) for mention in mentions]


def _entries(language: str) -> Iterator[tuple[str, str, str]]:
    """Yields (kind, value, pattern) of every line; of an exclusion the value is `EXCLUDED`."""
    for group, lines in read_groups(language, "attributes").items():
        kind, _, value = group.partition("/")
        for line in lines:
            excluded = line.startswith("!")
            yield kind, EXCLUDED if excluded else value, line[1:].strip() if excluded else line


def _longest(found: list[Attribute]) -> list[Attribute]:
    """Keeps the longest of overlapping attributes; exclusions take their place and are left out."""
    kept: list[Attribute] = []
    for a in sorted(found, key=lambda a: (a.start - a.end, a.value != EXCLUDED)):
        rivals = [b for b in kept if b.start < a.end and a.start < b.end]
        if not any(b.value == EXCLUDED or b.end - b.start > a.end - a.start or b == a for b in rivals):
            kept.append(a)
    return [a for a in kept if a.value != EXCLUDED]


def side_of(attributes: Iterable[Attribute]) -> str:
    """Returns "left", "right", "bilateral" or ""."""
    sides = {a.value for a in attributes if a.kind == "side"}
    return "bilateral" if len(sides) > 1 else next(iter(sides), "")


def as_words(attributes: Sequence[Attribute]) -> Mapping[str, str]:
    """Returns values by kind, several joined by commas, for people to read."""
    words: dict[str, str] = {"side": side_of(attributes)}
    for attribute in attributes:
        kind, value = attribute.kind, attribute.value
        if kind == "size" and attribute.size is not None:
            value = " x ".join(f"{number:g}" for number in attribute.size.mm) + " mm"
        if kind not in ("side", "comparison", "certainty"):
            words[kind] = f"{words[kind]}, {value}" if kind in words else value
    return {kind: value for kind, value in sorted(words.items()) if value}


@lru_cache(maxsize=4)
def load_attributes(language: str) -> Attributes:
    """Returns the attributes of a language."""
    return Attributes(language)
