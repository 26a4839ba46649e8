"""Whether the model hub can be reached, told within seconds: its own client retries for minutes."""

from __future__ import annotations

import os
import time
from functools import lru_cache
from pathlib import Path
from threading import Thread

#: Seconds that the hub has to answer, and seconds for which its answer counts.
PATIENCE = 4.0
_VALID = 60


def on_disk(name: str | Path, *, revision: str | None = None, cache_dir: str | None = None) -> str:
    """Returns what `from_pretrained` is to be asked for: a folder or, while the hub answers, the hub id itself.

    Where the hub does not answer, it is the folder of what was fetched before.

    Args:
        name: A folder or a hub id.
        revision: Revision of the hub id.
        cache_dir: Where fetched files lie, if not in the usual place.

    Raises:
        OSError: The hub does not answer, and nothing was fetched before.
        ValueError: `name` is neither a folder nor can it be a hub id.
    """
    if os.path.exists(name) or is_reached():
        return str(name)
    from huggingface_hub import snapshot_download

    return str(snapshot_download(str(name), revision=revision, cache_dir=cache_dir, local_files_only=True))


def is_reached() -> bool:
    """Tells whether the hub answers within `PATIENCE` seconds; with HF_HUB_OFFLINE=1 it is not asked."""
    return _answers(hub_address(), int(time.monotonic() // _VALID))


def hub_address() -> str:
    """Returns where the hub is looked for, HF_ENDPOINT or its usual address."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


@lru_cache(maxsize=1)
def _answers(address: str, _minute: int) -> bool:
    found: list[bool] = []
    # A thread, since looking up an address has no time limit of its own.
    asking = Thread(target=lambda: found.append(_asked(address)), daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return bool(found) and found[0]


def _asked(address: str) -> bool:
    from huggingface_hub import get_session

    try:
        return bool(get_session().head(address, timeout=PATIENCE).status_code < 500)
    except Exception:  # versions of the client raise different kinds for an offline mode, a proxy or no network
        return False
