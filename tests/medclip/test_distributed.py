from __future__ import annotations

import os
import socket

import torch
from torch import distributed, multiprocessing
from torch.nn import functional

from medclip.distributed import gather, world
from medclip.encoded import Encoded
from medclip.objectives.semantic_matching import SemanticMatching


def inputs() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    pixels, tokens = torch.randn(8, 5, generator=generator), torch.randn(8, 5, generator=generator)
    labels = torch.randint(0, 2, (16, 3), generator=generator).float()
    return pixels, tokens, labels[:8], labels[8:]


def step(rank: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns loss and gradient of a linear tower, with the batch strided over processes as the sampler does."""
    pixels, tokens, image_labels, text_labels = (tensor[rank::size] for tensor in inputs())
    tower = torch.nn.Parameter(torch.eye(5)[:, :4].clone())
    images = gather(Encoded(functional.normalize(pixels @ tower, dim=1), labels=image_labels))
    texts = gather(Encoded(functional.normalize(tokens @ tower, dim=1), labels=text_labels))
    loss = SemanticMatching()(images, texts, torch.tensor(10.0))["loss"]
    loss.backward()
    return loss.detach(), tower.grad


def process(rank: int, size: int, port: int, results) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=rank, world_size=size)
    loss, gradient = step(rank, size)
    distributed.all_reduce(gradient)  # as DDP does: mean over processes
    results[rank] = (world(), loss, gradient / size)
    distributed.destroy_process_group()


def test_alone_nothing_is_gathered() -> None:
    encoded = Encoded(torch.ones(2, 3))
    assert gather(encoded) is encoded
    assert world() == (0, 1)


def test_two_processes_equal_one() -> None:
    loss, gradient = step(0, 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with multiprocessing.Manager() as manager:
        results = manager.dict()
        multiprocessing.spawn(process, (2, port, results), nprocs=2)
        for rank in range(2):
            found_world, found_loss, found_gradient = results[rank]
            assert found_world == (rank, 2)
            torch.testing.assert_close(found_loss, loss)
            torch.testing.assert_close(found_gradient, gradient)
