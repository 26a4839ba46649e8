"""Phrases to mentions: which observations a sentence speaks of, before asking what it says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labelers.patterns import Match, PatternSet
from labelers.vocabulary import Cue, Phrase, Subject, Vocabulary


@dataclass(frozen=True, slots=True)
class Mention:
    """Tokens [start, end) that name an observation; `head` begins the part that cues must reach.

    Attributes:
        observations: indices into the vocabulary's observations followed by its helpers; several for a subject.
        kind: "positive", "uncertain", "negative" (see `Phrase.kind`), or "subject" (counts only if called normal).
        pattern: the lexicon line that matched.
    """

    start: int
    end: int
    head: int
    observations: tuple[int, ...]
    kind: str
    pattern: str


@dataclass(frozen=True, slots=True)
class FoundCue:
    """Tokens [start, end) that are a cue."""

    start: int
    end: int
    cue: Cue


class Matcher:
    """The lexicon of a vocabulary, compiled: finds mentions and cues of a tokenized sentence in one pass."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._entries: list[Phrase | Subject | Cue] = [*vocabulary.phrases, *vocabulary.subjects, *vocabulary.cues]
        names = vocabulary.observations + vocabulary.helpers
        self._index = {name: i for i, name in enumerate(names)}
        self._patterns = PatternSet(
            (entry.pattern for entry in self._entries), gap_stops=vocabulary.clause_words.get("gap stops", ())
        )

    def entries_in(self, tokens: Sequence[str]) -> list[Phrase | Subject | Cue]:
        """Returns every entry of the lexicon whose words occur, whether or not it counts in the end."""
        return [self._entries[match.entry] for match in self._patterns.find(tokens)]

    def __call__(self, tokens: Sequence[str]) -> tuple[list[Mention], list[FoundCue]]:
        """Returns the mentions and the cues of one sentence, each in order of their start."""
        phrases: list[tuple[Match, Phrase]] = []
        subjects: list[tuple[Match, Subject]] = []
        cues: list[tuple[Match, Cue]] = []
        for match in self._patterns.find(tokens):
            entry = self._entries[match.entry]
            if isinstance(entry, Cue):
                cues.append((match, entry))
            elif isinstance(entry, Phrase):
                phrases.append((match, entry))
            else:
                subjects.append((match, entry))
        if not phrases and not subjects:
            return [], []
        mentions = [
            Mention(m.start, m.end, m.head, (self._index[p.observation],), p.kind, p.pattern)
            for m, p in _without_excluded(phrases)
        ]
        kept = _select_cues([FoundCue(m.start, m.end, cue) for m, cue in cues], mentions)
        for match, subject in subjects:
            if not any(_covers(other, match) for other, _ in subjects):
                observations = tuple(self._index[name] for name in subject.observations)
                mentions.append(Mention(match.start, match.end, match.head, observations, "subject", subject.pattern))
        return mentions, kept


def _covers(big: Match, small: Match) -> bool:
    """Tells whether `big` is longer than `small` and holds all of it."""
    return big.start <= small.start and small.end <= big.end and big.end - big.start > small.end - small.start


def _without_excluded(found: list[tuple[Match, Phrase]]) -> list[tuple[Match, Phrase]]:
    """Keeps the longest phrase of each observation at each place, unless an exclusion of it overlaps."""
    kept: list[tuple[Match, Phrase]] = []
    places: set[tuple[str, int, int]] = set()  # several patterns can find the same words
    for match, phrase in found:
        place = (phrase.observation, match.start, match.end)
        if phrase.kind == "excluded" or place in places:
            continue
        rivals = [(m, p) for m, p in found if p.observation == phrase.observation and m is not match]
        excluded = any(
            p.kind == "excluded" and m.start < match.end and match.start < m.end and not _covers(match, m)
            for m, p in rivals
        )
        if not excluded and not any(_covers(m, match) for m, p in rivals if p.kind != "excluded"):
            kept.append((match, phrase))
            places.add(place)
    return kept


def _select_cues(cues: list[FoundCue], mentions: list[Mention]) -> list[FoundCue]:
    """Keeps the leftmost longest cues that do not overlap; words used up by a longer mention are no cue."""
    kept: list[FoundCue] = []
    for cue in sorted(cues, key=lambda c: (c.start, -c.end)):
        if kept and cue.start < kept[-1].end:
            continue
        used = any(
            mention.head < cue.end and cue.start < mention.end and mention.end - mention.head >= cue.end - cue.start
            for mention in mentions
        )
        if not used:
            kept.append(cue)
    return kept
