"""What to do when something on the Hugging Face hub cannot be had."""

from __future__ import annotations


def not_to_be_had(role: str, name: str, error: Exception, more: str = "") -> str:
    """Returns the message for a `role` called `name` that is neither here nor on the hub."""
    return (
        f"The {role} {name!r} is neither a folder here nor to be had from the Hugging Face hub. Without a network, run "
        f"'hf download {name} --local-dir FOLDER' where there is one, copy FOLDER here and give its path.{more} "
        f"({str(error).splitlines()[0]})"
    )
