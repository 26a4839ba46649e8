"""Evaluates a model: what `medclip-evaluate` calls, and a notebook."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from labelers.errors import UserError
from medclip.data.boxes import prepare_boxes
from medclip.data.cache_formats import open_cache
from medclip.data.labelling import Labelling
from medclip.data.overlap import FINGERPRINTS, is_of_files, shared_images, side_of, side_of_run
from medclip.data.preparation import Preparation
from medclip.data.prepared import Prepared, together
from medclip.data.severity import read_severity
from medclip.data.source import Source, may_share_images
from medclip.data.subsets import fingerprints
from medclip.data.tables import TEST_SET, observations_of
from medclip.data.test_sets import checksum
from medclip.data.transforms import augmentation_from
from medclip.evaluation.evaluators import EvaluationData, Evaluator, Result
from medclip.evaluation.films import draw_films
from medclip.evaluation.protocol import load_protocol, sources_of
from medclip.evaluation.report import Results
from medclip.inference.load import find_model, load_model
from medclip.models import MedCLIPModel, MedCLIPProcessor
from medclip.runs.evaluate_fits import calibrate, save_abstention
from medclip.runs.evaluate_output import check_same, names_of_test_sets, output_folder, usual_name
from medclip.runs.evaluate_shift import check_references, robustness
from medclip.runs.evaluate_unseen import unseen_observations
from medclip.runs.prepare import prepare_sources
from medclip.runs.search import fingerprint
from medclip.runs.settings import EvaluateConfig
from medclip.sources import find_sources
from medclip.utils.plugins import load_plugin, plugin_names
from medclip.utils.progress import Progress, counting
from medclip.utils.text import names_in, suggest

logger = logging.getLogger(__name__)

BASELINES = ("untrained", "supervised")


@dataclass(frozen=True)
class _Evaluation:
    """What an evaluation works with.

    Attributes:
        config: The settings, those of the protocol included.
        trained: The settings of the training run, where they are known.
        folder: The model folder.
        sources: Image sources to report on.
        texts: Text sources.
    """

    config: EvaluateConfig
    trained: dict[str, Any]
    folder: Path
    sources: list[Source]
    texts: list[Source]


def evaluate(
    config: EvaluateConfig, *, given: Collection[str] = (), progress: Progress | None = None
) -> tuple[Results, Path]:
    """Evaluates a model as configured; writes the results and returns them with their folder.

    Args:
        config: The settings.
        given: Settings that the user gave, which win over a protocol's.
        progress: Called with what is done.

    Raises:
        UserError: A setting is wrong, or the data cannot serve an evaluator.
        FileNotFoundError: The model or a source is not where it was looked for.

    Examples:
        >>> import medclip
        >>> settings = medclip.EvaluateConfig(model="runs/mine", on="phantom", resamples=0)
        >>> results, folder = medclip.evaluate(settings)
        >>> 0 < results.metrics()["auroc/mean"].value < 1
        True
        >>> (folder / "report.html").is_file()
        True
    """
    folder, trained = find_model(config.model)
    if not config.on:
        raise UserError(_ask_for_images(trained))
    config = replace(config, source_options=config.options_over(trained))
    protocol = load_protocol(config.protocol) if config.protocol else None
    config, departures = protocol.apply(config, EvaluateConfig(), given) if protocol else (config, [])
    if unknown := set(names_in(config.baselines)) - set(BASELINES):
        raise UserError(f"--baselines: found {', '.join(sorted(unknown))}; choose from {', '.join(BASELINES)}.")
    kinds = {name: load_plugin("evaluation.evaluators", name) for name in names_in(config.evaluators)}
    _tell_unused(given, {*kinds, *names_in(config.baselines)})
    check_references(config.references, folder=usual_name(config), several=len(names_of_test_sets(config.on)))
    output = output_folder(config, folder)
    root = config.data_root or trained.get("data_root")
    find = partial(find_sources, data_root=root, options=config.source_options)
    run = _Evaluation(config, trained, folder, find(config.on), find(config.texts) if config.texts else [])
    model, processor = load_model(folder, device=config.device, threads=config.threads)
    unlabelled = not any(kind.needs_labels for kind in kinds.values())
    prepared = _prepare(run, processor, progress, unlabelled=unlabelled)
    data, weights = _data(run, prepared, processor), fingerprint(folder)
    check_same(config, output, checksum=checksum(data.rows()["image_id"]), weights=weights)
    _check_names(data, config)
    if config.calibrate:
        calibrate(data, config, folder, model, processor)
    if config.save_abstention:
        save_abstention(data, config, folder, model, processor)
    shared = _images_trained_on(data, run, progress)

    def evaluated(
        data: EvaluationData, sides: list[Prepared], names: Sequence[str], built: Mapping[str, Evaluator],
        reasons: Mapping[str, str],
    ) -> Results:  # fmt: skip
        found, failed = _run(run, built, data, model, processor, progress)
        about, manifests = _about(data, run, shared) | {"weights": weights}, [one.manifest for one in sides]
        left_out = {**reasons, **failed}
        return Results(found, about, asdict(config), manifests, protocol, departures, names, left_out=left_out)

    built = {name: _build(kind, data, run, progress) for name, kind in kinds.items()}
    results = evaluated(data, prepared, sources_of(config.on), built, {})
    results = replace(results, robustness=robustness(results, config.references, folder=usual_name(config)))
    results.write(output)
    for name, part, side in _apart(run, data, prepared):
        logger.info("%s alone", name)
        try:
            results.apart[name] = evaluated(part, [side], [side.name], *_served_by(kinds, part, run, progress))
            results.apart[name].write(output / name)
        except UserError as error:
            logger.warning("%s is not reported apart: %s", name, error)
    if results.apart:
        results.write(output)  # again, with what stands side by side
    return results, output


def _apart(
    run: _Evaluation, data: EvaluationData, prepared: list[Prepared]
) -> Iterator[tuple[str, EvaluationData, Prepared]]:
    """Yields the images of each source with a name, where there are several."""
    sides = [side for side in prepared if side.images is not None]
    if len(sides) > 1:
        for name, side in zip(names_of_test_sets(run.config.on), sides, strict=True):
            assert side.images is not None
            yield name, replace(data, images=side.images.reset_index(drop=True)), side


def _served_by(
    kinds: Mapping[str, type[Evaluator]], data: EvaluationData, run: _Evaluation, progress: Progress | None
) -> tuple[dict[str, Evaluator], dict[str, str]]:
    """Returns the evaluators that one test set of several can serve, and why it cannot serve the others.

    Raises:
        UserError: It serves none.
    """
    found: dict[str, Evaluator] = {}
    reasons: dict[str, str] = {}
    for name, kind in kinds.items():
        try:
            found[name] = _build(kind, data, run, progress)
        except UserError as error:
            reasons[name] = str(error)
    if not found:
        raise UserError("; ".join(reasons.values()))
    return found, reasons


def _ask_for_images(trained: dict[str, Any]) -> str:
    hint = f" The images of the run: --on {trained['images']}." if trained.get("images") else ""
    return f"Which images? Name a source with --on NAME=PATH.{hint}"


def _prepare(
    run: _Evaluation, processor: MedCLIPProcessor, progress: Progress | None, *, unlabelled: bool
) -> list[Prepared]:
    config = run.config
    split_seed = config.split_seed if config.split_seed is not None else int(run.trained.get("split_seed", 0))
    how = Preparation(
        Path(config.prepared), processor.cache_size, split_seed, _labelling(run), dicom=processor.dicom,
        workers=config.workers, progress=progress, unlabelled=unlabelled,
    )  # fmt: skip
    return prepare_sources(run.sources, run.texts, how)


def _labelling(run: _Evaluation) -> Labelling:
    """Returns how the texts of the training run were labelled."""
    return Labelling(**{f.name: run.trained[f.name] for f in fields(Labelling) if f.name in run.trained})


def _data(run: _Evaluation, prepared: list[Prepared], processor: MedCLIPProcessor) -> EvaluationData:
    config = run.config
    sides = [side for side in prepared if side.images is not None]
    images = pd.concat([side.images for side in sides if side.images is not None], ignore_index=True)
    if len(sides) > 1:
        images[TEST_SET] = np.repeat(
            names_of_test_sets(config.on), [len(side.images) for side in sides if side.images is not None]
        )
    cache = open_cache(Path(config.prepared), processor.cache_size, dicom=processor.dicom)
    texts = [side for side in prepared if side.sentences is not None]
    sentences, occurrences = together(texts) if texts else (None, None)
    boxes = None
    if {"grounding", "detection"} & set(names_in(config.evaluators)):
        reported = images[images["split"] == config.split]
        kept = [table for source in run.sources if (table := prepare_boxes(source, reported)) is not None]
        boxes = pd.concat(kept, ignore_index=True) if kept else None
    severity = read_severity(Path(config.severity), config.severity_readers, images) if config.severity else None
    return EvaluationData(
        images, cache, split=config.split, sentences=sentences, occurrences=occurrences, boxes=boxes,
        blank=config.blank, labelling=_labelling(run), severity=severity,
    )  # fmt: skip


def _run(
    run: _Evaluation,
    built: Mapping[str, Evaluator],
    data: EvaluationData,
    model: MedCLIPModel,
    processor: MedCLIPProcessor,
    progress: Progress | None,
) -> tuple[dict[tuple[str, str], Any], dict[str, str]]:
    """Returns what evaluators found of the model and of the baselines, and why some of them found nothing.

    Raises:
        UserError: None found anything.
    """
    baselines = names_in(run.config.baselines)
    ceiling = load_plugin("evaluation.evaluators", "supervised")
    supervised = _build(ceiling, data, run, progress) if "supervised" in baselines else None
    found: dict[tuple[str, str], Any] = {}
    failed: dict[str, str] = {}
    for name, evaluator in built.items():
        try:
            found["model", name] = _with_films(evaluator(model, processor), name, run, data, model, processor)
        except UserError as error:  # what the others found, perhaps in hours, is kept
            failed[name] = str(error)
    if not found:
        raise UserError("; ".join(failed.values()))
    if "untrained" in baselines:
        fresh = _untrained(model, run.config.seed)
        found |= {("untrained", name): built[name](fresh, processor) for name in built if name not in failed}
    if supervised is not None:
        found["supervised", "zero-shot"] = supervised(model, processor)
    return found, failed


def _with_films(
    result: Result,
    name: str,
    run: _Evaluation,
    data: EvaluationData,
    model: MedCLIPModel,
    processor: MedCLIPProcessor,
) -> Result:
    """Returns a result with films, where they were asked for and there are some to show."""
    if not run.config.examples or result.answers is None:
        return result
    answers = result.answers()
    if answers.table.empty:
        return result
    drawn = draw_films(answers, run.config.examples, cache=data.cache, model=model, processor=processor)
    return replace(result, figures={**result.figures, f"{name.replace('-', '_')}_films": drawn})


def _build(kind: type[Evaluator], data: EvaluationData, run: _Evaluation, progress: Progress | None) -> Evaluator:
    """Returns an evaluator, built from the settings that it names."""
    settings = asdict(run.config) | {
        "augmentation": augmentation_from(run.trained.get("augmentation", {})),
        "progress": counting(progress, f"training: {kind.__name__}"),
        "prompts": "chexpert14,others" if run.config.prompts == "chexpert14" else run.config.prompts,
        "unseen": unseen_observations(data, run.config.unseen, run.folder),
    }
    parameters = [name for name in inspect.signature(kind).parameters if name != "data"]
    return kind(data, **{name: settings[kind.settings.get(name, name)] for name in parameters if name in settings
                         or name in kind.settings})  # type: ignore[call-arg]  # fmt: skip


def _tell_unused(given: Collection[str], chosen: Collection[str]) -> None:
    """Warns of settings that somebody gave and that only evaluators read which were not chosen."""
    readers: dict[str, set[str]] = {}
    for name in plugin_names("evaluation.evaluators") if given else ():
        kind = load_plugin("evaluation.evaluators", name)
        for parameter in inspect.signature(kind).parameters:
            readers.setdefault(kind.settings.get(parameter, parameter), set()).add(name)
    for option in sorted(set(given) & set(readers)):
        if not readers[option] & set(chosen):
            logger.warning(
                "--%s changes nothing: only %s reads it, and is not among --evaluators",
                option.replace("_", "-"), " or ".join(sorted(readers[option])),
            )  # fmt: skip


def _check_names(data: EvaluationData, config: EvaluateConfig) -> None:
    """Checks that the images know every observation and class that is asked for.

    Raises:
        UserError: One is unknown; the message names the nearest.
    """
    known = observations_of(data.images)
    for name in (*config.observations, *config.classes):
        if name not in known:
            raise UserError(f"These images know no {name!r}.{suggest(name, known)} They know {', '.join(known)}.")
    if config.unseen and not set(config.unseen) & set(known):
        raise UserError(
            f"--unseen{f', of --protocol {config.protocol}' if config.protocol else ''}: these images know none of "
            f"{', '.join(config.unseen)}.{suggest(config.unseen[0], known)} They "
            f"know {', '.join(known)}."
        )


def _about(data: EvaluationData, run: _Evaluation, shared: set[str] | None) -> dict[str, Any]:
    rows = data.rows()
    return {
        "split": data.split,
        "images": len(rows),
        "patients": rows["patient_id"].nunique(),
        "patients_trained_on": _trained_on(data, run, compared=shared is not None),
        "images_trained_on": None if shared is None else int(rows["image_id"].isin(shared).sum()),
        "checksum": checksum(rows["image_id"]),
    }


def _images_trained_on(data: EvaluationData, run: _Evaluation, progress: Progress | None) -> set[str] | None:
    """Returns the images of the split that the model was trained on, by content; None where that cannot be told."""
    saved, rows = run.folder.parent / FINGERPRINTS, data.rows()
    if not saved.is_file() or not is_of_files(rows):
        return None
    ours = side_of("test images", rows, data.cache, progress)
    theirs = side_of_run(run.folder.parent.name, saved, data.cache)
    shared = {str(ours.fingerprints.ids[match.second]) for match in shared_images(theirs, ours, progress)}
    if shared:
        logger.warning(
            "%d of the %d images were trained on, perhaps under other ids, so these numbers flatter the model. See "
            "which: medclip-audit %s --on %s --output shared.csv",
            len(shared), len(rows), run.config.model, run.config.on,
        )  # fmt: skip
    return shared


def _trained_on(data: EvaluationData, run: _Evaluation, *, compared: bool) -> int | None:
    """Returns how many patients of the split the model was trained on by id; warns of any.

    None where that cannot be told: the run left no ids, or its images may be these under other ids and were not
    `compared` by content.
    """
    path = run.folder.parent / "patients.txt"
    if not path.is_file():
        return None
    mine = fingerprints(data.rows()["patient_id"])
    known = len(mine & set(path.read_text().split()))
    if known:
        logger.warning(
            "%d of the %d patients were trained on, so these numbers flatter the model. Train it with --exclude.",
            known, len(mine),
        )  # fmt: skip
    trained = [load_plugin("sources", name) for name in sources_of(run.trained.get("images", ""))]
    related = {kind.name for kind in trained for source in run.sources if may_share_images(kind, source)}
    if related and not compared:
        logger.warning(
            "The model was trained on %s, which may hold these very images under other ids: %d of the %d patients are "
            "known by id to have been trained on, and there may be more.", ", ".join(sorted(related)), known, len(mine),
        )  # fmt: skip
    return None if related and not known and not compared else known


def _untrained(model: MedCLIPModel, seed: int) -> MedCLIPModel:
    torch.manual_seed(seed)
    return MedCLIPModel(model.config).to(model.device).eval()
