"""Gathering across processes, with gradient. Alone it does nothing."""

from __future__ import annotations

import torch
from torch import Tensor, distributed

from medclip.encoded import Encoded


def world() -> tuple[int, int]:
    """Returns (rank, number of processes)."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def gather(encoded: Encoded, *, own_rows: bool = False) -> Encoded:
    """Returns `encoded` of all processes, in order of rank; gradients flow back to the process that made them.

    Every process must hold equally many inputs. Local features are padded to the longest of all processes. With
    `own_rows` the result names the rows of this process, so that losses are computed for them only.
    """
    rank, size = world()
    if size == 1:
        return encoded

    def all_of(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else _gather_tensor(tensor)

    local, mask = encoded.local, encoded.mask
    if local is not None:
        length = torch.tensor(local.shape[1], device=local.device)
        distributed.all_reduce(length, op=distributed.ReduceOp.MAX)
        extra = int(length) - local.shape[1]
        local = torch.nn.functional.pad(local, (0, 0, 0, extra))
        mask = None if mask is None else torch.nn.functional.pad(mask, (0, extra))
    return Encoded(
        embeds=_gather_tensor(encoded.embeds),
        local=all_of(local),
        mask=all_of(mask),
        grid=encoded.grid,
        labels=all_of(encoded.labels),
        study_ids=all_of(encoded.study_ids),
        ids=all_of(encoded.ids),
        keys=all_of(encoded.keys),
        own=slice(rank * len(encoded), (rank + 1) * len(encoded)) if own_rows else None,
    )


def _gather_tensor(tensor: Tensor) -> Tensor:
    if tensor.requires_grad:
        from torch.distributed.nn.functional import all_gather

        return torch.cat(all_gather(tensor))  # type: ignore[no-untyped-call]
    parts = [torch.empty_like(tensor) for _ in range(world()[1])]
    distributed.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)
