"""GLoRIA's local loss, forward and backward: all texts at once beside one text after the other.

    python benchmarks/gloria_attention.py

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


def one_text_at_a_time(regions: Tensor, words: Tensor, mask: Tensor) -> Tensor:
    """The straightforward way: for each text, every image's attended context, then cosines."""
    columns = []
    for text, count in zip(words, mask.sum(dim=1).tolist(), strict=True):
        own = text[:count].expand(len(regions), -1, -1)  # (I, W, D)
        scores = torch.bmm(regions, own.transpose(1, 2))  # (I, P, W)
        attention = (4 * scores.softmax(dim=2).transpose(1, 2)).softmax(dim=2)  # (I, W, P)
        context = torch.bmm(attention, regions)
        columns.append(torch.logsumexp(5 * functional.cosine_similarity(own, context, dim=2), dim=1))
    return torch.stack(columns, dim=1)


WAYS = {"text by text": one_text_at_a_time, "all at once": local_similarity}


def work(way: str, regions: Tensor, words: Tensor, mask: Tensor) -> None:
    logits = 10 * WAYS[way](regions, words, mask)
    partner = torch.arange(len(logits))
    (functional.cross_entropy(logits, partner) + functional.cross_entropy(logits.T, partner)).backward()
    regions.grad = words.grad = None


def main() -> None:
    print(f"{torch.get_num_threads()} threads")
    print(f"{'batch':>5} {'text by text':>22} {'all at once':>22} {'faster':>8} {'memory':>8}")
    for batch in (8, 16, 32, 48):
        slow, fast = (cost(inputs, work, way, batch) for way in WAYS)
        cells = " ".join(f"{c.seconds:9.3f} s {c.mebibytes:6.0f} MiB" for c in (slow, fast))
        print(f"{batch:5} {cells} {slow.seconds / fast.seconds:7.1f}x {fast.mebibytes / slow.mebibytes:7.2f}x")


if __name__ == "__main__":
    main()
