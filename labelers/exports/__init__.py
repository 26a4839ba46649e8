"""Findings to the formats of others: one module a format.

A module has one function, `lines(report_id, text, findings, *, labeler)`, which returns what is written for a report.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from typing import Protocol

from labelers.errors import UserError
from labelers.findings import Finding


class Export(Protocol):
    """Writes the findings of one report."""

    def __call__(self, report_id: str, text: str, findings: Sequence[Finding], *, labeler: str) -> str:
        """Returns the lines of one report, each with its line end; "" where nothing is to be written.

        Args:
            report_id: Names the report.
            text: Of the report, as the labeler was given it.
            findings: Of `text`.
            labeler: Name of what found them.
        """


def export_names() -> list[str]:
    """Returns the names of the formats there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def load_export(name: str) -> Export:
    """Returns the export called `name`.

    Raises:
        UserError: There is no export of that name.
    """
    if name not in export_names():
        raise UserError(f"There is no format {name!r} for findings. Known: {', '.join(export_names())}.")
    export: Export = importlib.import_module(f"{__name__}.{name}").lines
    return export
