"""The two sides of training, images and sentences, from prepared tables to what can be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from labelers.observations import LabelPolicy
from medclip.cache import PixelCache
from medclip.streams import balance_weights, source_weights
from medclip.tables import label_matrix


@dataclass(frozen=True)
class ImageSide:
    """The images to train on, ready to be drawn.

    Attributes:
        keys: (N,) cache keys.
        labels: (N, O) label vectors.
        studies: (N,) study numbers.
        cache: where the pixels are.
        weights: (N,) or None for laps.
    """

    keys: np.ndarray
    labels: np.ndarray
    studies: np.ndarray
    cache: PixelCache
    weights: np.ndarray | None = None


@dataclass(frozen=True)
class TextSide:
    """The sentences to train on, tokenized, ready to be drawn.

    Attributes:
        tokens: (N,) one array of token ids each.
        labels: (N, O) label vectors.
        studies: (N,) study numbers, -1 for sentences of several studies.
        pad_token_id: fills short rows.
        weights: (N,) or None for laps.
    """

    tokens: list[np.ndarray]
    labels: np.ndarray
    studies: np.ndarray
    pad_token_id: int
    weights: np.ndarray | None = None


def image_side(
    tables: Sequence[pd.DataFrame],
    *,
    observations: Sequence[str],
    policy: LabelPolicy,
    cache: PixelCache,
    study_numbers: dict[str, int],
    wanted: Sequence[float] | None = None,
    balance: float = 0.0,
) -> ImageSide:
    """Returns the train split of image tables as one side.

    Args:
        tables: prepared image tables, one for each source.
        observations: the columns of label vectors.
        policy: from states to label vectors.
        cache: holds the pixels of all of them.
        study_numbers: a number for each study id; new ones are added.
        wanted: relative weight of each source; None draws every image equally often.
        balance: see `balance_weights`.

    Raises:
        ValueError: no image is in the train split.
    """
    parts = [table[table["split"] == "train"] for table in tables]
    table = pd.concat(parts, ignore_index=True)
    if table.empty:
        raise ValueError("None of the images is in the train split.")
    states = label_matrix(table, observations)
    return ImageSide(
        keys=table["_key"].to_numpy(dtype=object),
        labels=policy(states),
        studies=_numbers(table["study_id"], study_numbers),
        cache=cache,
        weights=_weights([len(part) for part in parts], states, wanted, balance),
    )


def text_side(
    tables: Sequence[pd.DataFrame],
    *,
    tokenizer: Any,
    max_length: int,
    observations: Sequence[str],
    policy: LabelPolicy,
    wanted: Sequence[float] | None = None,
    balance: float = 0.0,
    repeats: float = 1.0,
) -> TextSide:
    """Returns the train split of sentence tables as one side; sentences that speak of nothing are left out.

    Args:
        tables: prepared sentence tables, one for each source.
        tokenizer: of the text tower.
        max_length: tokens kept of a sentence.
        observations: the columns of label vectors.
        policy: from states to label vectors.
        wanted: relative weight of each source; None draws every sentence equally often.
        balance: see `balance_weights`.
        repeats: 0 draws every different sentence equally often, 1 as often as reports say it.

    Raises:
        ValueError: no sentence is left.
    """
    parts = []
    for table in tables:
        train = table[table["split"] == "train"]
        parts.append(train[~np.isnan(label_matrix(train, observations)).all(axis=1)])
    table = pd.concat(parts, ignore_index=True)
    if table.empty:
        raise ValueError("No sentence of the train split speaks of any of the observations.")
    encoded = tokenizer(table["text"].tolist(), truncation=True, max_length=max_length)["input_ids"]
    states = label_matrix(table, observations)
    return TextSide(
        tokens=[np.asarray(row, dtype=np.int64) for row in encoded],
        labels=policy(states),
        studies=np.full(len(table), -1, dtype=np.int64),
        pad_token_id=tokenizer.pad_token_id,
        weights=_weights(
            [len(part) for part in parts],
            states,
            wanted,
            balance,
            table["count"].to_numpy() ** repeats if repeats else None,
        ),
    )


def _numbers(ids: pd.Series, known: dict[str, int]) -> np.ndarray:
    return np.array([known.setdefault(name, len(known)) for name in ids], dtype=np.int64)


def _weights(
    sizes: list[int],
    states: np.ndarray,
    wanted: Sequence[float] | None,
    balance: float,
    base: np.ndarray | None = None,
) -> np.ndarray | None:
    """Returns how often each row is wanted: `base`, times balance, shared among sources as `wanted`; or None."""
    if wanted is None and not balance and base is None:
        return None
    weights = np.ones(len(states)) if base is None else base.astype(np.float64)
    if balance:
        weights = weights * balance_weights(states, power=balance)
    if wanted is not None:
        weights = weights * source_weights(np.repeat(np.arange(len(sizes)), sizes), wanted, weights)
    return weights
