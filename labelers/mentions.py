"""Phrases to mentions: which observations a sentence speaks of, before asking what it says of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from labelers.lexicon_files import Cue, Phrase, Subject
from labelers.patterns import Match, PatternSet
from labelers.vocabulary import Vocabulary

_ASKS = frozenset(":?=-(\u2013")
_ENDS_ANSWER = frozenset(".,;!)。")
_PARTS = frozenset((".", ",", ";", ":", "with", "and", "no", "\u2013"))


class Mention(NamedTuple):
    """Tokens [start, end) that name an observation; `head` begins the part that cues must reach.

    Attributes:
        observations: Indices into the vocabulary's observations followed by its helpers; several for a subject.
        kind: "positive", "uncertain", "negative" (see `Phrase.kind`), or "subject" (counts only if called normal).
        pattern: The lexicon line that matched.
        is_cause: Whether it names something that explains what is seen.
    """

    start: int
    end: int
    head: int
    observations: tuple[int, ...]
    kind: str
    pattern: str
    is_cause: bool = False


class FoundCue(NamedTuple):
    """Tokens [start, end) that are a cue; `head` begins the part after its last gap ("rules ... out")."""

    start: int
    end: int
    head: int
    cue: Cue


#: What a layer of a vocabulary finds in a sentence: mentions and cues, each in order of their start.
Reading = tuple[list[Mention], list[FoundCue]]

_CUE, _PHRASE, _SUBJECT = 0, 1, 2  # a phrase of what a vocabulary adds is _PHRASE + 2, a subject _SUBJECT + 2


class Matcher:
    """The lexicon of a vocabulary, compiled: finds mentions and cues of a tokenized sentence in one pass."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary, self._causes = vocabulary, vocabulary.causes
        self._entries: list[Phrase | Subject | Cue] = [*vocabulary.cues]
        self._sorts = [_CUE] * len(self._entries)
        for i, layer in enumerate(vocabulary.layers()):
            self._entries += [*layer.phrases, *layer.subjects]
            self._sorts += [_PHRASE + 2 * i] * len(layer.phrases) + [_SUBJECT + 2 * i] * len(layer.subjects)
        self._index = {name: i for i, name in enumerate(vocabulary.observations + vocabulary.helpers)}
        self._names = [self._observations_of(entry) for entry in self._entries]
        self._patterns = self._compiled(self._entries)

    def _observations_of(self, entry: Phrase | Subject | Cue) -> tuple[int, ...]:
        if isinstance(entry, Cue):
            return ()
        return tuple(
            self._index[n] for n in (entry.observations if isinstance(entry, Subject) else [entry.observation])
        )

    def _compiled(self, entries: Iterable[Phrase | Subject | Cue]) -> PatternSet:
        gap_stops = self._vocabulary.clause_words.get("gap stops", ())
        return PatternSet((entry.pattern for entry in entries), gap_stops=gap_stops)

    @cached_property
    def _base(self) -> PatternSet:
        base = self._vocabulary.layers()[0]
        return self._compiled([*base.phrases, *base.subjects, *base.cues])

    def knows(self, word: str) -> bool:
        """Tells whether a pattern of the lexicon has `word`, in lower case, or a beginning of it.

        What a vocabulary adds to another does not count: it must not change how the text of that one is read.
        """
        return self._base.knows(word)

    def entries_in(self, tokens: Sequence[str]) -> list[Phrase | Subject | Cue]:
        """Returns every entry of the lexicon whose words occur, whether or not it counts in the end."""
        return [self._entries[match.entry] for match in self._patterns.find(tokens)]

    def __call__(self, tokens: Sequence[str]) -> list[Reading]:
        """Returns what each layer of the vocabulary finds in a sentence; layers without a mention are left out."""
        found: tuple[list[Any], ...] = ([], [], [], [], [])
        entries, sorts = self._entries, self._sorts
        for match in self._patterns.find(tokens):
            found[sorts[match.entry]].append((match, entries[match.entry]))
        if not any(found[1:]):
            return []
        cues = [FoundCue(m.start, m.end, m.head, cue) for m, cue in found[_CUE]]
        if len(cues) > 1:
            cues.sort(key=_leftmost_longest)
        pairs = ((found[_PHRASE], found[_SUBJECT]), (found[_PHRASE + 2], found[_SUBJECT + 2]))
        return [self._read(tokens, cues, phrases, subjects) for phrases, subjects in pairs if phrases or subjects]

    def _read(
        self,
        tokens: Sequence[str],
        cues: list[FoundCue],
        phrases: list[tuple[Match, Phrase]],
        subjects: list[tuple[Match, Subject]],
    ) -> Reading:
        last = len(tokens) - (tokens[-1] in ".!")
        phrases = [(m, p) for m, p in phrases if p.kind != "whole" or (m.start == 0 and m.end == last)]
        mentions = [self._mention(m, p) for m, p in _without_excluded(phrases)]
        kept = _select_cues(cues, mentions, tokens)
        for match, subject in subjects:
            if len(subjects) == 1 or not any(_covers(other, match) for other, _ in subjects):
                start, end, head, entry = match
                mentions.append(Mention(start, end, head, self._names[entry], "subject", subject.pattern))
        return mentions, kept

    def _mention(self, match: Match, phrase: Phrase) -> Mention:
        kind = "positive" if phrase.kind == "whole" else phrase.kind
        is_cause = phrase.observation in self._causes
        start, end, head, entry = match
        return Mention(start, end, head, self._names[entry], kind, phrase.pattern, is_cause)


