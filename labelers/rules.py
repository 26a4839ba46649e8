"""The rule labeler: sections, sentences, mentions, scope, aggregation, in that order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from labelers.aggregate import RANK, Aggregator, Summary
from labelers.attributes import load_attributes
from labelers.lines import unwrap
from labelers.mentions import Matcher
from labelers.normalize import Normalized, normalize
from labelers.patterns import token_spans, tokenize
from labelers.scope import Scopes
from labelers.sections import read_sections
from labelers.sentences import sentence_spans
from labelers.vocabulary import Vocabulary, load_vocabulary

_CACHE_LIMIT = 500_000


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why an observation got a state: one mention, the sentence it stands in, and the cue that decided.

    Attributes:
        sentence: characters [start, end) of the text.
        span: characters [start, end) of the mention.
        pattern: the lexicon line that found the mention.
        cue: the lexicon line of the deciding cue, or "" where the mention speaks for itself.
        cue_span: characters [start, end) of that cue, or None.
        attributes: severity, side, location and course, where they are said.
    """

    observation: str
    state: str
    sentence: tuple[int, int]
    span: tuple[int, int]
    pattern: str
    cue: str
    cue_span: tuple[int, int] | None
    attributes: Mapping[str, str]


class RuleLabeler:
    """Labels reports by phrases and cues read from a vocabulary of text files.

    The same sentence is analysed once per labeler: reports repeat themselves, and a sentence's mentions never
    depend on the sentences around it.

    Args:
        vocabulary: a name (`chexpert14`, ...), the path of a folder, or a loaded one; see `labelers.vocabulary`.
        profile: conventions of one annotation project, laid over the vocabulary; None for the plain reading.
    """

    def __init__(self, vocabulary: str | Vocabulary = "chexpert14", *, profile: str | None = None) -> None:
        self._vocabulary = vocabulary if isinstance(vocabulary, Vocabulary) else load_vocabulary(vocabulary, profile)
        self._matcher = Matcher(self._vocabulary)
        self._aggregator = Aggregator(self._vocabulary)
        self._names = self._vocabulary.observations + self._vocabulary.helpers
        self._summaries: dict[str, Summary] = {}

    @property
    def name(self) -> str:
        """The labeler and its vocabulary."""
        return f"rules/{self._vocabulary.name}"

    @property
    def observations(self) -> tuple[str, ...]:
        """The columns of the result, in order."""
        return self._vocabulary.observations

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Returns states (N, O), float32, for N reports, sections or sentences."""
        if isinstance(texts, str):
            raise ValueError("Found one string; a labeler is called with a list of texts. Write labeler([text]).")
        if not len(texts):
            return np.empty((0, len(self.observations)), dtype=np.float32)
        return self._aggregator.states([self._ranks(text) for text in texts])

    def label_sentences(self, sentences: Sequence[str]) -> np.ndarray:
        """Returns states (N, O) of N sentences, each taken for a part of a report and not for all of it.

        The difference is No Finding: as a sentence, "No pneumothorax." does not claim that nothing else was found.
        """
        ranks = [self._ranks(text, whole=False) for text in sentences]
        return self._aggregator.states(ranks) if ranks else np.empty((0, len(self.observations)), dtype=np.float32)

    def sentences(self, text: str) -> list[tuple[str, tuple[int, int]]]:
        """Returns (section, character span) of every sentence that is labelled, in order."""
        plain = self._plain(text)
        return [(section, plain.original(start, end)) for section, (start, end) in self._sentences(plain.text)]

    def explain(self, text: str) -> list[Evidence]:
        """Returns the evidence for every state that `text` gets, in reading order."""
        plain = self._plain(text)
        evidence = []
        for _, (start, end) in self._sentences(plain.text):
            evidence += self._explain_sentence(plain, start, end)
        return evidence

    def _plain(self, text: str) -> Normalized:
        """Returns `text` with odd characters made plain and its mere wraps undone."""
        plain = normalize(text, knows=self._matcher.knows)
        return replace(plain, text=unwrap(plain.text, language=self._vocabulary.language))

    def _sentences(self, text: str) -> list[tuple[str, tuple[int, int]]]:
        language = self._vocabulary.language
        return [
            (section.name, span)
            for section in read_sections(text, language=language)
            for span in sentence_spans(text, section.start, section.end, language=language)
        ]

    def _ranks(self, text: str, *, whole: bool = True) -> list[int]:
        plain = self._plain(text).text
        spans = (span for _, span in self._sentences(plain))
        return self._aggregator.ranks((self._summary(plain[start:end]) for start, end in spans), whole=whole)

    def _summary(self, sentence: str) -> Summary:
        summary = self._summaries.get(sentence)
        if summary is None:
            found: dict[int, int] = {}
            tokens = tokenize(sentence)
            mentions, cues = self._matcher(tokens)
            if mentions:
                scopes = Scopes(tokens, cues, mentions, clause_words=self._vocabulary.clause_words)
                for mention in mentions:
                    rank = RANK.get(scopes.state_of(mention)[0], 0)
                    for observation in mention.observations:
                        if rank > found.get(observation, 0):
                            found[observation] = rank
            summary = tuple(found.items())
            if len(self._summaries) >= _CACHE_LIMIT:
                self._summaries.clear()
            self._summaries[sentence] = summary
        return summary

    def _explain_sentence(self, plain: Normalized, start: int, end: int) -> list[Evidence]:
        sentence = plain.text[start:end]
        tokens, spans = tokenize(sentence), token_spans(sentence)
        mentions, cues = self._matcher(tokens)
        scopes = Scopes(tokens, cues, mentions, clause_words=self._vocabulary.clause_words)

        def characters(first: int, last: int) -> tuple[int, int]:
            return plain.original(start + spans[first][0], start + spans[last - 1][1])

        evidence = []
        told = load_attributes(self._vocabulary.language)(tokens, mentions)
        for mention, attributes in zip(mentions, told, strict=True):
            state, cue = scopes.state_of(mention)
            if state not in RANK:
                continue
            evidence += [
                Evidence(
                    observation=self._names[index],
                    state=state,
                    sentence=plain.original(start, end),
                    span=characters(mention.start, mention.end),
                    pattern=mention.pattern,
                    cue=cue.cue.pattern if cue else "",
                    cue_span=characters(cue.start, cue.end) if cue else None,
                    attributes=attributes,
                )
                for index in mention.observations
            ]
        return evidence
