"""medclip-classify: what is in these images?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from medclip.cli.config import read_config
from medclip.cli.console import command, format_of, print_table, progress_bar, with_threads
from medclip.runs.settings import ClassifyConfig
from medclip.utils.io import write_atomically

if TYPE_CHECKING:
    from medclip.runs.classify import Answers

_EXAMPLES = """\
examples:
  medclip-classify runs/phantom chest.dcm
  medclip-classify runs/mine/model folder/ --prompts my-prompts.yaml --output answers.csv
  medclip-classify runs/mine chest.png --heatmap maps --show Cardiomegaly,Pneumothorax
  medclip-classify runs/mine films/ --html answers.html
  medclip-classify runs/mine study/ --to sr,seg,sc --objects results --show 'Pleural Effusion'
  medclip-classify runs/mine chest.png --abstain
  medclip-classify runs/mine --from 'dicomweb:http://127.0.0.1:8042/dicom-web?StudyDate=20260101' \\
    --to sr,seg --send dicomweb:http://127.0.0.1:8042/dicom-web
  find /data -name '*.dcm' | medclip-classify exported - --format json

Probabilities are calibrated where medclip-evaluate --calibrate has been run on the model; otherwise they are a ranking,
as with --no-calibration. --abstain answers present, absent or unsure, by what medclip-evaluate --save-abstention saved.
Files that cannot be read are listed with the reason, and do not stop the others. The token of an archive is read from
MEDCLIP_DICOMWEB_TOKEN, or its login from MEDCLIP_DICOMWEB_LOGIN (user:password); see docs/results.md.
Research software. Not a medical device."""

#: Observations in a row of the table on the screen.
_SHOWN = 3
_WORDS = {1.0: "present", 0.0: "absent"}


def run(argv: list[str]) -> int:
    """Classifies files as configured."""
    config = read_config(
        ClassifyConfig, argv, prog="medclip-classify", description="Classify images by prompts.", examples=_EXAMPLES
    )
    kind = format_of(config.output, config.format, "answers")
    from medclip.runs.classify import classify

    with progress_bar() as progress:
        answers = classify(with_threads(config), progress=progress)
    for path in (*answers.heatmaps, *answers.objects):
        print(path, file=sys.stderr)
    if kind == "table":
        _show_decisions(answers) if config.abstain else _show(answers, config)
    elif config.output == "-":
        sys.stdout.write(_text(answers, kind))
    else:
        text = _text(answers, kind)
        write_atomically(Path(config.output), lambda part: part.write_text(text, encoding="utf-8"))
        print(f"{config.output}: {len(answers.paths)} images, {len(answers.columns)} observations")
    if config.html:
        print(f"Page: {config.html}", file=sys.stderr)
    if blank := _blank(answers):
        print(f"Not calibrated, so without a probability: {', '.join(blank)}. Rank by them with --no-calibration.",
              file=sys.stderr)  # fmt: skip
    for file, reason in answers.problems.items():
        print(f"{file}: {reason}", file=sys.stderr)
    for file, reason in answers.without_objects.items():
        print(f"{file}: no DICOM object: {reason}", file=sys.stderr)
    for file, reason in answers.not_stored.items():
        print(f"{file}: not stored in the archive: {reason}", file=sys.stderr)
    if config.send:
        print(f"Archive: {len(answers.stored)} of {len(answers.objects)} objects stored", file=sys.stderr)
    return 1 if answers.problems or answers.without_objects or answers.not_stored else 0


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
        print(f"All {len(answers.columns)} observations: --output FILE.csv")


def _show_decisions(answers: Answers) -> None:
    """Prints a row a file: what is present, what the answer is unsure of, and how much is absent."""
    if not answers.paths:
        print("None of the files can be read.")
        return
    assert answers.decisions is not None
    rows = []
    for path, decided in zip(_short(answers.paths), answers.decisions.tolist(), strict=True):
        said = [(_WORDS.get(one, "unsure"), name) for one, name in zip(decided, answers.columns, strict=True)]
        named = {word: [name for given, name in said if given == word] for word in ("present", "unsure", "absent")}
        rows.append([path, *(", ".join(names) or "-" for names in named.values())])
    print_table("Answers, where there is one", ["file", "present", "unsure", "absent"], rows)


def _blank(answers: Answers) -> list[str]:
    """Returns the observations that a calibration leaves without a probability."""
    return [name for name in answers.columns if answers.thresholds and name not in answers.thresholds]


def _short(paths: list[str]) -> list[str]:
    """Returns file names where they are enough to tell the files apart, else the paths."""
    names = [Path(path).name for path in paths]
    return names if len(set(names)) == len(names) else paths


def _cell(value: float, threshold: float | None) -> str:
    return f"{value:.3f}{'*' if threshold is not None and value >= threshold else ''}"


def _text(answers: Answers, kind: str) -> str:
    import pandas as pd

    table = pd.DataFrame(answers.values.round(6), columns=answers.columns)
    if answers.decisions is not None:
        words = pd.DataFrame(answers.decisions, columns=[f"{name} (answer)" for name in answers.columns])
        table = pd.concat([table, words.map(lambda one: _WORDS.get(one, "unsure"))], axis=1)
    table.insert(0, "path", answers.paths)
    problems = pd.DataFrame({"path": list(answers.problems), "error": list(answers.problems.values())})
    table = pd.concat([table, problems])
    if kind == "json":
        rows = [{k: v for k, v in row.items() if v == v} for row in table.to_dict("records")]
        return json.dumps(rows, indent=2) + "\n"
    return table.to_csv(index=False)


main = command(run)
