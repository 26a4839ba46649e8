"""What is said of a mention beside its state: severity, side, location, size, course, comparison, certainty.

The words of each kind stand in the language's `attributes.txt`; `labelers.attachment` decides which mention each
belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from labelers.attachment import Attachment, Attribute, load_attachment_words
from labelers.lexicon_files import read_groups
from labelers.mentions import Mention
from labelers.patterns import PatternSet

#: Value of the lines "! words".
EXCLUDED = "!"
_CACHE_LIMIT = 10_000


class Attributes:
    """Finds the attributes of the mentions of a sentence.

    Args:
        language: Whose `attributes.txt`, `attachment.txt` and `clauses.txt` to read.
    """

    def __init__(self, language: str) -> None:
        entries = list(_entries(language))
        self._kinds = [(kind, value) for kind, value, _ in entries]
        self._patterns = PatternSet(pattern for _, _, pattern in entries)
        self._words = load_attachment_words(language)
        self._grades: dict[tuple[str, ...], str] = {}

    def find(self, tokens: Sequence[str]) -> list[Attribute]:
        """Returns all attributes in `tokens`, sizes apart, in order; the longest of a kind at each place."""
        matches = self._patterns.find(tokens)
        if not matches:
            return []
        found: dict[str, list[Attribute]] = {}
        for match in matches:
            kind, value = self._kinds[match.entry]
            start = match.start
            while kind == "comparison" and start < match.end - 1 and tokens[start] in self._words.comparison_words:
                start += 1  # "compared to the prior study": the study is what is compared with
            found.setdefault(kind, []).append(Attribute(kind, value, start, match.end))
        kept = [a for of_kind in found.values() for a in (_longest(of_kind) if len(of_kind) > 1 else of_kind)]
        return sorted((a for a in kept if a.value != EXCLUDED), key=_place)

    def certainty(self, words: tuple[str, ...]) -> str:
        """Returns the grade of certainty that the words of a cue stand for, or ""."""
        grade = self._grades.get(words)
        if grade is None:
            grades = [a.value for a in self.find(words) if a.kind == "certainty"]
            if len(self._grades) >= _CACHE_LIMIT:
                self._grades.clear()
            grade = self._grades[words] = grades[-1] if grades else ""
        return grade

    def __call__(
        self,
        tokens: Sequence[str],
        mentions: Sequence[Mention],
        *,
        organs: Sequence[Mention] = (),
        sizes: Sequence[Attribute] = (),
    ) -> list[tuple[Attribute, ...]]:
        """Returns, for each mention, its attributes in the order of the sentence.

        Args:
            tokens: Of the sentence.
            mentions: All that the sentence names, those that count for nothing included: they have attributes too.
            organs: Named organs of which nothing is found or denied.
            sizes: Of the sentence, as attributes.
        """
        found = self.find(tokens)
        if sizes:
            found = sorted([*found, *sizes], key=_place)
        if not found or not mentions:
            return [() for _ in mentions]
        sentence = Attachment(self._words, tokens, mentions, found, organs=organs)
        return [sentence.attributes_of(mention) for mention in mentions]


def _entries(language: str) -> Iterator[tuple[str, str, str]]:
    """Yields (kind, value, pattern) of every line; of an exclusion the value is `EXCLUDED`."""
    for group, lines in read_groups(language, "attributes").items():
        kind, _, value = group.partition("/")
        for line in lines:
            excluded = line.startswith("!")
            yield kind, EXCLUDED if excluded else value, line[1:].strip() if excluded else line


def _place(attribute: Attribute) -> tuple[int, int]:
    return attribute.start, attribute.end


def _longest(found: list[Attribute]) -> list[Attribute]:
    """Keeps the longest of overlapping attributes; exclusions take their place and are left out."""
    kept: list[Attribute] = []
    for a in sorted(found, key=lambda a: (a.start - a.end, a.value != EXCLUDED)):
        rivals = [b for b in kept if b.start < a.end and a.start < b.end]
        if not any(b.value == EXCLUDED or b.end - b.start > a.end - a.start or b == a for b in rivals):
            kept.append(a)
    return kept


def side_of(attributes: Iterable[Attribute]) -> str:
    """Returns "left", "right", "bilateral" or ""."""
    sides = {a.value for a in attributes if a.kind == "side"}
    return "bilateral" if len(sides) > 1 else next(iter(sides), "")


@lru_cache(maxsize=4)
def load_attributes(language: str) -> Attributes:
    """Returns the attributes of a language."""
    return Attributes(language)
