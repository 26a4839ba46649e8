"""medclip-train: from sources to a trained model in one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medclip.cli.config import read_config
from medclip.cli.console import command, print_table, progress_bar, with_threads
from medclip.runs.settings import TrainConfig
from medclip.utils.logs import quieten

if TYPE_CHECKING:
    from medclip.training.callbacks import Profile

_EXAMPLES = """\
examples:
  medclip-train --config configs/phantom.yaml
  medclip-train --images chexpert --texts mimic-reports --data-root /data --config configs/medclip-swin.yaml
  medclip-train --images nih=/data/CXR8,csv=my/images.csv --texts openi=/data/openi --output runs/mine

Images and texts need no pairs: labels say what matches. Sources that are not yet prepared are prepared first.
The run folder holds model/ (for from_pretrained), checkpoints/, logs/, config.yaml and metrics.json.
Re-run the same command to resume an interrupted run; it gives the same results as an uninterrupted one. A run that
gets SIGTERM or Ctrl-C saves and ends with code 75. Several GPUs and machines: docs/cluster.md."""

#: Exit code of a run that was told to stop (SIGTERM) and saved: neither done nor failed, to be run again.
STOPPED = 75
_HINTS = {
    "data": "raise --workers", "transfer": "raise --workers, or look at the machine's memory",
    "validation and checkpoints": "raise --evaluate-every",
}  # fmt: skip


def run(argv: list[str]) -> int:
    """Trains a model as configured."""
    config = read_config(
        TrainConfig, argv, prog="medclip-train",
        description="Train MedCLIP on images and texts that need no pairs.", examples=_EXAMPLES,
    )  # fmt: skip
    from medclip.runs.train_data import find_train_sources

    find_train_sources(config)  # before torch is imported, which takes seconds
    from medclip.runs.train import train
    from medclip.runs.train_resume import threads_of
    from medclip.training.trainer import Stopped

    quieten()
    output = Path(config.output)
    try:
        with progress_bar() as progress:
            result = train(with_threads(config, before=threads_of(config)), progress=progress)
    except Stopped as stopped:
        print(f"{stopped}. Run the same command again to resume.")
        return STOPPED
    if result.resumed:
        print(f"{output} holds this run, complete: {output / 'metrics.json'}. To repeat it, add --overwrite.")
        return 0
    if result.profile is not None:
        _show_profile(result.profile, config)
    if result.metrics:
        best = dict(result.metrics["best"])
        step = best.pop("step")
        scores = ", ".join(f"{name} {value:.4f}" for name, value in best.items() if value is not None)
        chosen = (
            f"Best by validation: {scores}, at step {step}"
            if scores
            else f"The model of the last step, {step}, is kept"
        )
        print(f"{chosen}. Model: {result.model}. Next: medclip-evaluate {output} --on NAME=PATH")
    return 0


def _show_profile(profile: Profile, config: TrainConfig) -> None:
    """Prints where the time of a step goes, and what limits it."""
    rows = [[part, f"{milliseconds:.1f}", f"{share:.0%}"] for part, milliseconds, share in profile.rows()]
    title = f"A step of {config.batch_images} images and {config.batch_texts} texts, mean of {profile.steps}"
    print_table(title, ["part", "ms", "share"], rows)
    whole = sum(milliseconds for _, milliseconds, _ in profile.rows())
    if profile.steps:
        slowest = max(profile.rows(), key=lambda row: row[1])[0]
        hint = _HINTS.get(slowest, "this is the model's own work")
        print(f"{1000 * config.batch_images / whole:,.0f} images a second. The limit: {slowest}; {hint}.")


main = command(run)
