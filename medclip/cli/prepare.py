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
    from medclip.runs.prepare import prepare

    with progress_bar() as progress:
        manifests = [made.manifest or {} for made in prepare(config, progress=progress)]
    rows = [
        [m["source"], m["kind"], str(m["rows"]), *(str(m["splits"].get(s, 0)) for s in ("train", "valid", "test"))]
        + [str(m.get("rejected", m.get("without_text", 0)))]
        for m in manifests
    ]
    columns = ["source", "kind", "rows", "train", "valid", "test", "not usable"]
    print_table(f"Prepared in {config.prepared}", columns, rows)
    return 0


main = command(run)
