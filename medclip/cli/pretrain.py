"""medclip-pretrain: an image tower from images alone, for medclip-train to start from."""

from __future__ import annotations

from medclip.cli.config import read_config
from medclip.cli.console import command, progress_bar, with_threads
from medclip.runs.settings import PretrainConfig
from medclip.utils.logs import quieten

_EXAMPLES = """\
examples:
  medclip-pretrain --images nih,chexpert --data-root /data --method mocov2 --vision torchvision:resnet50
  medclip-pretrain --images csv=my/images.csv --method mae --vision timm:vit_small_patch16_224 --output runs/tower
  medclip-train --images nih,chexpert --texts mimic-reports --data-root /data --vision runs/tower

Labels are not looked at, and only images of the train split are used. The folder tower/ of the run is what --vision
takes, and so is the run's. Re-run the same command to resume an interrupted run; it gives the same results as an
uninterrupted one. Methods and what they gain: docs/pretraining.md."""

#: Exit code of a run that was told to stop (SIGTERM) and saved: neither done nor failed, to be run again.
STOPPED = 75


def run(argv: list[str]) -> int:
    """Trains an image tower as configured."""
    config = read_config(
        PretrainConfig, argv, prog="medclip-pretrain",
        description="Train an image tower by images alone.", examples=_EXAMPLES,
    )  # fmt: skip
    from medclip.runs.pretrain_data import find_pretrain_sources

    find_pretrain_sources(config)  # before torch is imported, which takes seconds
    from medclip.runs.pretrain import pretrain
    from medclip.runs.train_resume import threads_of
    from medclip.training.trainer import Stopped

    quieten()
    try:
        with progress_bar() as progress:
            result = pretrain(with_threads(config, before=threads_of(config)), progress=progress)
    except Stopped as stopped:
        print(f"{stopped}. Run the same command again to resume.")
        return STOPPED
    if result.resumed:
        print(f"{config.output} holds this run, complete. To repeat it, add --overwrite.")
    print(f"Tower: {result.tower}. Next: medclip-train --vision {config.output} --image-size {config.image_size} ...")
    return 0


main = command(run)
