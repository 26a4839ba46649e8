"""Mentions to one state per observation.

Precedence is the published one (Irvin et al. 2019, section 3.1): positive over uncertain over negative. Differences
from the CheXpert labeler's code: an observation mentioned in all three ways is positive (the code gives uncertain);
No Finding needs a statement in its favour (the code gives it to an empty text); heart failure does not add an
uncertain Cardiomegaly. All three are in `docs/lexicon.md` with their reasons.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from labelers.observations import NEGATIVE, POSITIVE, UNCERTAIN, UNMENTIONED
from labelers.vocabulary import Vocabulary

#: States ranked by precedence; rank 0 is unmentioned.
RANK = {"negative": 1, "uncertain": 2, "positive": 3}
_STATE = np.array([UNMENTIONED, NEGATIVE, UNCERTAIN, POSITIVE], dtype=np.float32)

#: One sentence, summed up: (observation index, rank) pairs.
Summary = tuple[tuple[int, int], ...]


class Aggregator:
    """Joins what sentences say into one row of states, under the rules of a vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        names = vocabulary.observations + vocabulary.helpers
        self._size, self._total = len(vocabulary.observations), len(names)
        self._no_finding = names.index(vocabulary.no_finding) if vocabulary.no_finding else None
        devices = names.index(vocabulary.devices) if vocabulary.devices else None
        self._general = [i for i in range(self._size, self._total) if names[i] == "Abnormality"]
        silent = (self._no_finding, devices, *(names.index(name) for name in vocabulary.added))
        self._judges = [i for i in range(self._total) if i not in silent]

    def ranks(self, summaries: Iterable[Summary], *, whole: bool = True) -> list[int]:
        """Returns the rank of each observation over `summaries`, No Finding included.

        Args:
            summaries: Of the sentences to join.
            whole: Whether they are a whole report. Then any denial supports No Finding, as published. In a part of
                one, "no pneumothorax" says nothing about the rest, and only a statement about everything counts.
        """
        ranks = [0] * self._total
        for summary in summaries:
            for observation, rank in summary:
                ranks[observation] = max(ranks[observation], rank)
        if self._no_finding is not None:
            witnesses = self._judges if whole else self._general
            supported = ranks[self._no_finding] == 3 or any(ranks[i] == 1 for i in witnesses)
            disturbed = any(ranks[i] > 1 for i in self._judges)
            ranks[self._no_finding] = 3 if supported and not disturbed else 0
        return ranks[: self._size]

    @staticmethod
    def states(ranks: list[list[int]]) -> np.ndarray:
        """Returns states (N, O), float32, for N rows of ranks."""
        return _STATE[np.asarray(ranks, dtype=np.intp)]
