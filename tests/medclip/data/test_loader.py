from __future__ import annotations

import gc
import multiprocessing
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from medclip.data.datasets import ImageSide, TextSide
from medclip.data.loader import Steps, step_loader
from medclip.data.transforms import Augmentation


def steps_of(images: ImageSide, texts: TextSide, **options: Any) -> Steps:
    usual = {"batch_images": 4, "batch_texts": 6, "image_size": 16, "augmentation": Augmentation(), "seed": 5}
    return Steps(images, texts, **usual | options)


@pytest.fixture
def steps(images: ImageSide, texts: TextSide) -> Steps:
    return steps_of(images, texts)


def equal(first: object, second: object) -> bool:
    return all(a is b or torch.equal(a, b) for a, b in zip(vars(first).values(), vars(second).values(), strict=True))


def test_batches_hold_both_sides(steps: Steps) -> None:
    batch = steps[0]
    assert batch.pixel_values.shape == (4, 1, 16, 16)
    assert batch.input_ids.shape == batch.attention_mask.shape
    assert batch.input_ids.shape[0] == 6
    assert batch.image_labels.shape == (4, 3)
    assert batch.attention_mask.sum(1).min() >= 2


def test_a_text_that_occurs_twice_is_encoded_once(images: ImageSide, texts: TextSide) -> None:
    batch = steps_of(images, replace(texts, ids=np.arange(9) % 4))[0]
    assert len(batch.input_ids) == len(batch.text_ids.unique()) < len(batch.text_ids) == len(batch.text_labels) == 6
    assert torch.equal(batch.attention_mask.sum(dim=1)[batch.text_rows], 2 + batch.text_ids)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_started_later_gives_the_same_batches(steps: Steps, workers: int) -> None:
    everything = list(step_loader(steps, start=0, stop=6, workers=0, pin_memory=False))
    later = list(step_loader(steps, start=4, stop=6, workers=workers, pin_memory=False))
    assert all(equal(a, b) for a, b in zip(everything[4:], later, strict=True))
    assert not equal(everything[0], everything[1])


def test_a_batch_that_cannot_be_shared_is_refused(images: ImageSide, texts: TextSide) -> None:
    with pytest.raises(ValueError, match="batch_images=4 cannot be shared equally by 3"):
        steps_of(images, texts, world=3)


@pytest.fixture
def paired(images: ImageSide, texts: TextSide) -> Callable[..., Steps]:
    return lambda share, **options: steps_of(images, texts, batch_images=6, pairs=share, **options)


def test_partners_come_from_the_study_of_their_image(paired, texts: TextSide) -> None:
    for step in range(6):
        batch, alone = paired(1.0)[step], texts
        for study, text_study, labels in zip(batch.image_studies, batch.text_studies, batch.text_labels, strict=True):
            if study == 2:
                assert text_study == -1
                continue
            assert text_study == study
            own = alone.pairs.texts[alone.pairs.starts[study] : alone.pairs.starts[study + 1]]
            assert any((labels.numpy() == alone.labels[text]).all() for text in own)


def test_a_share_of_partners(paired) -> None:
    batch = paired(0.5)[0]
    assert (batch.text_studies[3:] == -1).all()
    assert (batch.text_studies[:3] >= -1).any()


def test_ranks_together_draw_the_partners_of_one_process(paired) -> None:
    alone = paired(1.0)[3]
    for rank in range(2):
        mine = paired(1.0, rank=rank, world=2)[3]
        assert torch.equal(mine.text_studies, alone.text_studies[rank::2])
        assert torch.equal(mine.text_labels, alone.text_labels[rank::2])


class Frozen(Dataset):
    """Says how many objects the collector of garbage leaves alone."""

    def __getitem__(self, step: int) -> int:
        return gc.get_freeze_count()


def test_a_loading_process_leaves_what_it_inherits_alone() -> None:
    """What its collector of garbage writes to is no longer shared with the first process."""
    assert gc.get_freeze_count() == 0
    assert next(iter(step_loader(Frozen(), start=0, stop=1, workers=1, pin_memory=False))) > 10_000


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the memory of a process")
def test_a_loading_process_shares_memory_also_where_others_are_started_afresh() -> None:
    """As in Python 3.14, and in a process that was itself started so; else it imports and copies everything."""
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        loader = iter(step_loader(Frozen(), start=0, stop=4, workers=1, pin_memory=False))
        next(loader)
        (process,) = multiprocessing.active_children()
        private = re.findall(r"Private_\w+:\s+(\d+)", Path(f"/proc/{process.pid}/smaps_rollup").read_text())
        del loader
    finally:
        multiprocessing.set_start_method(before, force=True)
    assert sum(map(int, private)) < 150 * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="asks who sent a signal")
@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_loading_process_is_ended_by_its_parent_only(kind: signal.Signals) -> None:
    """Schedulers and terminals tell all processes of a run; the first needs the others to finish its step."""
    loader = iter(step_loader(Frozen(), start=0, stop=100, workers=1, pin_memory=False))
    next(loader)
    (process,) = multiprocessing.active_children()
    subprocess.run(["kill", f"-{int(kind)}", str(process.pid)], check=True)
    assert len([next(loader) for _ in range(50)]) == 50
    assert process.is_alive()
    process.terminate()
    process.join(10)
    assert process.exitcode == 0
