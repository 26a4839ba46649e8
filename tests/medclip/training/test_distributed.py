from __future__ import annotations

import os
import time
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn import functional

from medclip.encoded import Encoded
from medclip.training.distributed import gather, world
from medclip.utils.plugins import load_plugin, plugin_names

#: Objectives, and whether each process computes the losses of its own rows only.
CASES = [(name, own) for name in plugin_names("objectives") for own in (False, True)]


def inputs() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    pixels, tokens = (torch.randn(8, 5, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    labels = torch.randint(0, 2, (16, 3), generator=generator).double()
    return pixels, tokens, labels[:8], labels[8:]


def step(name: str, own: bool, rank: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns loss and gradient of a linear tower, with the batch strided over processes as the sampler does."""
    pixels, tokens, image_labels, text_labels = (tensor[rank::size] for tensor in inputs())
    words = 2 + torch.arange(8)[rank::size] % 4
    # A process pads to the longest of its own texts.
    tokens, mask = tokens[:, : words.max()], torch.arange(int(words.max())) < words[:, None]
    tower = torch.nn.Parameter(torch.eye(6, dtype=torch.float64)[:, :4].clone())

    studies, ids = (torch.arange(8) // 2)[rank::size], (torch.arange(8) % 5)[rank::size]

    def encode(local: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> Encoded:
        pooled = (local * mask[..., None]).sum(dim=1) @ tower
        embeds = functional.normalize(pooled, dim=1)
        return gather(
            Encoded(
                embeds, local=local @ tower, mask=mask, labels=labels, keys=embeds.detach().flip(1), study_ids=studies,
                ids=ids,
            ),
            own_rows=own,
        )  # fmt: skip

    objective = load_plugin("objectives", name)().double()
    objective.begin(dim=4, prevalence=torch.full((3,), 0.5, dtype=torch.float64))
    images = encode(pixels, image_labels, torch.ones(pixels.shape[:2], dtype=torch.bool))
    loss = objective(images, encode(tokens, text_labels, mask), torch.tensor(10.0, dtype=torch.float64))["loss"]
    loss.backward()
    return loss.detach(), tower.grad


def process(rank: int, size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=size)
    assert world() == (rank, size)
    results = {}
    for case in CASES:
        loss, gradient = step(*case, rank, size)
        for tensor in (loss, gradient):  # as DDP does: mean over processes
            distributed.all_reduce(tensor)
        results[case] = (loss / size, gradient / size)
    torch.save(results, folder / f"{rank}.pt")
    (folder / f"{rank}.done").touch()
    while len(list(folder.glob("*.done"))) < size:
        time.sleep(0.01)  # whoever leaves first would cut off the others' last messages
    os._exit(0)  # gloo's threads now and then abort a process that ends in the usual way


def test_alone_nothing_is_gathered() -> None:
    encoded = Encoded(torch.ones(2, 3))
    assert gather(encoded) is encoded
    assert world() == (0, 1)


def in_processes(size: int, folder: Path) -> list[dict[tuple[str, bool], tuple[torch.Tensor, torch.Tensor]]]:
    """Returns loss and gradient of every case, as each of `size` processes finds them together with the others."""
    get_context("forkserver").set_forkserver_preload(["medclip.training.distributed"])  # torch is imported once
    multiprocessing.start_processes(process, (size, folder), nprocs=size, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt") for rank in range(size)]


@pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_several_processes_equal_one(size: int, tmp_path: Path) -> None:
    alone = {case: step(*case, 0, 1) for case in CASES}
    for found in in_processes(size, tmp_path):
        torch.testing.assert_close(found, alone)
