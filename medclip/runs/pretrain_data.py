"""What a training by images alone trains on: its sources prepared, limited, and without the patients to leave out."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from labelers.errors import UserError
from medclip.data.preparation import Preparation
from medclip.data.samplers import source_weights
from medclip.data.source import Source
from medclip.data.subsets import limit_images, without_patients
from medclip.runs.prepare import prepare_sources
from medclip.runs.settings import PretrainConfig
from medclip.runs.settings.base import check_choice
from medclip.runs.train_data import check_vision, in_turn, left_out, log_splits
from medclip.sources import find_sources
from medclip.utils.extras import install
from medclip.utils.parallel import is_first_process
from medclip.utils.plugins import plugin_names
from medclip.utils.progress import Progress


def find_pretrain_sources(config: PretrainConfig) -> tuple[list[Source], list[Source]]:
    """Returns the image sources that `config` names, and those whose patients are left out; found on disk.

    Raises:
        UserError: No source is named, or a name is unknown.
        FileNotFoundError: A source, a checkpoint or a file of weights is not where it was looked for.
        ImportError: An optional package is not installed; the message says how.
        OSError: The tower is neither on disk nor to be had.
    """
    check_choice("method", config.method, plugin_names("training.methods"))
    if not config.images:
        raise UserError(
            "Which images? Name a source with --images NAME=PATH, such as --images csv=hospital.csv; for synthetic "
            "images: --images phantom."
        )
    if find_spec("lightly") is None:
        raise ImportError(f"Training by images alone needs an extra package: {install('pretrain')}")
    if config.resume not in ("auto", "never") and not Path(config.resume).is_file():
        raise FileNotFoundError(
            f"--resume {config.resume}: there is no such checkpoint. Write auto, never, or its path."
        )
    check_vision(config.vision, config.vision_weights)

    def find(names: str) -> list[Source]:
        return find_sources(names, data_root=config.data_root, options=config.source_options) if names else []

    return find(config.images), find(config.exclude)


def images_drawn(
    tables: Sequence[pd.DataFrame], *, source_shares: Sequence[float]
) -> tuple[pd.DataFrame, np.ndarray | None]:
    """Returns the train split of image tables, N rows, and how often each is wanted (N,), None for laps.

    Raises:
        UserError: No image is in the train split, or there are not as many shares as sources.
    """
    parts = [table[table["split"] == "train"] for table in tables]
    table = pd.concat(parts, ignore_index=True)
    if table.empty:
        raise UserError("None of the images is in the train split.")
    if not source_shares:
        return table, None
    members = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return table, source_weights(members, source_shares, np.ones(len(table)))


def prepare_pretrain_data(
    config: PretrainConfig, sources: tuple[list[Source], list[Source]], *, progress: Progress | None = None
) -> tuple[list[pd.DataFrame], list[dict[str, object]]]:
    """Returns the image tables and how each was prepared; whatever is not yet prepared is prepared first."""
    images, excluded = sources
    how = Preparation(
        folder=Path(config.prepared), size=config.cache_size, split_seed=config.split_seed, workers=config.workers,
        dicom=config.dicom, progress=progress, unlabelled=True,
    )  # fmt: skip
    with in_turn(how.folder):
        made = prepare_sources(images, [], how)
    if is_first_process():
        log_splits(made)
    tables = [one.images for one in made if one.images is not None]
    for source in excluded:
        tables = without_patients(tables, left_out(source, how, images, tables, []))
    if config.limit:
        tables = limit_images(tables, limit=config.limit, seed=config.limit_seed)
    return tables, [one.manifest or {} for one in made]
