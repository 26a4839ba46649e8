"""The batches of training: both sides drawn independently, or some texts as partners of images; one for every step."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from labelers.errors import UserError
from medclip.data.datasets import ImageSide, TextSide
from medclip.data.features import FeatureCache
from medclip.data.samplers import Stream
from medclip.data.transforms import Augmentation, apply, train_pipeline


@dataclass(frozen=True)
class Batch:
    """What a training step sees. I and T need not be equal. A text that occurs twice is encoded once, so U <= T.

    Attributes:
        pixel_values: (I, 1, H, W), or features (I, C) of a locked tower.
        input_ids: (U, L) the different texts, or features (U, C) of a locked tower.
        attention_mask: (U, L); (U, 1) of features.
        text_rows: (T,) which of the U texts each of the T texts is.
        image_labels: (I, O) label vectors.
        text_labels: (T, O) label vectors.
        image_studies: (I,) study numbers, -1 where unknown.
        text_studies: (T,) study numbers; -1 for sentences drawn on their own, which many studies may say.
        text_ids: (T,) integers; equal ones are the same text.
        word_ids: (U, L) the number of each token's word, -1 for none; where the objective needs words.
    """

    pixel_values: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    text_rows: Tensor
    image_labels: Tensor
    text_labels: Tensor
    image_studies: Tensor
    text_studies: Tensor
    text_ids: Tensor
    word_ids: Tensor | None = None

    def pin_memory(self) -> Batch:
        """Returns the batch in page-locked memory."""
        return self.each(lambda tensor: tensor.pin_memory())

    def each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Returns the batch with every tensor changed."""
        return replace(self, **{name: change(value) for name, value in vars(self).items() if value is not None})


