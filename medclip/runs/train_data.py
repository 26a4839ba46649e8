"""What a training run trains on: its sources prepared, limited, and without the patients to leave out."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
from filelock import FileLock

from labelers.errors import UserError
from labelers.hub import check_on_disk
from medclip.data.cache import ImageCache
from medclip.data.cache_formats import open_cache
from medclip.data.overlap import is_of_files, shared_images, side_of
from medclip.data.preparation import Preparation
from medclip.data.prepare_images import prepare_images
from medclip.data.prepared import Prepared, patients_of, split_tables
from medclip.data.rewritten import with_reworded, with_turned_round
from medclip.data.source import Source
from medclip.data.subsets import limit_images, limit_sentences, sentences_without_patients, without_patients
from medclip.data.tables import observations_of
from medclip.runs.prepare import labelling_of, prepare_sources
from medclip.runs.settings import TrainConfig
from medclip.sources import find_sources
from medclip.utils.extras import install
from medclip.utils.parallel import is_first_process, started_by_launcher
from medclip.utils.plugins import load_plugin, plugin_names
from medclip.utils.progress import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainSources:
    """The sources of a training run, found on disk.

    Attributes:
        images: Image sources.
        texts: Text sources.
        excluded: Image sources whose patients are left out.
    """

    images: list[Source]
    texts: list[Source]
    excluded: list[Source]


@dataclass(frozen=True)
class TrainTables:
    """The prepared tables of a training run.

    Attributes:
        images: Image tables, one for each source.
        sentences: Sentence tables, one for each source.
        occurrences: Which study says which sentence, one for each source.
        reports: Whole reports, one table for each source, where they are asked for.
        manifests: How each source was prepared.
    """

    images: list[pd.DataFrame]
    sentences: list[pd.DataFrame]
    occurrences: list[pd.DataFrame]
    reports: list[pd.DataFrame]
    manifests: list[dict[str, object]]

    def patients(self) -> set[str]:
        """Returns the patients whose images or reports are trained on."""
        tables = [*self.images, *self.occurrences]
        return set().union(*(table.loc[table["split"] == "train", "patient_id"] for table in tables))

    def observations(self, config: TrainConfig) -> list[str]:
        """Returns the observations to learn: those asked for, or all that texts are labelled for."""
        if config.observations:
            return list(config.observations)
        return list(dict.fromkeys(name for table in self.sentences for name in observations_of(table)))

    def names_a_side(self) -> float:
        """Returns the largest share of sentences, over the sources, that say left or right."""
        return max((float(str(m.get("names_a_side", 0.0))) for m in self.manifests), default=0.0)


def find_train_sources(config: TrainConfig) -> TrainSources:
    """Returns the sources that `config` names, found on disk and checked against the objective.

    Raises:
        UserError: No image source is named, a name is unknown, or the objective needs pairs that these cannot have.
        FileNotFoundError: A source is not where it was looked for.
        OSError: A tower is neither on disk nor to be had.
    """
    if not config.images:
        raise UserError(
            "Which images? Name a source with --images NAME=PATH, such as --images csv=hospital.csv; for synthetic "
            "images and reports: --images phantom."
        )

    def find(names: str) -> list[Source]:
        return find_sources(names, data_root=config.data_root, options=config.source_options) if names else []

    images = find(config.images)
    texts = find(config.texts) if config.texts else [source for source in images if source.gives("texts")]
    if not texts:
        raise UserError(f"Which texts? {config.images} has none of its own. Name a source with --texts NAME=PATH.")
    check_vision(config.vision, config.vision_weights)
    if config.text not in ("small", "tiny"):
        check_on_disk("text encoder", config.text)  # in seconds, before torch is imported
    _check_pairs(config, images, texts)
    return TrainSources(images, texts, find(config.exclude))


def check_vision(name: str, weights: str) -> None:
    """Checks, before torch is imported, that an image tower can be had.

    Raises:
        FileNotFoundError: There is no such file of weights.
        ImportError: Its library is not installed.
        OSError: It is neither on disk nor to be had.
    """
    if weights and not Path(weights).exists():
        raise FileNotFoundError(f"--vision-weights {weights}: there is no such file.")
    if name.startswith("timm:") and find_spec("timm") is None:
        raise ImportError(f"--vision {name} needs an extra package: {install('timm')}")
    if name not in ("small", "tiny", "small-vit") and not name.startswith(("torchvision:", "timm:")):
        check_on_disk("vision backbone", name)


def _check_pairs(config: TrainConfig, images: list[Source], texts: list[Source]) -> None:
    for option in ("pair_weight", "pair_loss"):
        if config.objective_options.get(option) and not config.pairs:
            raise UserError(
                f"{option} has no effect without pairs in the batches. Say what share of the texts are to be partners "
                "of images, such as --pairs 0.5."
            )
    if config.objective_options.get("pair_loss") and config.own_rows:
        raise UserError("--own-rows averages over each process's pairs, of which pair_loss may have unequal numbers.")
    if config.objective_options.get("pair_loss") and config.pairs >= 1:
        raise UserError("With --pairs 1 pair_loss leaves no text for semantic matching. Choose a share below 1.")
    if not load_plugin("objectives", config.objective).needs_pairs and not config.pairs:
        return
    if config.pair_by == "labels" or config.pair_text == "prompts":
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
    given = " and ".join(dict.fromkeys(source.name for source in (*images, *texts)))
    raise UserError(
        f"{config.objective} needs images and reports of the same studies; {given} share none. These do:\n"
        + "\n".join(able) + "\nOr train without pairs: --objective semantic-matching."
    )  # fmt: skip


def prepare_train_data(config: TrainConfig, sources: TrainSources, *, progress: Progress | None = None) -> TrainTables:
    """Returns the tables to train on; whatever is not yet prepared is prepared first.

    With several processes one prepares while the others wait, and then find everything prepared.
    """
    if not config.texts and is_first_process():
        logger.info("--texts is not given: the texts of %s", ", ".join(source.name for source in sources.texts))
    how = preparation_of(config, progress)
    with in_turn(how.folder):
        made = prepare_sources(sources.images, sources.texts, how)
    if is_first_process():
        log_splits(made)
    return _tables(config, made, sources)


def preparation_of(config: TrainConfig, progress: Progress | None = None) -> Preparation:
    """Returns how the sources of a run are prepared."""
    return Preparation(
        folder=Path(config.prepared), size=config.cache_size, split_seed=config.split_seed, workers=config.workers,
        dicom=config.dicom, progress=progress, labelling=labelling_of(config), cache_url=config.cache_url,
    )  # fmt: skip


def cache_of(how: Preparation) -> ImageCache:
    """Returns the image cache of a preparation."""
    return open_cache(how.folder, how.size, dicom=how.dicom, url=how.cache_url)


def in_turn(folder: Path) -> AbstractContextManager[object]:
    """Returns a lock that processes of one run take in turn; alone there is none to wait for."""
    if not started_by_launcher():
        return nullcontext()
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".prepare.lock")


def log_splits(made: list[Prepared]) -> None:
    """Logs how many patients and rows are in each split."""
    logger.info("Splits\n%s", split_tables(made).to_string(index=False))


def _tables(config: TrainConfig, made: list[Prepared], sources: TrainSources) -> TrainTables:
    images = [one.images for one in made if one.images is not None]
    sentences = [one.sentences for one in made if one.sentences is not None]
    occurrences = [one.occurrences for one in made if one.occurrences is not None]
    for source in sources.excluded:
        patients = left_out(source, preparation_of(config), sources.images, images, occurrences)
        images = without_patients(images, patients)
        sentences, occurrences = sentences_without_patients(sentences, occurrences, patients)
    if config.limit:
        images = limit_images(images, limit=config.limit, seed=config.limit_seed)
        sentences, occurrences = limit_sentences(sentences, occurrences, limit=config.limit, seed=config.limit_seed)
    _check_attributes(config, images)
    for share, rewritten in ((config.rewordings, with_reworded), (config.flips, with_turned_round)):
        if share:
            sentences = [rewritten(t, labelling_of(config), share=share, seed=config.seed) for t in sentences]
    whole = config.pair_text == "report" or config.pair_by == "labels"
    reports = [one.reports() for one in made if one.sentences is not None] if whole else []
    return TrainTables(images, sentences, occurrences, reports, [one.manifest or {} for one in made])


def _check_attributes(config: TrainConfig, images: list[pd.DataFrame]) -> None:
    """Refuses attributes of texts that no image could match.

    Raises:
        UserError: No training image has a state of any of them.
    """
    if not config.attributes:
        return
    columns = list(labelling_of(config).cutter().attributes)
    train = [table[table["split"] == "train"].reindex(columns=columns) for table in images]
    if not any(table.notna().to_numpy().any() for table in train):
        raise UserError(
            f"--attributes {config.attributes}: no training image has a label such as {columns[0]!r}, so what texts "
            "say of it would match nothing. Images have them where their own reports are their only labels, or where a "
            "table has such columns."
        )


def _patients_in(tables: list[pd.DataFrame]) -> set[str]:
    return set().union(*(table["patient_id"] for table in tables))


def left_out(
    source: Source,
    how: Preparation,
    sources: list[Source],
    images: list[pd.DataFrame],
    occurrences: list[pd.DataFrame],
) -> set[str]:
    """Returns the patients of `source`, and those of `sources` of whom an image is one of its own; says how many."""
    patients = patients_of(source) | _patients_with_images_of(source, how, sources, images)
    _report_exclusion(source, _patients_in([*images, *occurrences]) & patients)
    return patients


def _patients_with_images_of(
    source: Source, how: Preparation, sources: list[Source], tables: list[pd.DataFrame]
) -> set[str]:
    """Returns the patients of whom an image is one of `source` under another id, where that can be."""
    related = [table for one, table in zip(sources, tables, strict=True) if one.may_hold_images_of(source)]
    related = [table for table in related if is_of_files(table)]
    if not related:
        return set()
    logger.info("--exclude %s: comparing images, which may have other ids in the training data", source.name)
    excluded = prepare_images(source, how).images
    assert excluded is not None
    cache = cache_of(how)
    ours = side_of("training images", pd.concat(related, ignore_index=True), cache)
    found = shared_images(ours, side_of(source.name, excluded, cache))
    logger.info("--exclude %s: %d training images are among its own by content", source.name, len(found))
    return {str(ours.fingerprints.patients[match.first]) for match in found}


def _report_exclusion(source: Source, shared: set[str]) -> None:
    """Says how many patients are left out, and warns where none are."""
    if shared:
        logger.info("--exclude %s leaves out %d patients", source.name, len(shared))
        return
    logger.warning(
        "--exclude %s left out nothing: none of its patients, nor of its images where they could be the same, occurs "
        "in the training data.", source.name,
    )  # fmt: skip
