from __future__ import annotations

import torch

from medclip.encoded import Encoded


def test_joining_pads_local_features() -> None:
    parts = [
        Encoded(torch.ones(n, 4), local=torch.ones(n, n, 4), mask=torch.ones(n, n, dtype=torch.bool)) for n in (2, 3)
    ]
    joined = Encoded.cat(parts)
    assert len(joined) == 5
    assert joined.local.shape == (5, 3, 4)
    assert joined.mask.sum(dim=1).tolist() == [2, 2, 3, 3, 3]
    assert joined.labels is None