class Steps(Dataset[Batch]):
    """The batch of every step, as a map-style dataset: index it with a step.

    Args:
        images: The image side.
        texts: The text side.
        batch_images: I of the global batch.
        batch_texts: T of the global batch.
        image_size: Side of the pixel values.
        augmentation: Random changes of images.
        seed: Seed of both streams and of augmentation; the streams do not share their draws.
        pairs: Share of the texts that are partners: text k is then drawn from the study of image k, if it has any.
        rank: Number of this process.
        world: Number of processes.
        groups: (N,) groups of images that are drawn together, see `Stream`.
        raw: Whether batches hold cached squares, uint8 (I, 1, S, S), to be varied on the device of the model.
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
        pairs: float = 0.0,
        rank: int = 0,
        world: int = 1,
        raw: bool = False,
        groups: np.ndarray | None = None,
    ) -> None:
        for name, size in (("batch_images", batch_images), ("batch_texts", batch_texts)):
            if size % world:
                raise UserError(
                    f"{name}={size} cannot be shared equally by {world} processes. Choose a multiple of it."
                )
        self._partners = round(pairs * batch_texts)
        if self._partners > batch_images:
            raise UserError(f"{self._partners} texts cannot be partners of {batch_images} images. Lower the share.")
        if self._partners and texts.pairs is None:
            raise UserError("Partners were asked for, and no training image belongs to a study with a report.")
        self._images, self._texts = images, texts
        self._image_stream = Stream(
            len(images.keys), batch_size=batch_images, seed=2 * seed, weights=images.weights, groups=groups
        )
        self._text_stream = Stream(texts.drawn, batch_size=batch_texts, seed=2 * seed + 1, weights=texts.weights)
        self._pipeline = None if raw else train_pipeline(image_size, augmentation)
        self._seed, self._rank, self._world = seed, rank, world

    def __getitem__(self, step: int) -> Batch:
        rows = self._image_stream.rows(step, rank=self._rank, world=self._world)
        columns = self._text_stream.rows(step, rank=self._rank, world=self._world)
        images, texts = self._images, self._texts
        columns, text_studies = self._with_partners(step, images.studies[rows], columns)
        _, first, text_rows = np.unique(texts.ids[columns], return_index=True, return_inverse=True)
        different = columns[first]
        input_ids, attention_mask = self._inputs(different)
        return Batch(
            pixel_values=torch.from_numpy(self._pixels(step, images.keys[rows])),
            input_ids=input_ids,
            attention_mask=attention_mask,
            text_rows=torch.from_numpy(text_rows),
            image_labels=torch.from_numpy(images.labels[rows]),
            text_labels=torch.from_numpy(texts.labels[columns]),
            image_studies=torch.from_numpy(images.studies[rows]),
            text_studies=torch.from_numpy(text_studies),
            text_ids=torch.from_numpy(texts.ids[columns]),
            word_ids=None if texts.words is None else pad([texts.words[i] for i in different], -1),
        )

    def _pixels(self, step: int, keys: np.ndarray) -> np.ndarray:
        """Returns what the image tower gets of the images called `keys`."""
        rng = np.random.default_rng([self._seed, 3, step, self._rank])
        if isinstance(self._images.cache, FeatureCache):
            return self._images.cache.draw(keys, rng)
        squares = self._images.cache.get(keys)
        return (
            squares[:, None]
            if self._pipeline is None
            else apply(self._pipeline, squares, seed=int(rng.integers(2**31)))
        )

    def _inputs(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Returns what the text tower gets of some texts, with its mask."""
        texts = self._texts
        if texts.features is not None:
            return torch.from_numpy(texts.features[rows]), torch.ones(len(rows), 1, dtype=torch.long)
        input_ids = pad([texts.tokens[i] for i in rows], texts.pad_token_id)
        lengths = np.array([len(texts.tokens[i]) for i in rows])
        return input_ids, torch.from_numpy((np.arange(input_ids.shape[1]) < lengths[:, None]).astype(np.int64))

    def _with_partners(self, step: int, studies: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the texts, the first of them replaced by partners of the images, and their study numbers."""
        text_studies = np.full(len(columns), -1, dtype=np.int64)
        if not self._partners:
            return columns, text_studies
        assert self._texts.pairs is not None
        draws = np.random.default_rng([self._seed, 4, step]).random(self._partners)[self._rank :: self._world]
        studies = studies[: len(draws)]
        paired = np.flatnonzero(self._texts.pairs.count(studies))
        columns, text_studies[paired] = columns.copy(), studies[paired]
        columns[paired] = self._texts.pairs.pick(studies[paired], draws[paired])
        return columns, text_studies


class _FromStep(Sampler[int]):
    """Steps `start` to `stop`; its length counts from 0, as the trainer counts."""

    def __init__(self, start: int, stop: int) -> None:
        self._start, self._stop = start, stop

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._start, self._stop))

    def __len__(self) -> int:
        return self._stop


def step_loader(steps: Dataset[Any], *, start: int, stop: int, workers: int, pin_memory: bool) -> DataLoader[Any]:
    """Returns a loader of the batches of steps `start` to `stop`."""
    return DataLoader(
        steps,
        batch_size=None,
        sampler=_FromStep(start, stop),
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_begin,
        # Processes that are started otherwise, as Python 3.14 does, import and copy everything: 350 MiB each.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
    )


def _begin(worker: int) -> None:
    """Keeps OpenCV from starting threads for every core, and the memory of the first process shared.

    The collector of garbage writes to every object that it looks at; what a loading process inherits is none, and a
    look at it would copy some hundred MB into each of them.
    """
    cv2.setNumThreads(0)
    gc.freeze()
    _obey_the_parent_only()


def _obey_the_parent_only() -> None:
    """Lets SIGTERM end this process only if it comes from the one that started it, and Ctrl-C not at all.

    A terminal, `timeout` and schedulers send them to all processes of a run at once. The first process then finishes
    its step and saves, for which it needs those that load; it ends them itself, and they end where it is gone.
    """
    if not hasattr(signal, "sigwaitinfo"):  # macOS
        return
    signals, parent = (signal.SIGINT, signal.SIGTERM), os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # threads that are started later inherit it

    def wait() -> None:
        while True:
            told = signal.sigwaitinfo(signals)
            if told.si_signo == signal.SIGTERM and told.si_pid == parent:
                os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def pad(rows: list[np.ndarray], filling: int) -> Tensor:
    """Returns T arrays of numbers as one (T, L), short ones filled."""
    padded = np.full((len(rows), max(len(row) for row in rows)), filling, dtype=np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return torch.from_numpy(padded)
