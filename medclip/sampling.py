"""Two independent streams, images and sentences, and the batches they make.

A stream is a pure function of (seed, step): whoever asks for step 1,000 gets the same batch, in any process, with
any number of workers, before or after a crash. So resuming is starting at another step, and several processes
share a stream by each taking every so-manieth row of the same batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from labelers.observations import LabelPolicy
from medclip.cache import PixelCache
from medclip.tables import label_matrix
from medclip.transforms import Augmentation, apply, train_pipeline


@dataclass(frozen=True)
class Batch:
    """What a training step sees. I and T need not be equal.

    Attributes:
        pixel_values: (I, 1, H, W).
        input_ids: (T, L).
        attention_mask: (T, L).
        image_labels: (I, O) label vectors.
        text_labels: (T, O) label vectors.
        image_studies: (I,) study numbers, -1 where unknown.
        text_studies: (T,) study numbers.
    """

    pixel_values: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    image_labels: Tensor
    text_labels: Tensor
    image_studies: Tensor
    text_studies: Tensor

    def pin_memory(self) -> Batch:
        """Returns the batch in page-locked memory."""
        return replace(self, **{name: value.pin_memory() for name, value in vars(self).items()})


class Stream:
    """An endless, seeded sequence of rows.

    Without weights every lap visits every row once, in a new order. With weights rows are drawn independently,
    with replacement.

    Args:
        size: number of rows.
        batch_size: rows of a global batch.
        seed: give the two sides different ones.
        weights: (size,) how often rows are wanted, relative to each other; None for laps.
    """

    def __init__(self, size: int, *, batch_size: int, seed: int, weights: np.ndarray | None = None) -> None:
        if size < 1 or batch_size < 1:
            raise ValueError(f"A stream needs rows and a batch size; found {size} rows, batch size {batch_size}.")
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self._cumulative = None if weights is None else np.cumsum(weights, dtype=np.float64) / np.sum(weights)
        self._lap: tuple[int, np.ndarray] | None = None

    def rows(self, step: int, *, rank: int = 0, world: int = 1) -> np.ndarray:
        """Returns this process's rows of the batch of `step`."""
        if self._cumulative is not None:
            draws = np.random.default_rng([self.seed, step]).random(self.batch_size)
            rows = np.searchsorted(self._cumulative, draws, side="right").clip(max=self.size - 1)
            return rows[rank::world]
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)[rank::world]
        laps, places = np.divmod(positions, self.size)
        rows = np.empty(len(positions), dtype=np.int64)
        for lap in np.unique(laps):
            here = laps == lap
            rows[here] = self._order(int(lap))[places[here]]
        return rows

    def _order(self, lap: int) -> np.ndarray:
        if self._lap is None or self._lap[0] != lap:
            self._lap = lap, np.random.default_rng([self.seed, 1 << 40, lap]).permutation(self.size)
        return self._lap[1]


def balance_weights(states: np.ndarray, *, power: float) -> np.ndarray:
    """Returns (N,) weights that favour rows with rare positive observations, for states (N, O).

    Each positive observation weighs its prevalence to the power of minus `power`; a row takes the largest of its
    own. 0 changes nothing, 1 makes every observation about equally frequent.
    """
    positive = states == 1
    prevalence = np.maximum(positive.mean(axis=0), 1 / max(len(states), 1))
    weights = np.where(positive, prevalence[None, :] ** -power, 0.0).max(axis=1)
    common = weights[weights > 0].min(initial=np.inf)
    return np.where(weights > 0, weights, common if np.isfinite(common) else 1.0)


def source_weights(members: np.ndarray, wanted: Sequence[float], weights: np.ndarray) -> np.ndarray:
    """Returns (N,) factors under which source s gives a share of the draws in proportion to `wanted[s]`.

    Args:
        members: (N,) the source of each row, as a number.
        wanted: one weight for each source.
        weights: (N,) how often rows are wanted within their source.

    Raises:
        ValueError: there are not as many weights as sources.
    """
    sums = np.bincount(members, weights=weights, minlength=len(wanted))
    if len(sums) != len(wanted):
        raise ValueError(f"Found {len(wanted)} source weights for {len(sums)} sources; give one for each.")
    return (np.asarray(wanted, dtype=np.float64) / np.maximum(sums, 1e-12))[members]


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


class Steps(Dataset[Batch]):
    """The batch of every step, as a map-style dataset: index it with a step.

    Args:
        images: the image side.
        texts: the text side.
        batch_images: I of the global batch.
        batch_texts: T of the global batch.
        image_size: side of the pixel values.
        augmentation: how images vary.
        seed: of both streams and of augmentation; the streams do not share their draws.
        rank: of this process.
        world: number of processes.
    """

    def __init__(
        self,
        images: ImageSide,
        texts: TextSide,
        *,
        batch_images: int,
        batch_texts: int,
        image_size: int,
        augmentation: Augmentation,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        for name, size in (("batch_images", batch_images), ("batch_texts", batch_texts)):
            if size % world:
                raise ValueError(
                    f"{name}={size} cannot be shared equally by {world} processes. Choose a multiple of it."
                )
        self._images, self._texts = images, texts
        self._image_stream = Stream(len(images.keys), batch_size=batch_images, seed=2 * seed, weights=images.weights)
        self._text_stream = Stream(len(texts.tokens), batch_size=batch_texts, seed=2 * seed + 1, weights=texts.weights)
        self._pipeline = train_pipeline(image_size, augmentation)
        self._seed, self._rank, self._world = seed, rank, world

    def __getitem__(self, step: int) -> Batch:
        rows = self._image_stream.rows(step, rank=self._rank, world=self._world)
        columns = self._text_stream.rows(step, rank=self._rank, world=self._world)
        images, texts = self._images, self._texts
        varied = int(np.random.default_rng([self._seed, 3, step, self._rank]).integers(2**31))
        pixels = apply(self._pipeline, images.cache.get(images.keys[rows].tolist()), seed=varied)
        input_ids, attention_mask = pad([texts.tokens[i] for i in columns], texts.pad_token_id)
        return Batch(
            pixel_values=torch.from_numpy(pixels),
            input_ids=input_ids,
            attention_mask=attention_mask,
            image_labels=torch.from_numpy(images.labels[rows]),
            text_labels=torch.from_numpy(texts.labels[columns]),
            image_studies=torch.from_numpy(images.studies[rows]),
            text_studies=torch.from_numpy(texts.studies[columns]),
        )


class _FromStep(Sampler[int]):
    """Steps `start` to `stop`; its length counts from 0, as the trainer counts."""

    def __init__(self, start: int, stop: int) -> None:
        self._start, self._stop = start, stop

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._start, self._stop))

    def __len__(self) -> int:
        return self._stop


def step_loader(steps: Steps, *, start: int, stop: int, workers: int, pin_memory: bool) -> DataLoader[Any]:
    """Returns a loader of the batches of steps `start` to `stop`."""
    return DataLoader(
        steps,
        batch_size=None,
        sampler=_FromStep(start, stop),
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
    )


def pad(tokens: list[np.ndarray], pad_token_id: int) -> tuple[Tensor, Tensor]:
    """Returns (input_ids, attention_mask), both (T, L), for T arrays of token ids."""
    longest = max(len(row) for row in tokens)
    input_ids = np.full((len(tokens), longest), pad_token_id, dtype=np.int64)
    attention_mask = np.zeros((len(tokens), longest), dtype=np.int64)
    for i, row in enumerate(tokens):
        input_ids[i, : len(row)] = row
        attention_mask[i, : len(row)] = 1
    return torch.from_numpy(input_ids), torch.from_numpy(attention_mask)


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
