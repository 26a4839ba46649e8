"""Where the results of an evaluation go, and what its test sets are called."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from labelers.errors import UserError
from medclip.runs.settings import EvaluateConfig

#: Settings that change where and how fast an evaluation runs, not what comes out.
_FREE = {"prepared", "workers", "output", "overwrite", "device", "data_root", "threads"}


def output_folder(config: EvaluateConfig, folder: Path) -> Path:
    """Returns the folder of the results.

    Raises:
        UserError: It holds those of another evaluation.
    """
    output = Path(config.output) if config.output else folder.parent / "evaluation" / usual_name(config)
    saved = output / "metrics.json"
    if saved.is_file() and not config.overwrite:
        before, now = json.loads(saved.read_text())["how"]["settings"], asdict(config)
        changed = [name for name in now if name not in _FREE and before.get(name) != now[name]]
        if changed:
            raise UserError(
                f"{output} holds an evaluation with other settings ({', '.join(changed)}). Choose another --output, or "
                "add --overwrite to replace it."
            )
    return output


def usual_name(config: EvaluateConfig) -> str:
    """Returns a folder name for an evaluation: nih, csv-hospital, nih+rsna, nih-valid."""
    return "+".join(names_of_test_sets(config.on)) + ("" if config.split == "test" else f"-{config.split}")


def names_of_test_sets(on: str) -> list[str]:
    """Returns a name for each image source, all different: nih, csv-hospital, csv-hospital-2."""
    parts = [spec.strip().partition("=") for spec in on.split(",") if spec.strip()]
    plain = [f"{name}-{Path(path).stem}" if name in ("csv", "folder") else name for name, _, path in parts]
    before = [plain[:i].count(name) for i, name in enumerate(plain)]
    return [f"{name}-{count + 1}" if count else name for name, count in zip(plain, before, strict=True)]
