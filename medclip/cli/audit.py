"""medclip-audit: which patients and images a run, or a data set, shares with others."""

from __future__ import annotations

from medclip.cli.config import read_config
from medclip.cli.console import command, print_table, progress_bar
from medclip.runs.settings import AuditConfig

_EXAMPLES = """\
examples:
  medclip-audit runs/mine --on rsna,siim --data-root /data
  medclip-audit nih=/data/CXR8 --on rsna=/data/rsna --output shared.csv
  medclip-audit runs/mine --on csv=hospital.csv --split test

Patients are compared by their ids, which agree within one population only. Images are compared by their content, so a
copy is found under another id, size, coding or grey scale. `shared images` and `their patients` are of the second side.
Exit code 1 if anything is shared, 0 if nothing is."""


def run(argv: list[str]) -> int:
    """Compares a run or sources with other sources."""
    config = read_config(
        AuditConfig, argv, prog="medclip-audit", description="List patients and images that data sets share.",
        examples=_EXAMPLES,
    )  # fmt: skip
    from medclip.runs.audit import audit

    with progress_bar() as progress:
        found = audit(config, progress=progress)
    table = found.table
    print_table("Shared", list(table.columns), table.astype(str).to_numpy().tolist())
    if config.output:
        print(f"{len(found.pairs)} pairs of images: {config.output}")
    return 0 if found.is_clean else 1


main = command(run)
