"""The rule labeler: sections, sentences, mentions, scope, aggregation, in that order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from labelers.aggregate import RANK, Aggregator, Summary
from labelers.attribute_states import AttributeStates
from labelers.attributes import load_attributes
from labelers.errors import UserError
from labelers.findings import Finding, Span, Statement
from labelers.lines import unwrap
from labelers.mentions import Matcher
from labelers.normalize import Normalized, normalize
from labelers.patterns import tokenize
from labelers.scope import Scopes
from labelers.sections import read_sections
from labelers.sentences import sentence_spans
from labelers.statements import ReadMention, statements
from labelers.vocabulary import Vocabulary, load_vocabulary

_CACHE_LIMIT = 100_000
_STATEMENT_CACHE_LIMIT = 50_000  # statements are larger than summaries


class RuleLabeler:
    """Labels reports by phrases and cues read from a vocabulary of text files.

    The same sentence is analysed once per labeler: reports repeat themselves, and a sentence's mentions never
    depend on the sentences around it.

    Args:
        vocabulary: A name (`chexpert14`, ...), the path of a folder, or a loaded one; see `labelers.vocabulary`.
        profile: Conventions of one annotation project, laid over the vocabulary; None for the plain reading.
        attributes: Some of "side" and "size", which then get columns of their own: "Pleural Effusion (left)".
    """

    def __init__(
        self, vocabulary: str | Vocabulary = "chexpert14", *, profile: str | None = None, attributes: Sequence[str] = ()
    ) -> None:
        self._vocabulary = vocabulary if isinstance(vocabulary, Vocabulary) else load_vocabulary(vocabulary, profile)
        self._matcher = Matcher(self._vocabulary)
        self._aggregator = Aggregator(self._vocabulary)
        self._names = self._vocabulary.observations + self._vocabulary.helpers
        self._own = frozenset(self._vocabulary.observations)
        self._attributes = load_attributes(self._vocabulary.language)
        self._attribute_states = AttributeStates(self._vocabulary.observations, attributes) if attributes else None
        self._summaries: dict[str, Summary] = {}
        self._said: dict[str, tuple[Statement, ...]] = {}

    @property
    def name(self) -> str:
        """The labeler and its vocabulary."""
        return f"rules/{self._vocabulary.name}"

    @property
    def language(self) -> str:
        """The language of the reports it reads, such as "english"."""
        return self._vocabulary.language

    @property
    def observations(self) -> tuple[str, ...]:
        """The columns of the result, in order."""
        return self._vocabulary.observations + self.attributes

    @property
    def attributes(self) -> tuple[str, ...]:
        """Those of the columns that are sides and sizes of observations."""
        return self._attribute_states.names if self._attribute_states else ()

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Returns states (N, O), float32, for N reports, sections or sentences."""
        if isinstance(texts, str):
            raise UserError("Found one string; a labeler is called with a list of texts. Write labeler([text]).")
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

    def findings(self, text: str) -> list[Finding]:
        """Returns every finding of `text` as a record, in reading order.

        The state of an observation is that of its findings by precedence: positive, uncertain, negative. No Finding
        is the exception: it has a record only where the text says so, and a state by what else is found.
        """
        return [finding for finding in self.explain(text) if finding.said.observation in self._own]

    def labels_and_findings(self, texts: Sequence[str]) -> tuple[np.ndarray, list[list[Finding]]]:
        """Returns states (N, O) of N reports and the findings of each, cut into sentences once for both."""
        ranks, found = [], []
        for text in texts:
            plain = self._plain(text)
            sentences = self._sentences(plain.text)
            evidence = self._evidence(plain, sentences)
            found.append([finding for finding in evidence if finding.said.observation in self._own])
            own = self._aggregator.ranks(self._summary(plain.text[start:end]) for _, (start, end) in sentences)
            ranks.append(own + self._attribute_ranks((finding.said for finding in evidence), whole=True))
        states = self._aggregator.states(ranks) if ranks else np.empty((0, len(self.observations)), dtype=np.float32)
        return states, found

    def explain(self, text: str) -> list[Finding]:
        """Returns the evidence for every state that `text` gets: its findings, and those of helpers."""
        plain = self._plain(text)
        return self._evidence(plain, self._sentences(plain.text))

    def _evidence(self, plain: Normalized, sentences: Sequence[tuple[str, Span]]) -> list[Finding]:
        return [
            Finding(section, start, said, plain)
            for section, (start, end) in sentences
            for said in self._statements(plain.text[start:end])
        ]

    def _plain(self, text: str) -> Normalized:
        """Returns `text` with odd characters made plain and its mere wraps undone."""
        plain = normalize(text, knows=self._matcher.knows)
        return replace(plain, text=unwrap(plain.text, language=self._vocabulary.language))

    def _sentences(self, text: str) -> list[tuple[str, Span]]:
        language = self._vocabulary.language
        return [
            (section.name, span)
            for section in read_sections(text, language=language)
            for span in sentence_spans(text, section.start, section.end, language=language)
        ]

    def _ranks(self, text: str, *, whole: bool = True) -> list[int]:
        plain, language = self._plain_text(text), self._vocabulary.language
        known, said, stated = self._summaries, list[Summary](), list[Statement]()
        for section in read_sections(plain, language=language):
            for start, end in sentence_spans(plain, section.start, section.end, language=language):
                sentence = plain[start:end]
                summary = known.get(sentence)
                said.append(self._summary(sentence) if summary is None else summary)
                if self._attribute_states is not None:
                    stated += self._statements(sentence)
        return self._aggregator.ranks(said, whole=whole) + self._attribute_ranks(stated, whole=whole)

    def _attribute_ranks(self, said: Iterable[Statement], *, whole: bool) -> list[int]:
        return self._attribute_states.ranks(said, whole=whole) if self._attribute_states else []

    def _plain_text(self, text: str) -> str:
        return unwrap(normalize(text, knows=self._matcher.knows).text, language=self._vocabulary.language)

    def _summary(self, sentence: str) -> Summary:
        summary = self._summaries.get(sentence)
        if summary is None:
            summary = self._keep_summary(sentence, self._read(tokenize(sentence)))
        return summary

    def _keep_summary(self, sentence: str, read: Sequence[ReadMention]) -> Summary:
        found: dict[int, int] = {}
        for mention, state, _ in read:
            rank = RANK.get(state, 0)
            for observation in mention.observations:
                if rank > found.get(observation, 0):
                    found[observation] = rank
        if len(self._summaries) >= _CACHE_LIMIT:
            self._summaries.clear()
        summary = self._summaries[sentence] = tuple(found.items())
        return summary

    def _read(self, tokens: Sequence[str]) -> list[ReadMention]:
        """Returns the mentions of a sentence with their states and deciding cues."""
        read: list[ReadMention] = []
        for mentions, cues in self._matcher(tokens):
            scopes = Scopes(tokens, cues, mentions, clause_words=self._vocabulary.clause_words)
            read += [(mention, *scopes.state_of(mention)) for mention in mentions]
        return read

    def _statements(self, sentence: str) -> tuple[Statement, ...]:
        said = self._said.get(sentence)
        if said is None:
            tokens = tokenize(sentence)
            read = self._read(tokens)
            self._keep_summary(sentence, read)  # who asks for findings mostly asks for labels too
            said = statements(sentence, tokens, read, self._names, self._attributes)
            if len(self._said) >= _STATEMENT_CACHE_LIMIT:
                self._said.clear()
            self._said[sentence] = said
        return said
