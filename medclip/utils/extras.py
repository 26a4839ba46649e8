"""What to install where an optional package is missing."""

from __future__ import annotations

#: Name of this package on package indexes; `medclip` there belongs to the authors of the published system.
DISTRIBUTION = "medclip-cxr"


def install(extra: str) -> str:
    """Returns the command that installs the packages of an extra."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"
