"""How texts are labelled: which labeler, which vocabulary; and how they are cut into sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

import labelers
from labelers.labeler import Labeler, load_labeler
from labelers.rules import RuleLabeler
from medclip.data.prepared import digest
from medclip.utils.text import names_in


@dataclass(frozen=True)
class Labelling:
    """A labeler and its settings, small enough to travel to other processes.

    Attributes:
        labeler: Name of the labeler; see `labelers.load_labeler`.
        vocabulary: Vocabulary of the rules, by name or folder. They also cut texts into sentences.
        profile: Conventions of an annotation project for the rules to follow.
        checkpoint: Checkpoint of a labeler that is a network.
        attributes: Attributes that the rules give columns of their own, separated by commas; see `RuleLabeler`.
    """

    labeler: str = "rules"
    vocabulary: str = "chexpert14"
    profile: str | None = None
    checkpoint: str = ""
    attributes: str = ""

    def load(self) -> Labeler:
        """Returns the labeler; built once in each process.

        Raises:
            UserError: The labeler, its vocabulary or profile is unknown.
        """
        return _rules(self) if self.labeler == "rules" else _network(self)

    def cutter(self) -> RuleLabeler:
        """Returns the rules that cut texts into sentences."""
        return _rules(self)

    def of_sentences(self, sentences: Sequence[str]) -> np.ndarray:
        """Returns states (N, O) of sentences, each taken for a part of a report."""
        labeler = self.load()
        return labeler.label_sentences(sentences) if isinstance(labeler, RuleLabeler) else labeler(sentences)

    def digest(self) -> str:
        """Returns a name for the labels it gives: settings, rules and lexicon."""
        own = Path(self.vocabulary)
        files = sorted(path for path in own.rglob("*") if path.is_file()) if own.is_dir() else []
        return digest(repr(self), lexicon_digest(), *(path.read_bytes() for path in files))


@lru_cache(maxsize=4)
def _rules(labelling: Labelling) -> RuleLabeler:
    return RuleLabeler(labelling.vocabulary, profile=labelling.profile, attributes=names_in(labelling.attributes))


@lru_cache(maxsize=1)
def _network(labelling: Labelling) -> Labeler:
    return load_labeler(labelling.labeler, checkpoint=labelling.checkpoint)


def lexicon_digest() -> str:
    """Returns a digest of the labeler's rules and data: other labels, other name."""
    root = Path(labelers.__file__).parent
    files = sorted(path for path in root.rglob("*") if path.suffix in (".py", ".txt", ".yaml"))
    return digest(*(path.read_bytes() for path in files))