def _covers(big: Match, small: Match) -> bool:
    """Tells whether `big` is longer than `small` and holds all of it."""
    return big.start <= small.start and small.end <= big.end and big.end - big.start > small.end - small.start


def _without_excluded(found: list[tuple[Match, Phrase]]) -> list[tuple[Match, Phrase]]:
    """Keeps the longest phrase of each observation at each place, unless an exclusion of it overlaps."""
    if len({phrase.observation for _, phrase in found}) == len(found):
        return [(match, phrase) for match, phrase in found if phrase.kind != "excluded"]
    rivals: dict[str, list[tuple[Match, Phrase]]] = {}
    for entry in found:
        rivals.setdefault(entry[1].observation, []).append(entry)
    kept: list[tuple[Match, Phrase]] = []
    places: set[tuple[str, int, int]] = set()  # several patterns can find the same words
    for match, phrase in found:
        place = (phrase.observation, match.start, match.end)
        if phrase.kind == "excluded" or place in places:
            continue
        others = rivals[phrase.observation]
        if len(others) == 1 or not any(_drives_out(m, p, match) for m, p in others):
            kept.append((match, phrase))
            places.add(place)
    return kept


def _drives_out(match: Match, phrase: Phrase, other: Match) -> bool:
    """Tells whether a phrase makes another one of its observation, found at `other`, count for nothing."""
    if phrase.kind != "excluded":
        return _covers(match, other)
    return match.start < other.end and other.start < match.end and not _covers(other, match)


def _leftmost_longest(cue: FoundCue) -> tuple[int, int, bool]:
    return cue.start, -cue.end, cue.cue.reach != "answer"


def _select_cues(cues: list[FoundCue], mentions: list[Mention], tokens: Sequence[str]) -> list[FoundCue]:
    """Keeps, of cues in order, those that do not overlap; words used up by a longer mention are no cue."""
    kept: list[FoundCue] = []
    for cue in cues:
        if kept and cue.start < kept[-1].end:
            continue
        if not _is_used(cue, mentions) and _fits(cue, mentions, tokens):
            kept.append(cue)
    return kept


def _is_used(cue: FoundCue, mentions: list[Mention]) -> bool:
    """Tells whether the words of a cue are part of a mention at least as long."""
    start, end, _, _ = cue
    for mention in mentions:
        if mention.head < end and start < mention.end and mention.end - mention.head >= end - start:
            return True
    return False


def _fits(cue: FoundCue, mentions: list[Mention], tokens: Sequence[str]) -> bool:
    """Tells whether a cue that needs certain surroundings has them."""
    if cue.cue.reach == "answer":
        return _is_answer(cue, mentions, tokens)
    return cue.cue.reach != "between" or _is_alternative(cue, mentions, tokens)


def _is_answer(cue: FoundCue, mentions: list[Mention], tokens: Sequence[str]) -> bool:
    """Tells whether a cue stands where an answer does: "Pneumothorax: no", "effusion (neg)", "Edema? No, stable."."""
    if cue.start == 0 or not (tokens[cue.start - 1] in _ASKS or any(m.end == cue.start for m in mentions)):
        return False
    rest = tokens[cue.end : cue.end + 6]
    return (
        not rest
        or rest[0] in _ENDS_ANSWER
        or (":" in rest and not any(token in ".;," for token in rest[: rest.index(":")]))
    )


def _is_alternative(cue: FoundCue, mentions: list[Mention], tokens: Sequence[str]) -> bool:
    """Tells whether a cue stands between two findings close by, one of them a cause: "atelectasis or pneumonia"."""
    before = max((m for m in mentions if m.end <= cue.head), key=lambda m: m.end, default=None)
    after = min((m for m in mentions if m.start >= cue.end), key=lambda m: m.start, default=None)
    if before is None or after is None or not (before.is_cause or after.is_cause):
        return False
    between = [*tokens[before.end : cue.head], *tokens[cue.end : after.start]]
    return len(between) <= 5 and not any(token in _PARTS for token in between)
