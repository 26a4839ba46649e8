"""Effective robustness of an evaluation on several test sets, with other runs and the baselines as references."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from labelers.errors import UserError
from medclip.evaluation.bootstrap import Sampled
from medclip.evaluation.report import Results
from medclip.evaluation.shift import effective_robustness

_SHARED = "auroc/shared/test_set="


def robustness(results: Results, references: Sequence[str], *, folder: str) -> pd.DataFrame:
    """Returns, for each test set but the first, what was to be expected of the model there, and what it does.

    Nothing where zero-shot was not asked for, or the test sets share no observation.

    Args:
        results: Those of all test sets together.
        references: Runs that were evaluated on the same images.
        folder: What evaluations on these test sets are called.

    Raises:
        UserError: A reference was evaluated on other images.
    """
    others: dict[str, Mapping[str, float | None]] = {
        name: _saved(name, folder, results.about["checksum"]) for name in references
    }
    baselines = {who: result for (who, kind), result in results.found.items() if who != "model" and kind == "zero-shot"}
    others |= {who: result.numbers for who, result in baselines.items()}
    model = results.found.get(("model", "zero-shot"))
    found: dict[str, Sampled] = {} if model is None else {
        name.removeprefix(_SHARED): one for name, one in model.sampled.items() if name.startswith(_SHARED)
    }  # fmt: skip
    rows = []
    for name in list(found)[1:]:
        first = next(iter(found))
        pairs = {who: (values.get(_SHARED + first), values.get(_SHARED + name)) for who, values in others.items()}
        known = {who: (one, other) for who, (one, other) in pairs.items() if one is not None and other is not None}
        line, above = effective_robustness(found[first], found[name], list(known.values()))
        rows.append({
            "test set": name, "in distribution": first, "auroc there": found[first].value, "auroc": found[name].value,
            "difference": found[name].value - found[first].value, "expected": line.value,
            "effective robustness": above.value, "effective robustness_low": above.low,
            "effective robustness_high": above.high, "reference models": ", ".join(known) or "none",
        })  # fmt: skip
    return pd.DataFrame(rows)


def check_references(references: Sequence[str], *, folder: str, several: int) -> None:
    """Checks that each reference was evaluated on the same test sets, of which there are several.

    Raises:
        UserError: There is one only.
        FileNotFoundError: A reference was not evaluated on them.
    """
    if references and several < 2:
        raise UserError("--references are about the fall from one test set to another; name several with --on A,B.")
    for run in references:
        if not _path(run, folder).is_file():
            raise FileNotFoundError(
                f"--references {run}: {_path(run, folder)} is not there. Evaluate that run on the same test sets "
                "first, in the same order."
            )


def _path(run: str, folder: str) -> Path:
    return Path(run) / "evaluation" / folder / "metrics.json"


def _saved(run: str, folder: str, checksum: str) -> dict[str, float | None]:
    path = _path(run, folder)
    saved = json.loads(path.read_text())
    if saved["checksum"] != checksum:
        raise UserError(f"--references {run}: {path} is about other images. Evaluate that run again, with --overwrite.")
    values: dict[str, float | None] = saved["model"].get("zero-shot", {})
    return values
