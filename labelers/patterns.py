"""Words and the patterns over them: one tokenizer, and a trie that finds every pattern of a lexicon in one pass.

A pattern is written as words. `a|b` is a choice, `word*` matches by its beginning, `(word)` may be missing and
`...` stands for up to `MAX_GAP` other words. Matching costs time linear in the number of tokens: a walk through
the trie is bounded by the longest pattern, never by the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from labelers.errors import UserError

#: A word, a number, a run of de-identification blanks, a Chinese character, "(-)", or one mark that can end a scope.
TOKEN = re.compile(
    r"[\u3400-\u9fff]|[^\W\d_\u3400-\u9fff]+(?:'[^\W\d_]+)?|\d+(?:\.\d+)?|_+|\([-+]\)|[.,;:?!()/=，。；：？！、\u2013]"
    r"|(?<=\s)--?(?=\s)"
)
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
    return TOKEN.findall(fold(text))


def token_spans(text: str) -> list[tuple[int, int]]:
    """Returns the character span of each token that `tokenize` gives."""
    return [match.span() for match in TOKEN.finditer(fold(text))]


@dataclass(frozen=True, slots=True)
class Match:
    """One pattern found: tokens [start, end), of which `head` begins the part after the last gap."""

    start: int
    end: int
    head: int
    entry: int


@dataclass(slots=True)
class _Node:
    children: dict[int, _Node] = field(default_factory=dict)
    after_gap: _Node | None = None
    entries: list[int] = field(default_factory=list)


class PatternSet:
    """All patterns of a lexicon, compiled once, matched together.

    Args:
        patterns: the written patterns; `Match.entry` is an index into this list.
        gap_stops: words that no gap may cross.

    Raises:
        UserError: a pattern is empty or its syntax is wrong.
    """

    def __init__(self, patterns: Iterable[str], *, gap_stops: Iterable[str] = ()) -> None:
        self._classes: dict[tuple[str, ...], int] = {}
        self._literals: dict[str, list[int]] = {}
        self._prefixes: dict[str, list[int]] = {}
        self._gap_stops = frozenset(gap_stops) | frozenset(".;:?!()")
        self._root = _Node()
        for entry, pattern in enumerate(patterns):
            for variant in expand(pattern):
                self._insert(variant, entry)
        self._lengths = sorted({len(prefix) for prefix in self._prefixes})
        self._known: dict[str, tuple[int, ...]] = {}

    def _insert(self, items: Sequence[Choice], entry: int) -> None:
        node = self._root
        for words in items:
            if words == GAP:
                node.after_gap = node.after_gap or _Node()
                node = node.after_gap
            else:
                node = node.children.setdefault(self._symbol(words), _Node())
        if entry not in node.entries:
            node.entries.append(entry)

    def _symbol(self, words: Choice) -> int:
        """Returns the number of a choice of words; every one of them leads to it."""
        symbol = self._classes.get(words)
        if symbol is None:
            symbol = self._classes[words] = len(self._classes)
            for word in words:
                table, key = (self._prefixes, word[:-1]) if word.endswith("*") else (self._literals, word)
                table.setdefault(key, []).append(symbol)
        return symbol

    def _lookup(self, token: str) -> tuple[int, ...]:
        found = dict.fromkeys(self._literals.get(token, ()))
        for length in self._lengths:
            if length <= len(token):
                found |= dict.fromkeys(self._prefixes.get(token[:length], ()))
        if len(self._known) >= _CACHE_LIMIT:
            self._known.clear()
        symbols = self._known[token] = tuple(found)
        return symbols

    def knows(self, word: str) -> bool:
        """Tells whether `word` is a word of a pattern, or begins with a "word*" of one."""
        return bool(self._lookup(word))

    def find(self, tokens: Sequence[str]) -> list[Match]:
        """Returns every match in `tokens`, overlapping ones included, in order of their start."""
        known, lookup = self._known, self._lookup
        symbols = [known[token] if token in known else lookup(token) for token in tokens]
        first = self._root.children
        found: list[Match] = []
        for start, here in enumerate(symbols):
            for symbol in here:
                node = first.get(symbol)
                if node is not None:
                    self._walk(node, start, start + 1, start, tokens, symbols, found)
        return found

    def _walk(
        self,
        node: _Node,
        start: int,
        position: int,
        head: int,
        tokens: Sequence[str],
        symbols: Sequence[tuple[int, ...]],
        found: list[Match],
    ) -> None:
        for entry in node.entries:
            found.append(Match(start, position, head, entry))
        if position < len(symbols) and node.children:
            for symbol in symbols[position]:
                child = node.children.get(symbol)
                if child is not None:
                    self._walk(child, start, position + 1, head, tokens, symbols, found)
        if node.after_gap is not None:
            self._cross_gap(node.after_gap, start, position, tokens, symbols, found)

    def _cross_gap(
        self,
        node: _Node,
        start: int,
        position: int,
        tokens: Sequence[str],
        symbols: Sequence[tuple[int, ...]],
        found: list[Match],
    ) -> None:
        """Goes on with `node` at the nearest place within the gap where it matches."""
        for jump in range(position, min(position + MAX_GAP + 1, len(symbols))):
            count = len(found)
            for symbol in symbols[jump]:
                child = node.children.get(symbol)
                if child is not None:
                    self._walk(child, start, jump + 1, jump, tokens, symbols, found)
            if len(found) > count or tokens[jump] in self._gap_stops:
                return


def expand(pattern: str) -> Iterator[list[Choice]]:
    """Yields the sequences of choices that `pattern` stands for: several where words may be missing.

    Raises:
        UserError: the pattern is empty, begins or ends with a gap, or has a stray mark.
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
