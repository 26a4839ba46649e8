"""Writes texts from rules: a rule has alternatives, of which each writing draws one.

In an alternative `(a|b|)` draws again and `<name>` writes a rule, or what the caller gives under that name. Capitals in
names do not count, so that a sentence may begin with one. `a_` becomes "a" or "an" by the word behind it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labelers.errors import UserError

_TOKENS = re.compile(r"[(|)]|<[^<>()|]+>|[^(|)<>]+")


class _Name(str):
    """The name of a rule inside an alternative."""

    __slots__ = ()


Part = Any  # a text, a `_Name`, or alternatives again; mypy has no recursive types that are cheap to walk
Choices = tuple[tuple[Part, ...], ...]
#: What names stand for in one writing: alternatives, or what writes itself.
Given = Mapping[str, Choices | Callable[[], str]]


class Grammar:
    """Rules by name; nested mappings give names with slashes ("zone/left/0").

    Args:
        rules: Of a YAML file: mappings of mappings, and lists of alternatives at their ends.
        given: Names that callers give.

    Raises:
        UserError: An alternative cannot be read, or names what neither a rule nor a caller gives.
    """

    def __init__(self, rules: Mapping[Any, Any], given: Sequence[str] = ()) -> None:
        self._rules = {name: alternatives(texts) for name, texts in _flat(rules)}
        for name, choices in self._rules.items():
            if unknown := sorted(_names(choices) - self._rules.keys() - set(given)):
                raise UserError(f"Rule {name} names {', '.join(unknown)}; write such a rule or mend the name.")

    def __getitem__(self, name: str) -> Choices:
        return self._rules[name]

    def get(self, name: str) -> Choices | None:
        """Returns a rule, None where there is none of that name."""
        return self._rules.get(name)

    def write(self, choices: Choices, draw: Callable[[], float], given: Given) -> str:
        """Returns one of the texts that `choices` stand for.

        Args:
            choices: Of a rule.
            draw: Returns numbers in [0, 1).
            given: What names stand for; they go before rules.
        """
        out: list[str] = []
        self._write((choices,), draw, given, out)
        return "".join(out)

    def _write(self, parts: tuple[Part, ...], draw: Callable[[], float], given: Given, out: list[str]) -> None:
        for part in parts:
            if type(part) is str:
                out.append(part)
                continue
            choices = given.get(part) or self._rules[part] if type(part) is _Name else part
            if not isinstance(choices, tuple):
                out.append(choices())
                continue
            chosen = choices[int(draw() * len(choices))]
            if len(chosen) == 1 and type(chosen[0]) is str:  # most are words
                out.append(chosen[0])
            else:
                self._write(chosen, draw, given, out)


def alternatives(texts: Sequence[str]) -> Choices:
    """Returns texts as alternatives, ready to be written."""
    return tuple(_parsed(text) for text in texts)


def sentence(text: str) -> str:
    """Returns a text as a sentence: single blanks, "an" before vowels, a capital first, a mark last."""
    words = text.split()
    for i in [i for i, word in enumerate(words) if word == "a_"] if "a_" in text else ():
        words[i] = "an" if words[i + 1][0] in "aeiouAEIO" or words[i + 1] == "NG" else "a"
    text = " ".join(words).replace(" ,", ",").replace(" .", ".")
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".?" else text + "."


def _flat(rules: Mapping[Any, Any], prefix: str = "") -> list[tuple[str, list[str]]]:
    found = []
    for name, value in rules.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name}/")
        else:
            found.append((f"{prefix}{name}", value))
    return found


def _parsed(text: str) -> tuple[Part, ...]:
    tokens = _TOKENS.findall(text)
    if "".join(tokens) != text:
        raise UserError(f"Found {text!r}; names stand between < and >.")
    stack: list[list[list[Part]]] = [[[]]]
    for token in tokens:
        if token == "(":
            stack.append([[]])
        elif token == "|" and len(stack) > 1:
            stack[-1].append([])
        elif token == ")" and len(stack) > 1:
            choices = tuple(tuple(one) for one in stack.pop())
            stack[-1][-1].append(choices)
        elif token in "|)":
            raise UserError(f"Found {text!r}; alternatives stand between ( and ).")
        else:
            stack[-1][-1].append(_Name(token[1:-1].lower()) if token[0] == "<" else token)
    if len(stack) > 1:
        raise UserError(f"Found {text!r}, where a ( is not closed.")
    return tuple(stack[0][0])


def _names(choices: Choices) -> set[str]:
    found: set[str] = set()
    for part in (part for alternative in choices for part in alternative):
        found |= _names(part) if isinstance(part, tuple) else {str(part)} if isinstance(part, _Name) else set()
    return found
