"""medclip-prepare: caches images and labels sentences ahead of training."""

from __future__ import annotations

from medclip.cli.config import read_config
from medclip.cli.console import command, print_table, progress_bar
from medclip.runs.settings import PrepareConfig

_EXAMPLES = """\
examples:
  medclip-prepare --images nih=/data/CXR8 --texts openi=/data/openi --workers 8
  medclip-prepare --images mimic-cxr --data-root /shared/data --prepared /shared/prepared --engine ray
  medclip-prepare --images phantom --source-options '{phantom: {studies: 20000}}'

Training prepares what is missing; run this to do it beforehand, or on another machine. Re-run the same command to
resume an interrupted preparation. Images that cannot be read are listed with the reason in rejected.csv."""


def run(argv: list[str]) -> int:
    """Prepares the named sources and prints what there is now."""
    config = read_config(
        PrepareConfig, argv, prog="medclip-prepare", description="Cache images and label sentences.", examples=_EXAMPLES
    )
    from medclip.data.prepared import split_tables
    from medclip.runs.prepare import prepare

    with progress_bar() as progress:
        made = prepare(config, progress=progress)
    table = split_tables(made)
    print_table(f"Prepared in {config.prepared}", list(table.columns), table.astype(str).to_numpy().tolist())
    for one in made:
        manifest = one.manifest or {}
        if unusable := manifest.get("rejected", manifest.get("without_text", 0)):
            print(f"{one.name}: {unusable} {manifest['kind']} cannot be used; see {one.folder}")
    return 0


main = command(run)
