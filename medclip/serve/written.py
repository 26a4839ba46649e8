"""What is written beside a model: its card, its evaluations, its training curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

#: Points of a curve that a page shows.
_POINTS = 400
_LARGEST = 64_000_000


def card(run: Path) -> str:
    """Returns the model card of a run or model folder, "" where there is none."""
    for path in (run / "model" / "README.md", run / "README.md"):
        if path.is_file():
            return path.read_text(encoding="utf-8", errors="replace")
    return ""


def evaluations(run: Path) -> dict[str, Path]:
    """Returns the pages of the evaluations of a run, by name."""
    return {path.parent.name: path for path in sorted(run.glob("evaluation/*/report.html"))}


def curves(run: Path) -> list[dict[str, Any]]:
    """Returns what was logged in training, by step: losses, learning rate, validation."""
    files = [path for path in sorted(run.glob("logs/**/metrics.csv")) if path.stat().st_size <= _LARGEST]
    if not files:
        return []
    table = pd.concat([pd.read_csv(path) for path in files])
    if "step" not in table:
        return []
    found = []
    for name in table.columns:
        known = table[["step", name]].apply(pd.to_numeric, errors="coerce").dropna() if name != "step" else table[:0]
        known = (
            known[np.isfinite(known[name])].drop_duplicates("step", keep="last").sort_values("step")
            if len(known)
            else known
        )
        if len(known) > 1 and name != "epoch":
            part = known.iloc[np.unique(np.linspace(0, len(known) - 1, _POINTS).astype(int))]
            found.append({"name": name, "steps": part["step"].astype(int).tolist(), "values": part[name].tolist()})
    return found
