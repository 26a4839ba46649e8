"""Phrases to mentions: which observations a sentence speaks of, before asking what it says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from labelers.patterns import Match, PatternSet
from labelers.vocabulary import Cue, Phrase, Subject, Vocabulary

_ASKS = frozenset(":?=-(\u2013")
_ENDS_ANSWER = frozenset(".,;!)。")
_PARTS = frozenset((".", ",", ";", ":", "with", "and", "no", "\u2013"))


class Mention(NamedTuple):
    """Tokens [start, end) that name an observation; `head` begins the part that cues must reach.

    Attributes:
        observations: indices into the vocabulary's observations followed by its helpers; several for a subject.
        kind: "positive", "uncertain", "negative" (see `Phrase.kind`), or "subject" (counts only if called normal).
        pattern: the lexicon line that matched.
        is_cause: whether it names something that explains what is seen.
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


class Matcher:
    """The lexicon of a vocabulary, compiled: finds mentions and cues of a tokenized sentence in one pass."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._entries: list[Phrase | Subject | Cue] = [*vocabulary.phrases, *vocabulary.subjects, *vocabulary.cues]
        names = vocabulary.observations + vocabulary.helpers
        self._causes = vocabulary.causes
        self._index = {name: i for i, name in enumerate(names)}
        self._patterns = PatternSet(
            (entry.pattern for entry in self._entries), gap_stops=vocabulary.clause_words.get("gap stops", ())
        )

    def knows(self, word: str) -> bool:
        """Tells whether a pattern of the lexicon has `word`, in lower case, or a beginning of it."""
        return self._patterns.knows(word)

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
        last = len(tokens) - (tokens[-1] in ".!")
        phrases = [(m, p) for m, p in phrases if p.kind != "whole" or (m.start == 0 and m.end == last)]
        mentions = [self._mention(m, p) for m, p in _without_excluded(phrases)]
        kept = _select_cues([FoundCue(m.start, m.end, m.head, cue) for m, cue in cues], mentions, tokens)
        for match, subject in subjects:
            if not any(_covers(other, match) for other, _ in subjects):
                observations = tuple(self._index[name] for name in subject.observations)
                mentions.append(Mention(match.start, match.end, match.head, observations, "subject", subject.pattern))
        return mentions, kept

    def _mention(self, match: Match, phrase: Phrase) -> Mention:
        index = self._index[phrase.observation]
        kind = "positive" if phrase.kind == "whole" else phrase.kind
        return Mention(
            match.start, match.end, match.head, (index,), kind, phrase.pattern, phrase.observation in self._causes
        )


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


def _select_cues(cues: list[FoundCue], mentions: list[Mention], tokens: Sequence[str]) -> list[FoundCue]:
    """Keeps the leftmost longest cues that do not overlap; words used up by a longer mention are no cue."""
    kept: list[FoundCue] = []
    for cue in sorted(cues, key=lambda c: (c.start, -c.end, c.cue.reach != "answer")):
        if kept and cue.start < kept[-1].end:
            continue
        used = any(
            mention.head < cue.end and cue.start < mention.end and mention.end - mention.head >= cue.end - cue.start
            for mention in mentions
        )
        if not used and _fits(cue, mentions, tokens):
            kept.append(cue)
    return kept


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
