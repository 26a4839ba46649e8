"""medclip-curve: the same training at several sizes, by several objectives, several times: who needs how much data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from labelers.errors import UserError
from medclip.cli.config import read_config
from medclip.cli.console import command, print_table, progress_bar, with_threads
from medclip.runs.settings import CurveConfig

if TYPE_CHECKING:
    from medclip.runs.curve_plan import Plan

_EXAMPLES = """\
examples:
  medclip-curve --recipe benchmarks/phantom-64.yaml --sizes 500,1000,2000 --objectives semantic-matching,clip
  medclip-curve --recipe configs/medclip-swin.yaml --images mimic-cxr --texts mimic-reports --workers 4
  medclip-curve --config benchmarks/claim-labels.yaml --list
  medclip-curve --config benchmarks/claim-labels.yaml --point $SLURM_ARRAY_TASK_ID
  medclip-curve --recipe configs/medclip-swin.yaml --on chexpert-5x200 --metrics draws/accuracy --published medclip-2022

Every smaller size is a part of the larger ones, by patient. Re-run the same command to resume: points that are done
are kept. Each time the finished points are summed up in curve.csv, curve.png and, on screen, who needs how many
samples."""


def run(argv: list[str]) -> int:
    """Trains and evaluates what is not there yet, and sums up."""
    config = read_config(
        CurveConfig, argv, prog="medclip-curve", description="Draw the data-efficiency curve.", examples=_EXAMPLES
    )
    if not argv:
        raise UserError("Which training? Name a recipe with --recipe FILE, or sources with --images and --texts.")
    from medclip.evaluation.data_efficiency import summary
    from medclip.runs.curve import run_curve
    from medclip.runs.curve_plan import plan_curve

    plan = plan_curve(config if config.list else with_threads(config))
    if config.list:
        _list(plan)
        return 0
    with progress_bar() as progress:
        result = run_curve(plan, progress=progress)
    rows = [
        [metric, arm, f"{size:,}", f"{mean:.3f}", "-" if seeds < 2 else f"{sd:.3f}", str(seeds)]
        for metric, arm, size, mean, sd, seeds in summary(result.table).to_numpy().tolist()
    ]
    title = f"{result.done} of {len(plan.points)} points"
    print_table(title, ["metric", "arm", "size", "mean", "sd", "seeds"], rows)
    print(*result.lines, sep="\n")
    output = Path(config.output)
    print(f"Table and figure: {output / 'curve.csv'}, {output / 'curve.png'}")
    return 0


def _list(plan: Plan) -> None:
    rows = [
        [str(i), point.arm, f"{point.size:,}", str(point.seed), "done" if plan.is_done(point) else ""]
        for i, point in enumerate(plan.points)
    ]
    print_table(f"Points of {plan.config.output}", ["point", "arm", "size", "seed", "state"], rows)


main = command(run)
