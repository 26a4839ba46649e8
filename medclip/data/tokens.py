"""Tokens of many texts in flat arrays, made once and kept in the prepared folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medclip.data.prepared import digest
from medclip.utils.io import write_atomically

logger = logging.getLogger(__name__)

_CHUNK = 10_000


@dataclass(frozen=True)
class Ragged:
    """N rows of whole numbers of different lengths: row i is `values[starts[i]:starts[i + 1]]`.

    One array for all, so that processes that share memory copy nothing and a row costs no object of its own.
    """

    values: np.ndarray
    starts: np.ndarray

    @classmethod
    def from_chunks(cls, chunks: Iterator[Sequence[Sequence[int]]]) -> Ragged:
        """Returns the rows of all chunks; only one chunk exists as lists at a time."""
        values, lengths = [np.empty(0, dtype=np.int32)], [np.empty(0, dtype=np.int64)]
        for rows in chunks:
            lengths.append(np.array([len(row) for row in rows], dtype=np.int64))
            values.append(np.fromiter((number for row in rows for number in row), dtype=np.int32))
        return cls(np.concatenate(values), np.concatenate([[0], np.cumsum(np.concatenate(lengths))]))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.starts[row] : self.starts[row + 1]]


@dataclass(frozen=True)
class Tokens:
    """Tokens of N texts.

    Attributes:
        ids: Token ids.
        pad_token_id: Fills short rows of a batch.
        words: For each token the number of its word, -1 for special tokens; None where not asked for.
    """

    ids: Ragged
    pad_token_id: int
    words: Ragged | None = None


#: Turns texts into tokens.
Tokenize = Callable[[pd.Series], Tokens]


def tokenize(texts: pd.Series, *, tokenizer: Any, max_length: int, words: bool = False) -> Tokens:
    """Returns the tokens of `texts`, at most `max_length` of each, a chunk of texts at a time.

    Args:
        texts: N texts.
        tokenizer: A Hugging Face tokenizer; a fast one where `words` is set.
        max_length: Number of tokens kept of a text, special tokens included.
        words: Whether to note which tokens are pieces of which word.
    """
    numbered: list[list[int]] = []

    def chunks() -> Iterator[list[list[int]]]:
        for first in range(0, len(texts), _CHUNK):
            part = texts.iloc[first : first + _CHUNK].tolist()
            encoded = tokenizer(part, truncation=True, max_length=max_length, return_attention_mask=False,
                                return_token_type_ids=False)  # fmt: skip
            if words:
                numbered.extend([-1 if w is None else w for w in encoded.word_ids(i)] for i in range(len(part)))
            yield encoded["input_ids"]

    ids = Ragged.from_chunks(chunks())
    return Tokens(ids, tokenizer.pad_token_id, Ragged.from_chunks(iter([numbered])) if words else None)


def cached_tokens(texts: pd.Series, *, folder: Path, tokenizer: Any, max_length: int, words: bool = False) -> Tokens:
    """Returns what `tokenize` does, read from `folder` if the same texts were tokenized alike before."""
    if not tokenizer.is_fast:  # its rules are not one text that could be compared
        return tokenize(texts, tokenizer=tokenizer, max_length=max_length, words=words)
    rules = json.dumps(json.loads(tokenizer.backend_tokenizer.to_str()) | {"truncation": None, "padding": None})
    file = folder / f"{digest(text_digest(texts), rules, str(max_length), str(words))[:16]}.npz"
    if file.is_file():
        with np.load(file) as saved:
            parts = dict(saved)
    else:
        logger.info("Tokenizing %d texts", len(texts))
        made = tokenize(texts, tokenizer=tokenizer, max_length=max_length, words=words)
        parts = {"values": made.ids.values, "starts": made.ids.starts}
        if made.words is not None:
            parts |= {"word_values": made.words.values}
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file, lambda path: _save(path, parts))
    ids = Ragged(parts["values"], parts["starts"])
    return Tokens(ids, tokenizer.pad_token_id, Ragged(parts["word_values"], ids.starts) if words else None)


def text_digest(texts: pd.Series) -> str:
    """Returns a digest of texts, in order."""
    return digest(pd.util.hash_pandas_object(texts, index=False).to_numpy())


def _save(path: Path, parts: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, **parts)  # type: ignore[arg-type]
