"""Words and the patterns over them: one tokenizer, and a trie that finds every pattern of a lexicon in one pass.

A pattern is written as words. `a|b` is a choice, `word*` matches by its beginning, `(word)` may be missing and
`...` stands for up to `MAX_GAP` other words. Matching costs time linear in the number of tokens: a walk through
the trie is bounded by the longest pattern, never by the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from labelers.errors import UserError

#: A word, a number, a run of de-identification blanks, a Chinese character, "(-)", or one mark that can end a scope.
TOKEN = re.compile(
    r"[\u3400-\u9fff]|[^\W\d_\u3400-\u9fff]+(?:'[^\W\d_]+)?|\d+(?:\.\d+)?|_+|\([-+]\)|[.,;:?!()/=，。；：？！、\u2013]"
    r"|(?<=\s)--?(?=\s)"
)
#: The same for text that is ASCII and folded.
_ASCII_TOKEN = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+(?:\.\d+)?|_+|\([-+]\)|[.,;:?!()/=]|(?<=\s)--?(?=\s)")
MAX_GAP = 5
#: The words one place of a pattern admits; "word*" is a beginning, `GAP` stands for up to `MAX_GAP` words.
Choice = tuple[str, ...]
GAP: Choice = ("...",)
_CACHE_LIMIT = 200_000
_WIDTHS = str.maketrans("’，；：？！（）", "',;:?!()")


def fold(text: str) -> str:
    """Returns `text` in lower case, character for character, so that offsets still point into the original."""
    if text.isascii():
        return text.lower()
    text = text.translate(_WIDTHS)
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


def tokenize(text: str) -> list[str]:
    """Returns the tokens of `text`, folded. Hyphens and quotes only separate: "air-space" is two tokens."""
    folded = fold(text)
    return (_ASCII_TOKEN if folded.isascii() else TOKEN).findall(folded)


def token_spans(text: str) -> list[tuple[int, int]]:
    """Returns the character span of each token that `tokenize` gives."""
    return [match.span() for match in TOKEN.finditer(fold(text))]


class Match(NamedTuple):
    """One pattern found: tokens [start, end), of which `head` begins the part after the last gap."""

    start: int
    end: int
    head: int
    entry: int


@dataclass(slots=True)
class _Node:
    """A place in the trie of all patterns: where each choice of words leads, and what is complete here."""

    children: dict[int, _Node] = field(default_factory=dict)
    after_gap: _Node | None = None
    entries: list[int] = field(default_factory=list)


class _State(dict[str, "_State | None"]):
    """The places of the trie that the same words lead to: `state[word]` is where `word` leads from here, or None."""

    __slots__ = ("after_gaps", "entries", "is_open", "nodes", "symbols")

    def __init__(self, nodes: Sequence[_Node], symbols: _Symbols) -> None:
        self.nodes, self.symbols = nodes, symbols
        self.entries = [entry for node in nodes for entry in node.entries]
        self.after_gaps = [_State([node.after_gap], symbols) for node in nodes if node.after_gap is not None]
        self.is_open = not self.entries and not self.after_gaps  # the next word alone decides

    def __missing__(self, word: str) -> _State | None:
        """Finds where a word leads that was not met here before, and remembers it."""
        nodes: list[_Node] = []
        if found := self.symbols[word]:
            for node in self.nodes:
                children = node.children
                nodes += [children[symbol] for symbol in found if symbol in children]
        self.symbols.steps += 1
        self[word] = following = _State(nodes, self.symbols) if nodes else None
        return following


class _Symbols(dict[str, tuple[int, ...]]):
    """The choices of words that occur in patterns, numbered: `symbols[word]` are those that `word` is one of.

    Attributes:
        steps: how many words were met, in all states.
    """

    def __init__(self) -> None:
        self.steps = 0
        self._numbers: dict[Choice, int] = {}
        self._literals: dict[str, list[int]] = {}
        self._prefixes: dict[str, list[int]] = {}

    def number(self, words: Choice) -> int:
        """Returns the number of a choice of words; every one of them leads to it."""
        number = self._numbers.get(words)
        if number is None:
            number = self._numbers[words] = len(self._numbers)
            for word in words:
                table, key = (self._prefixes, word[:-1]) if word.endswith("*") else (self._literals, word)
                table.setdefault(key, []).append(number)
        return number

    def __missing__(self, word: str) -> tuple[int, ...]:
        found = list(self._literals.get(word, ()))
        for length in range(1, len(word) + 1):
            found += self._prefixes.get(word[:length], ())
        self[word] = known = tuple(dict.fromkeys(found))
        return known


class PatternSet:
    """All patterns of a lexicon, compiled once, matched together.

    The trie has choices of words on its edges. While it reads, it is made deterministic: a state remembers where each
    word leads, so that the next time one look-up is enough.

    Args:
        patterns: The written patterns; `Match.entry` is an index into this list.
        gap_stops: Words that no gap may cross.

    Raises:
        UserError: A pattern is empty or its syntax is wrong.
    """

    def __init__(self, patterns: Iterable[str], *, gap_stops: Iterable[str] = ()) -> None:
        self._symbols = _Symbols()
        self._gap_stops = frozenset(gap_stops) | frozenset(".;:?!()")
        self._root = _Node()
        for entry, pattern in enumerate(patterns):
            for variant in expand(pattern):
                self._insert(variant, entry)
        self._first = _State([self._root], self._symbols)

    def _forget(self) -> None:
        """Forgets the words that were met."""
        self._symbols.clear()
        self._symbols.steps = 0
        self._first = _State([self._root], self._symbols)

    def _insert(self, items: Sequence[Choice], entry: int) -> None:
        node = self._root
        for words in items:
            if words == GAP:
                node.after_gap = node.after_gap or _Node()
                node = node.after_gap
            else:
                node = node.children.setdefault(self._symbols.number(words), _Node())
        if entry not in node.entries:
            node.entries.append(entry)

    def knows(self, word: str) -> bool:
        """Tells whether `word` is a word of a pattern, or begins with a "word*" of one."""
        return bool(self._symbols[word])

    def find(self, tokens: Sequence[str]) -> list[Match]:
        """Returns every match in `tokens`, overlapping ones included, in order of their start."""
        if self._symbols.steps > _CACHE_LIMIT or len(self._symbols) > _CACHE_LIMIT:
            self._forget()
        found: list[Match] = []
        first, size = self._first, len(tokens)
        for start, token in enumerate(tokens):
            state, position = first[token], start + 1
            while state is not None and state.is_open and position < size:  # mostly it ends here: nothing begins
                state = state[tokens[position]]
                position += 1
            if state is not None:
                self._walk(state, start, position, start, tokens, found)
        return found

    def _walk(
        self, state: _State | None, start: int, position: int, head: int, tokens: Sequence[str], found: list[Match]
    ) -> None:
        """Adds the matches that begin at `start`, of which the tokens before `position` led to `state`."""
        size = len(tokens)
        gaps: list[tuple[_State, int]] = []
        while state is not None:
            for entry in state.entries:
                found.append(Match(start, position, head, entry))
            if state.after_gaps:
                gaps += [(after_gap, position) for after_gap in state.after_gaps]
            if position == size:
                break
            state = state[tokens[position]]
            position += 1
        while gaps:  # the longest beginning first
            self._cross_gap(*gaps.pop(), start, tokens, found)

    def _cross_gap(
        self, after_gap: _State, position: int, start: int, tokens: Sequence[str], found: list[Match]
    ) -> None:
        """Adds, of each pattern, the match whose rest stands nearest behind a gap."""
        seen: set[int] = set()
        for jump in range(position, min(position + MAX_GAP + 1, len(tokens))):
            token = tokens[jump]
            state = after_gap[token]
            if state is not None:
                onward: list[Match] = []
                self._walk(state, start, jump + 1, jump, tokens, onward)
                found += [match for match in onward if match.entry not in seen] if seen else onward
                seen |= {match.entry for match in onward}
            if token in self._gap_stops:
                return


def expand(pattern: str) -> Iterator[list[Choice]]:
    """Yields the sequences of choices that `pattern` stands for: several where words may be missing.

    Raises:
        UserError: The pattern is empty, begins or ends with a gap, or has a stray mark.
    """
    sequences: list[list[Choice]] = [[]]
    for item in pattern.split():
        sequences = [sequence + words for sequence in sequences for words in _choices(item, pattern)]
        if len(sequences) > 128:
            raise UserError(f"Pattern {pattern!r} has too many words that may be missing. Split it into several lines.")
    for sequence in sequences:
        if not sequence or GAP in (sequence[0], sequence[-1]):
            raise UserError(f"Pattern {pattern!r} must begin and end with a word that cannot be missing.")
        yield sequence


def _choices(item: str, pattern: str) -> list[list[Choice]]:
    if item in ("...", "(-)", "(+)"):
        return [[(item,)]]
    optional = item.startswith("(") and item.endswith(")") and len(item) > 2
    if not optional and ("(" in item or ")" in item):
        raise UserError(f"Pattern {pattern!r}: {item!r} is neither a word nor one word in parentheses.")
    words = [_words(word, pattern) for word in (item[1:-1] if optional else item).split("|")]
    single = tuple(sorted({word[0] for word in words if len(word) == 1}))
    long: list[list[Choice]] = [[(part,) for part in word] for word in words if len(word) > 1]
    return ([[single]] if single else []) + long + ([[]] if optional else [])


def _words(word: str, pattern: str) -> list[str]:
    tokens = tokenize(word.rstrip("*"))
    if not tokens or "*" in word[:-1]:
        raise UserError(f"Pattern {pattern!r}: {word!r} is neither a word nor the beginning of one followed by '*'.")
    return tokens[:-1] + [tokens[-1] + "*"] if word.endswith("*") else tokens
