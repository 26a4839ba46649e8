"""GLoRIA's local loss, forward and backward: all texts at once beside one text after the other.

    PYTHONPATH=. python benchmarks/gloria_attention.py

768 features, 19 x 19 regions, texts of 5 to 30 words. Each line is measured in processes of its own, in turns.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.measure import cost
from medclip.objectives.gloria import local_similarity


def inputs(way: str, batch: int) -> tuple[str, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(batch)
    regions = torch.randn(batch, 361, 768, generator=generator) * 0.3
    words = torch.randn(batch, 30, 768, generator=generator) * 0.3
    counts = torch.randint(5, 31, (batch,), generator=generator)
    torch.ones(256, 256) @ torch.ones(256, 256)  # start the threads before memory is looked at
    return way, regions.requires_grad_(), words.requires_grad_(), torch.arange(30) < counts[:, None]


def as_published(regions: Tensor, words: Tensor, mask: Tensor) -> Tensor:
    """The straightforward loop, laid out like the published code: each text repeated for every image, all copied."""
    context = regions.transpose(1, 2).contiguous()  # (I, D, P)
    columns = []
    for text, count in zip(words, mask.sum(dim=1).tolist(), strict=True):
        query = text[:count].T.repeat(len(regions), 1, 1)  # (I, D, W)
        scores = torch.bmm(context.transpose(1, 2).contiguous(), query)  # (I, P, W)
        scores = scores.view(-1, count).softmax(dim=1).view(len(regions), -1, count).transpose(1, 2).contiguous()
        attention = (4 * scores.view(-1, scores.shape[2])).softmax(dim=1).view_as(scores)
        attended = torch.bmm(context, attention.transpose(1, 2).contiguous())  # (I, D, W)
        flat = [x.transpose(1, 2).contiguous().view(-1, x.shape[1]) for x in (query, attended)]
        cosine = functional.cosine_similarity(*flat, dim=1).view(len(regions), count)
        columns.append((5 * cosine).exp().sum(dim=1).log())
    return torch.stack(columns, dim=1)


def without_copies(regions: Tensor, words: Tensor, mask: Tensor) -> Tensor:
    """The same loop, written with care."""
    columns = []
    for text, count in zip(words, mask.sum(dim=1).tolist(), strict=True):
        own = text[:count].expand(len(regions), -1, -1)  # (I, W, D)
        scores = torch.bmm(regions, own.transpose(1, 2))  # (I, P, W)
        attention = (4 * scores.softmax(dim=2).transpose(1, 2)).softmax(dim=2)  # (I, W, P)
        context = torch.bmm(attention, regions)
        columns.append(torch.logsumexp(5 * functional.cosine_similarity(own, context, dim=2), dim=1))
    return torch.stack(columns, dim=1)


WAYS = {"loop": as_published, "careful loop": without_copies, "all at once": local_similarity}


def work(way: str, regions: Tensor, words: Tensor, mask: Tensor) -> None:
    logits = 10 * WAYS[way](regions, words, mask)
    partner = torch.arange(len(logits))
    (functional.cross_entropy(logits, partner) + functional.cross_entropy(logits.T, partner)).backward()
    regions.grad = words.grad = None


def main() -> None:
    print(f"{torch.get_num_threads()} threads; seconds and MiB")
    print(f"{'batch':>5}" + "".join(f"{way:>20}" for way in WAYS) + f"{'faster':>16} {'memory':>14}")
    for batch in (8, 16, 32, 48):
        found = [cost(inputs, work, way, batch) for way in WAYS]
        cells = "".join(f"{c.seconds:11.3f} {c.mebibytes:8.0f}" for c in found)
        faster = " ".join(f"{c.seconds / found[2].seconds:.1f}x" for c in found[:2])
        memory = " ".join(f"{found[2].mebibytes / c.mebibytes:.2f}x" for c in found[:2])
        print(f"{batch:5}{cells} {faster:>15} {memory:>14}", flush=True)


if __name__ == "__main__":
    main()
