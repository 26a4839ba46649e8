"""Large batches in little memory: gradient caching (Gao et al. 2021, arXiv 2101.06983).

A contrastive loss needs the embeddings of the whole batch, and not their activations: those are made again, part by
part, when the gradient comes back.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from medclip.encoded import Encoded


def encode_in_parts(encode: Callable[..., Encoded], *inputs: Tensor, size: int, model: nn.Module) -> Encoded:
    """Returns `encode(*inputs)`, made at most `size` inputs at a time; for its gradient a part is made again.

    Only the embeddings of all parts are held at once, and the activations of one. Randomness inside the model repeats
    itself in the second pass. Batch normalisation sees parts, and counts each once.
    """
    if not size or len(inputs[0]) <= size:
        return encode(*inputs)
    count = math.ceil(len(inputs[0]) / size)  # parts of about the same size
    parts: list[Encoded] = [
        checkpoint(encode, *part, use_reentrant=False, context_fn=lambda: (nullcontext(), _statistics_kept(model)))
        for part in zip(*(torch.tensor_split(tensor, count) for tensor in inputs), strict=True)
    ]

    def together(name: str) -> Tensor | None:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else torch.cat(values)

    return Encoded(
        torch.cat([part.embeds for part in parts]), local=together("local"), mask=together("mask"), grid=parts[0].grid
    )


@contextmanager
def _statistics_kept(model: nn.Module) -> Iterator[None]:
    """Keeps batch normalisation from counting a batch twice."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    before = [(norm.momentum, copy.deepcopy(norm.num_batches_tracked)) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None and count is not None:
                norm.num_batches_tracked.copy_(count)
