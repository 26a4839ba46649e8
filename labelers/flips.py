"""The same sentence with one state turned round: a claim denied, or a denial claimed.

Sentences are rewritten by rules, and a rewriting counts only if the labeler reads exactly one state the other way round
and all others as before. What cannot be turned round so is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from labelers.observations import NO_FINDING
from labelers.rules import RuleLabeler

#: Patterns whose replacement denies what a sentence claims; the first that the labeler agrees with is taken.
_DENY = (
    (r"\bthere (is|are|has been|have been) (?!no\b)(?:an? |some )?", r"there \1 no "),
    (r"\b(is|are|was|were)(?: again| now| also)? (?=(?:\w+ ){0,2}(?:enlarged|widened|seen|present|noted|visible))",
     r"\1 not "),
    (r"\bwith (?!no\b)(?:an? )?(?=\w)", "without "),
    (r"\band (?:an? |the )?(?=\w)", "and no "),
    (r"^(?!no\b)(?!.*\b(?:is|are|was|were|has|have|may|appears?|remains?)\b)(?:an? |the )?(?=\w)", "no "),
    (r"\b(?:mildly |moderately |severely |markedly )?(?:enlarged|widened)\b", "normal"),
    (r"\b(?:fractured|deformed)\b", "intact"),
)  # fmt: skip
#: Patterns whose replacement claims what a sentence denies.
_CLAIM = (
    (r"\bthere (is|are|has been|have been) no (?:evidence of |evidence for |sign of |signs of )?(?:an? |any )?",
     r"there \1 "),
    (r"^no (?=\w.*\b(?:is|are|was|were)\b)", ""),
    (r"^no (?:evidence of |evidence for |sign of |signs of )?(?:an? |any )?(?=\w)", "there is "),
    (r"\bwithout (?:evidence of |evidence for |sign of |signs of )?(?:an? |any )?(?=\w)", "with "),
    (r"\bnegative for (?:an? |any )?", "positive for "),
    (r"\b(is|are|was|were) not ", r"\1 "),
    (r"\b(?:and|or) no (?=\w)", "and "),
    (r"\bno (?=\w)", ""),
    (r"\b(?:normal|within normal limits|not enlarged|unremarkable)(?: in size)?\b", "enlarged"),
    (r"\bnormal (?=heart|cardiac|mediastin)", "enlarged "),
    (r"\bintact\b", "fractured"),
)  # fmt: skip
#: Longest sentence, in words, that is turned round: a rewriting of a long one says many other things too.
_LONGEST = 25


@dataclass(frozen=True)
class Flip:
    """A sentence and the same with one state turned round.

    Attributes:
        sentence: Which of the sentences.
        observation: Whose state is turned round.
        claimed: Whether the sentence claims it, and the rewriting denies it.
        text: The rewriting.
    """

    sentence: int
    observation: str
    claimed: bool
    text: str


def flips(sentences: Sequence[str], labeler: RuleLabeler) -> list[Flip]:
    """Returns at most one flip of each sentence, in order.

    Args:
        sentences: Sentences of reports.
        labeler: Reads them, and decides what a rewriting says.

    Examples:
        >>> from labelers.rules import RuleLabeler
        >>> from labelers.flips import flips
        >>> [flip.text for flip in flips(["There is a small left pneumothorax.", "No fracture."], RuleLabeler())]
        ['There is no small left pneumothorax.', 'There is fracture.']
    """
    short = [i for i, text in enumerate(sentences) if 0 < len(text.split()) <= _LONGEST]
    tried = [(i, text) for i in short for text in _rewritings(sentences[i])]
    columns = [j for j, name in enumerate(labeler.observations) if name != NO_FINDING]
    names = [labeler.observations[j] for j in columns]
    before = labeler.label_sentences([sentences[i] for i, _ in tried])[:, columns]
    after = labeler.label_sentences([text for _, text in tried])[:, columns]
    found: dict[int, Flip] = {}
    for (i, text), old, new in zip(tried, before, after, strict=True):
        changed = np.flatnonzero(~((old == new) | (np.isnan(old) & np.isnan(new))))
        if i not in found and len(changed) == 1 and {float(old[changed[0]]), float(new[changed[0]])} == {0.0, 1.0}:
            found[i] = Flip(i, names[changed[0]], bool(old[changed[0]] == 1), text)
    return [found[i] for i in sorted(found)]


def _rewritings(sentence: str) -> Iterator[str]:
    """Yields a sentence rewritten by each rule at each place it fits, as a sentence again."""
    for pattern, replacement in (*_CLAIM, *_DENY):
        for place in re.finditer(pattern, sentence, flags=re.IGNORECASE):
            head, tail = sentence[: place.start()], sentence[place.end() :]
            rewritten = " ".join(f"{head}{place.expand(replacement)}{_lowered(head, tail)}".split())
            yield rewritten[:1].upper() + rewritten[1:]


def _lowered(head: str, tail: str) -> str:
    """Returns the rest of a sentence, its first letter small where it began the sentence and is no abbreviation."""
    starts = not head.strip() and len(tail) > 1 and tail[0].isupper() and tail[1].islower()
    return tail[0].lower() + tail[1:] if starts else tail
