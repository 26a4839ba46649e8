"""medclip-detect: where in these images? Boxes for any phrase."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from medclip.cli.config import read_config
from medclip.cli.console import command, format_of, print_table, progress_bar, with_threads
from medclip.runs.settings import DetectConfig
from medclip.utils.io import write_atomically
from medclip.utils.logs import quieten

_EXAMPLES = """\
examples:
  medclip-detect runs/mine film.png --observations Cardiomegaly,'Pleural Effusion' --pictures boxes
  medclip-detect runs/mine films/ --output boxes.csv
  medclip-detect runs/mine film.dcm --phrases 'left pleural effusion' --format json
  medclip-detect runs/mine film.png --words 'small left effusion' --pictures words

Boxes are in pixels of the file, from its upper left corner. A score is where times whether: the mean of the map in
the box, as a share of its highest value, times the chance of the observation, not calibrated. Of a phrase it is the
first alone, since a phrase has no contrary: it says where the phrase would be, not whether it is there.
Research software. Not a medical device."""


def run(argv: list[str]) -> int:
    """Finds boxes as configured."""
    config = read_config(
        DetectConfig, argv, prog="medclip-detect", description="Find boxes for phrases in images.", examples=_EXAMPLES
    )
    kind = format_of(config.output, config.format, "boxes")
    from medclip.runs.detect import detect

    quieten()
    with progress_bar() as progress:
        found = detect(with_threads(config), progress=progress)
    for path in found.pictures:
        print(path, file=sys.stderr)
    text = _text(found.rows, found.problems, kind)
    if config.output != "-":
        write_atomically(Path(config.output), lambda part: part.write_text(text, encoding="utf-8"))
        print(f"{config.output}: {len(found.rows)} {'words' if config.words else 'boxes'} in {len(found.paths)} images")
    elif kind == "table":
        _show(found.rows, config, read=bool(found.paths))
    else:
        sys.stdout.write(text)
    for file, reason in found.problems.items():
        print(f"{file}: {reason}", file=sys.stderr)
    return 1 if found.problems else 0


def _show(rows: list[dict[str, object]], config: DetectConfig, *, read: bool) -> None:
    """Prints a row a box, or a word."""
    if not rows:
        weaker = "Nothing is found. Lower --least-score to see weaker boxes."
        print(weaker if read else "None of the files can be read.")
        return
    title = f"Where the words are: {config.words}" if config.words else "Boxes, in pixels of each file"
    columns = list(rows[0])
    print_table(title, columns, [[_cell(row[name]) for name in columns] for row in rows])


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1 else (
        f"{value:.0f}" if isinstance(value, float) else str(value)
    )  # fmt: skip


def _text(rows: list[dict[str, object]], problems: dict[str, str], kind: str) -> str:
    everything = [*rows, *({"path": path, "error": reason} for path, reason in problems.items())]
    if kind == "json":
        return json.dumps(everything, indent=2, ensure_ascii=False) + "\n"
    import pandas as pd

    return pd.DataFrame(everything).to_csv(index=False)


main = command(run)
