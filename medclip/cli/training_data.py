"""What medclip-train trains on: its sources prepared, limited, and without what is to be left out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medclip.cli.console import progress_bar

if TYPE_CHECKING:
    from medclip.data.prepare import Prepared
    from medclip.data.source import Source
    from medclip.settings import TrainConfig

logger = logging.getLogger(__name__)


def check_pairs(config: TrainConfig, images: list[Source], texts: list[Source]) -> None:
    """Stops at once where an objective needs pairs that these sources cannot have.

    Raises:
        ValueError: no image source and text source describe the same studies.
    """
    from medclip.utils.plugins import load_plugin, plugin_names

    if config.objective_options.get("pair_weight") and not config.pairs:
        raise ValueError(
            "pair_weight has no effect without pairs in the batches. Say what share of the texts are to be partners of "
            "images, such as --pairs 0.5."
        )
    if not load_plugin("objectives", config.objective).needs_pairs and not config.pairs:
        return
    if any(image.shares_studies(text) for image in images for text in texts):
        return
    kinds = [load_plugin("sources", name) for name in plugin_names("sources")]
    able = [
        f"  --images {image.name} --texts {text.name}{image.to_pair}"
        for image in kinds
        for text in kinds
        if image.gives("images") and text.gives("texts")
        and (image.population or image.name) == (text.population or text.name)
    ]  # fmt: skip
    raise ValueError(
        f"{config.objective} needs images and reports of the same studies; {config.images} and {config.texts} share "
        "none. These do:\n" + "\n".join(able) + "\nOr train without pairs: --objective semantic-matching."
    )


def prepare(config: TrainConfig, images: list[Source], texts: list[Source]) -> tuple[list[Prepared], list[Prepared]]:
    """Returns the image and the text sources prepared; what is there already costs a look."""
    import pandas as pd

    from medclip.data.prepare import declared_of, prepare_images, prepare_sentences
    from medclip.data.splits import split_table

    common: dict[str, Any] = {
        "folder": Path(config.prepared),
        "split_seed": config.split_seed,
        "workers": config.workers,
        "declared": declared_of([*images, *texts]),
    }
    with progress_bar() as progress:
        image_sides = [
            prepare_images(s, size=config.cache_size, dicom=config.dicom, progress=progress, **common) for s in images
        ]
        text_sides = [prepare_sentences(s, progress=progress, **common) for s in texts]
    counts = []
    for made in (*image_sides, *text_sides):
        kind, table = ("images", made.images) if made.images is not None else ("sentences", made.occurrences)
        if table is not None:
            counts.append(split_table(made.name, kind, table, (made.manifest or {}).get("chosen", {})))
    logger.info("Splits\n%s", pd.concat(counts).to_string(index=False))
    return image_sides, text_sides


def tables(
    config: TrainConfig, images: list[Prepared], texts: list[Prepared], excluded: list[Source]
) -> tuple[list[Any], list[Any], list[Any]]:
    """Returns the image tables, the sentence tables and their occurrences that are to be trained on."""
    from medclip.data.prepare import patients_of
    from medclip.data.subsets import limit_images, limit_sentences, sentences_without_patients, without_patients

    image_tables = [side.images for side in images if side.images is not None]
    text_tables = [side.sentences for side in texts if side.sentences is not None]
    occurrences = [side.occurrences for side in texts if side.occurrences is not None]
    if excluded:
        patients = set().union(*map(patients_of, excluded))
        image_tables = without_patients(image_tables, patients)
        text_tables, occurrences = sentences_without_patients(text_tables, occurrences, patients)
    if config.limit:
        image_tables = limit_images(image_tables, limit=config.limit, seed=config.limit_seed)
        text_tables, occurrences = limit_sentences(text_tables, occurrences, limit=config.limit, seed=config.limit_seed)
    return image_tables, text_tables, occurrences


def patients(tables: list[Any]) -> set[str]:
    """Returns the patients whose images or reports were trained on."""
    return set().union(*(table.loc[table["split"] == "train", "patient_id"] for table in tables))


def warn_of_flips(flip: float, texts: list[Prepared]) -> None:
    """Warns where left and right are mixed up: sentences name sides, and images are flipped."""
    sided = max((side.manifest or {}).get("names_a_side", 0.0) for side in texts)
    if flip and sided:
        logger.warning(
            "%.0f %% of the sentences name a side, and images are flipped left to right with chance %.2f. Set "
            "augmentation flip to 0 unless a published recipe is to be repeated.", 100 * sided, flip,
        )  # fmt: skip
