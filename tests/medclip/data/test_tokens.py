from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medclip.data import tokens
from medclip.data.tokens import cached_tokens, tokenize
from medclip.models.processor import train_tokenizer

TEXTS = pd.Series(["No effusion.", "Cardiomegaly.", "", "The heart is enlarged and there is an effusion."] * 3)


def same(one: tokens.Ragged, other: tokens.Ragged) -> bool:
    return np.array_equal(one.values, other.values) and np.array_equal(one.starts, other.starts)


@pytest.mark.parametrize("chunk", [1, 5, 100])
def test_tokens_are_those_of_the_tokenizer_however_many_at_a_time(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = train_tokenizer(TEXTS.tolist(), vocab_size=60)
    monkeypatch.setattr(tokens, "_CHUNK", chunk)
    made = tokenize(TEXTS, tokenizer=tokenizer, max_length=7, words=True)
    encoded = tokenizer(TEXTS.tolist(), truncation=True, max_length=7)
    assert len(made.ids) == len(TEXTS)
    for i in range(len(TEXTS)):
        assert made.ids[i].tolist() == encoded["input_ids"][i]
        assert made.words[i].tolist() == [-1 if word is None else word for word in encoded.word_ids(i)]


def test_tokens_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = train_tokenizer(TEXTS.tolist(), vocab_size=60)
    first = cached_tokens(TEXTS, folder=tmp_path, tokenizer=tokenizer, max_length=7, words=True)
    with monkeypatch.context() as patched:
        patched.setattr(tokens, "tokenize", lambda *_, **__: pytest.fail("tokenized again"))
        again = cached_tokens(TEXTS, folder=tmp_path, tokenizer=tokenizer, max_length=7, words=True)
    assert same(first.ids, again.ids)
    assert same(first.words, again.words)
    for change in ({"max_length": 6}, {"words": False}, {"tokenizer": train_tokenizer(TEXTS.tolist(), vocab_size=40)}):
        settings = {"tokenizer": tokenizer, "max_length": 7, "words": True} | change
        assert same(cached_tokens(TEXTS, folder=tmp_path, **settings).ids, tokenize(TEXTS, **settings).ids)
    other = TEXTS.iloc[::-1]
    assert same(
        cached_tokens(other, folder=tmp_path, tokenizer=tokenizer, max_length=7).ids,
        tokenize(other, tokenizer=tokenizer, max_length=7).ids,
    )
