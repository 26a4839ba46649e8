"""Where the results of an evaluation go, and what its test sets are called."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from labelers.errors import UserError
from medclip.runs.settings import EvaluateConfig

#: Settings that change where and how fast an evaluation runs, not what comes out.
_FREE = {"prepared", "workers", "output", "overwrite", "device", "data_root", "threads"}

#: What a value in metrics.json stands for, in words.
_MEANING = {"checksum": "images", "weights": "weights"}


def output_folder(config: EvaluateConfig, folder: Path) -> Path:
    """Returns the folder of the results.

    Raises:
        UserError: It holds those of another evaluation, or of something else.
    """
    output = Path(config.output) if config.output else folder.parent / "evaluation" / usual_name(config)
    saved = output / "metrics.json"
    if saved.is_file() and not config.overwrite:
        before, now = _before(saved)["how"]["settings"], asdict(config)
        changed = [name for name in now if name not in _FREE and before.get(name) != now[name]]
        if changed:
            raise UserError(
                f"{output} holds an evaluation with other settings ({', '.join(changed)}). Choose another --output, or "
                "add --overwrite to replace it."
            )
    return output


def check_same(config: EvaluateConfig, output: Path, **now: str) -> None:
    """Checks that results in `output` are of the same images and weights, which settings do not tell.

    Args:
        config: The settings.
        output: Folder of the results.
        now: What is to be evaluated, by its name in metrics.json; what is not named there is not compared.

    Raises:
        UserError: They are of others.
    """
    saved = output / "metrics.json"
    if saved.is_file() and not config.overwrite:
        before = _before(saved)
        if changed := [_MEANING[name] for name in now if before.get(name, now[name]) != now[name]]:
            raise UserError(
                f"{output} holds an evaluation of other {' and '.join(changed)}, though with the same settings. Choose "
                "another --output, or add --overwrite to replace it."
            )


def _before(saved: Path) -> dict[str, Any]:
    """Returns the results that are there.

    Raises:
        UserError: They are of no evaluation.
    """
    before: dict[str, Any] = json.loads(saved.read_text())
    if "settings" not in before.get("how", {}):
        raise UserError(f"{saved} is not of an evaluation; is {saved.parent} a training run? Choose another --output.")
    return before


def usual_name(config: EvaluateConfig) -> str:
    """Returns a folder name for an evaluation: nih, csv-hospital, nih+rsna, nih-valid."""
    return "+".join(names_of_test_sets(config.on)) + ("" if config.split == "test" else f"-{config.split}")


def names_of_test_sets(on: str) -> list[str]:
    """Returns a name for each image source, all different: nih, csv-hospital, csv-hospital-2."""
    parts = [spec.strip().partition("=") for spec in on.split(",") if spec.strip()]
    plain = [f"{name}-{Path(path).stem}" if name in ("csv", "folder") else name for name, _, path in parts]
    before = [plain[:i].count(name) for i, name in enumerate(plain)]
    return [f"{name}-{count + 1}" if count else name for name, count in zip(plain, before, strict=True)]
