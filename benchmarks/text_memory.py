"""Memory and time of the text side of training: a million different sentences, labelled, tokenized, ready to be drawn.

    python benchmarks/text_memory.py [SENTENCES]          200,000 by default

Prints seconds and resident memory that the text side adds to a process: when tokens are made, when they are read from
the prepared folder, and the plain way (one call of the tokenizer for all, one array for each sentence).
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

SENTENCES = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
OBSERVATIONS = [f"observation {i}" for i in range(14)]
_WORDS = [
    "no",
    "small",
    "large",
    "left",
    "right",
    "pleural",
    "effusion",
    "is",
    "seen",
    "the",
    "heart",
    "size",
    "normal",
    "lung",
    "bases",
    "clear",
    "opacity",
    "in",
    "unchanged",
    "from",
    "prior",
    "study",
]


def sentence_table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    words = rng.integers(0, len(_WORDS), (SENTENCES, 18))
    texts = [f"{' '.join(_WORDS[word] for word in row)} {i}." for i, row in enumerate(words)]
    states = rng.choice([1.0, 0.0, -1.0, np.nan], (SENTENCES, 14)).astype(np.float32)
    table = pd.DataFrame({"split": "train", "text": texts, "count": 1})
    return pd.concat([table, pd.DataFrame(states, columns=OBSERVATIONS)], axis=1)


def resident() -> float:
    """Returns the resident memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measured(folder: Path, build: Callable[[pd.DataFrame, Path], object]) -> tuple[float, float]:
    import medclip.data.datasets
    import medclip.models.processor  # noqa: F401  what importing takes is not the texts'

    table = pd.read_parquet(folder / "sentences.parquet")
    before, begun = resident(), time.perf_counter()
    kept = build(table, folder)
    assert kept is not None
    seconds = time.perf_counter() - begun
    ctypes.CDLL(None).malloc_trim(0)  # what is free belongs to nobody
    return seconds, resident() - before


def plain(table: pd.DataFrame, folder: Path) -> object:
    from medclip.models.processor import train_tokenizer

    texts = table["text"].tolist()
    tokenizer = train_tokenizer(texts)
    encoded = tokenizer(texts, truncation=True, max_length=77)
    return [np.asarray(row, dtype=np.int64) for row in encoded["input_ids"]], encoded


def ours(table: pd.DataFrame, folder: Path) -> object:
    from labelers.observations import LabelPolicy
    from medclip.data.datasets import text_side
    from medclip.data.tokens import cached_tokens
    from medclip.models.processor import learned_tokenizer

    tokenizer = learned_tokenizer(table["text"], vocab_size=4000, folder=folder / "tokens")
    said = pd.DataFrame({"study_id": [], "patient_id": [], "split": [], "sentence": []})
    tokenize = partial(cached_tokens, folder=folder / "tokens", tokenizer=tokenizer, max_length=77)
    policy = LabelPolicy(uncertain="soft", negative="opposite")
    return text_side([table], [said], tokenize=tokenize, observations=OBSERVATIONS, policy=policy, study_numbers={})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        sentence_table().to_parquet(folder / "sentences.parquet")
        for name, build in (("plain", plain), ("ours, made", ours), ("ours, read", ours)):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, memory = pool.apply(measured, (folder, build))
            print(f"{name:11} {seconds:7.1f} s {memory:7.0f} MiB  {1024 * memory / SENTENCES:5.2f} KiB a sentence")
