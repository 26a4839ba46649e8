"""medclip-classify: what is in these images?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from medclip.cli.config import read_config
from medclip.cli.console import command, print_table, progress_bar
from medclip.runs.settings import ClassifyConfig

if TYPE_CHECKING:
    from medclip.runs.classify import Answers

_EXAMPLES = """\
examples:
  medclip-classify runs/phantom chest.dcm
  medclip-classify runs/mine/model folder/ --prompts my-prompts.yaml --format csv --output answers.csv
  medclip-classify runs/mine chest.png --heatmap maps --show Cardiomegaly,Pneumothorax
  find /data -name '*.dcm' | medclip-classify exported - --format json

Probabilities are calibrated where medclip-evaluate --calibrate has been run on the model; otherwise they are a ranking.
Files that cannot be read are listed with the reason, and do not stop the others.
Research software. Not a medical device."""

#: Observations in a row of the table on the screen.
_SHOWN = 3


def run(argv: list[str]) -> int:
    """Classifies files as configured."""
    config = read_config(
        ClassifyConfig, argv, prog="medclip-classify", description="Classify images by prompts.", examples=_EXAMPLES
    )
    from medclip.runs.classify import classify

    with progress_bar() as progress:
        answers = classify(config, progress=progress)
    for path in answers.heatmaps:
        print(path, file=sys.stderr)
    if config.format == "table" and config.output == "-":
        _show(answers, config)
    else:
        text = _text(answers, config.format)
        sys.stdout.write(text) if config.output == "-" else Path(config.output).write_text(text, encoding="utf-8")
    for file, reason in answers.problems.items():
        print(f"{file}: {reason}", file=sys.stderr)
    return 1 if answers.problems else 0


def _show(answers: Answers, config: ClassifyConfig) -> None:
    """Prints a row a file: its strongest observations."""
    if not answers.paths:
        print("None of the files can be read.")
        return
    title = "Probabilities" if answers.thresholds or config.classes else "Probabilities, not calibrated: a ranking only"
    title += " (* above its threshold)" if answers.thresholds else ""
    count = min(_SHOWN, len(answers.columns))
    rows = []
    for path, values in zip(_short(answers.paths), answers.values, strict=True):
        known = [(value, name) for value, name in zip(values.tolist(), answers.columns, strict=True) if value == value]
        best = sorted(known, key=lambda pair: -pair[0])[:count]
        rows.append([path, *(f"{name} {_cell(value, answers.thresholds.get(name))}" for value, name in best)])
        rows[-1] += [""] * (count + 1 - len(rows[-1]))
    print_table(title, ["file", *(["strongest"] + [""] * (count - 1))], rows)
    if count < len(answers.columns):
        print(f"All {len(answers.columns)} observations: --format csv, with --output FILE.")


def _short(paths: list[str]) -> list[str]:
    """Returns file names where they are enough to tell the files apart, else the paths."""
    names = [Path(path).name for path in paths]
    return names if len(set(names)) == len(names) else paths


def _cell(value: float, threshold: float | None) -> str:
    return f"{value:.3f}{'*' if threshold is not None and value >= threshold else ''}"


def _text(answers: Answers, kind: str) -> str:
    import pandas as pd

    table = pd.DataFrame(answers.values.round(6), columns=answers.columns)
    table.insert(0, "path", answers.paths)
    problems = pd.DataFrame({"path": list(answers.problems), "error": list(answers.problems.values())})
    table = pd.concat([table, problems])
    if kind == "json":
        rows = [{k: v for k, v in row.items() if v == v} for row in table.to_dict("records")]
        return json.dumps(rows, indent=2) + "\n"
    return table.to_csv(index=False)


main = command(run)
