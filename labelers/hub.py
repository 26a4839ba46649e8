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
_DATA = ["*.safetensors", "*.onnx", "*.onnx.data", "*.json", "*.yaml", "*.txt", "*.md"]


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


def fetched(role: str, name: str) -> str:
    """Returns the folder of a `role` called `name`: one that is there, or what the hub has of a hub id.

    Files that could hold code, such as pickled weights, are not fetched.

    Raises:
        OSError: It cannot be had; the message says what to do.
    """
    if os.path.exists(name):
        return name
    from huggingface_hub import snapshot_download

    try:
        return str(snapshot_download(name, local_files_only=not is_reached(), allow_patterns=_DATA))
    except (OSError, ValueError) as error:
        raise OSError(not_to_be_had(role, name, error)) from error


def check_on_disk(role: str, name: str) -> None:
    """Checks that a `role` called `name` is a folder, was fetched before, or can be asked for; imports nothing heavy.

    Raises:
        OSError: It is none of these; the message says what to do.
    """
    try:
        on_disk(name)
    except (OSError, ValueError) as error:
        raise OSError(not_to_be_had(role, name, error)) from error


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


def not_to_be_had(role: str, name: str, error: Exception, more: str = "") -> str:
    """Returns the message for a `role` called `name` that cannot be loaded: from its folder, or from the hub."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if Path(name).is_dir():
        return f"The folder {name} holds no {role} that can be loaded ({reason})."
    if _is_path(name):
        return f"There is no folder {name}. Name one that holds a {role}, or a hub id such as NAME/MODEL.{more}"
    fetch = f"'hf download {name} --local-dir FOLDER'"
    if is_reached():
        return (
            f"The {role} {name!r} is neither a folder here nor to be had from {hub_address()}. Check its name; what "
            f"asks for an agreement needs 'hf auth login'. Or run {fetch} elsewhere and give its path.{more} "
            f"({reason})"
        )
    return (
        f"The {role} {name!r} is neither a folder here nor was it fetched before, and {hub_address()} "
        f"{_why_not_reached()}. Without a network, run {fetch} where there is one, copy FOLDER here and give its "
        f"path.{more}"
    )


def _why_not_reached() -> str:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return "is not asked, as HF_HUB_OFFLINE says"
    return f"did not answer within {PATIENCE:g} seconds (HF_HUB_OFFLINE=1 spares the wait)"


def _is_path(name: str) -> bool:
    """Tells whether a name can only be meant as a path: a hub id is NAME or NAME/MODEL."""
    return name.startswith(("/", ".", "~")) or "\\" in name or name.count("/") > 1
