"""medclip-benchmark: every published protocol whose data are there, one table beside the published numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medclip.cli.config import read_config
from medclip.cli.console import command, print_table, progress_bar, with_threads
from medclip.runs.settings import BenchmarkConfig
from medclip.utils.logs import quieten

_EXAMPLES = """\
examples:
  medclip-benchmark runs/mine --data-root /data
  medclip-benchmark runs/mine --data-root /data --list
  medclip-benchmark runs/mine --protocols carzero-2024,denial-2026 --test-sets nih=/data/CXR8,openi=/data/openi

Protocols fix prompts, test images and metrics as published. What the model was trained on is named beside each number.
The same command goes on where it was; results are benchmark.csv and benchmark.html in the run folder."""


def run(argv: list[str]) -> int:
    """Evaluates a model by every protocol whose data are there."""
    config = read_config(
        BenchmarkConfig, argv, prog="medclip-benchmark", description="Follow published protocols.", examples=_EXAMPLES
    )
    from medclip.inference.load import find_model
    from medclip.runs.benchmark import plan_benchmark, run_benchmark

    if config.list:
        rows = [[task.protocol.name, task.name, task.missing or "there"] for task in plan_benchmark(config)]
        print_table("Test sets", ["protocol", "test set", "data"], rows)
        return 0
    find_model(config.model)  # before torch is imported, which takes seconds
    import torch  # noqa: F401  whose loggers are then there to be quietened

    quieten()
    with progress_bar() as progress:
        result = run_benchmark(with_threads(config), progress=progress)
    rows = [
        [row["protocol"], f"{row['test set']} ({row['images']:,})", row["metric"], _interval(row), row["published"],
         _trained_on(row)]
        for row in result.table.to_dict("records")
    ]  # fmt: skip
    columns = ["protocol", "test set (images)", "metric", "ours", "published", "trained on"]
    print_table("Ours beside the published numbers", columns, rows)
    for name, why in result.left_out.items():
        print(f"Left out: {name} ({why})")
    print(f"Page and table: {result.output / 'benchmark.html'}, {result.output / 'benchmark.csv'}")
    return 0


def _interval(row: Mapping[Any, Any]) -> str:
    low, high = row["low"], row["high"]
    return f"{row['ours']:.3f}" + (f" ({low:.3f}-{high:.3f})" if low == low and low is not None else "")


def _trained_on(row: Mapping[Any, Any]) -> str:
    found = [
        f"{int(row[f'{what} trained on'])} {what}"
        for what in ("patients", "images")
        if row[f"{what} trained on"] == row[f"{what} trained on"] and row[f"{what} trained on"] is not None
    ]
    return ", ".join(found) or "cannot be told"


main = command(run)
