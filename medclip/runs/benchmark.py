"""Every published protocol whose test sets are on disk, and one table of ours beside the published numbers."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from labelers.errors import UserError
from medclip.evaluation.html import Page
from medclip.evaluation.protocol import Protocol, load_protocol, protocol_names
from medclip.inference.load import find_model
from medclip.runs.search import fingerprint
from medclip.runs.settings import BenchmarkConfig, EvaluateConfig
from medclip.sources import find_sources
from medclip.utils.io import write_atomically
from medclip.utils.plugins import load_plugin
from medclip.utils.progress import Progress
from medclip.utils.text import first_line, names_in

logger = logging.getLogger(__name__)

_HOW = "benchmark.json"  # beside the results of a protocol: what they were made with


@dataclass(frozen=True)
class Task:
    """One protocol on one test set.

    Attributes:
        protocol: The protocol.
        test_set: NAME or NAME=PATH.
        missing: Why it cannot be done; empty if it can.
    """

    protocol: Protocol
    test_set: str
    missing: str = ""

    @property
    def name(self) -> str:
        """Name of the source."""
        return self.test_set.partition("=")[0]


@dataclass(frozen=True)
class BenchmarkResult:
    """What was found.

    Attributes:
        table: Rows of protocol, test set, images, metric, ours with its interval, the published ones, and what of the
            test set the model was trained on.
        left_out: Why others were not looked at, by protocol and test set.
        output: Folder of the results.
    """

    table: pd.DataFrame
    left_out: Mapping[str, str]
    output: Path


def plan_benchmark(config: BenchmarkConfig) -> list[Task]:
    """Returns every protocol on every test set of its published numbers, with what is missing.

    Raises:
        UserError: A protocol or a source is unknown, or a named test set belongs to no protocol.
        FileNotFoundError: A named test set is not there.
    """
    protocols = [load_protocol(name) for name in names_in(config.protocols) or protocol_names()]
    named = {spec.partition("=")[0].strip(): spec.strip() for spec in names_in(config.test_sets)}
    tasks = []
    for protocol in protocols:
        for name in dict.fromkeys(entry.test_set for entry in protocol.published):
            if not named:
                tasks.append(Task(protocol, name, _missing(name, config)))
            elif name in named:
                find_sources(named[name], data_root=config.data_root, options=config.source_options)
                tasks.append(Task(protocol, named[name]))
    unknown = set(named) - {task.name for task in tasks}
    if unknown:
        known = sorted({entry.test_set for protocol in protocols for entry in protocol.published})
        raise UserError(
            f"--test-sets: no protocol has published numbers on {', '.join(sorted(unknown))}; they have some on "
            f"{', '.join(known)}."
        )
    return tasks


def run_benchmark(config: BenchmarkConfig, *, progress: Progress | None = None) -> BenchmarkResult:
    """Evaluates a model by each protocol whose data are there; writes benchmark.csv and benchmark.html.

    What is done is not done again. A test set that fails is told, and the others go on.

    Raises:
        UserError: No test set is there, or none could be evaluated.
        FileNotFoundError: There is no model.
    """
    from medclip.runs.evaluate import evaluate

    folder, trained = find_model(config.model)
    tasks = plan_benchmark(config)
    left_out = {f"{task.protocol.name} on {task.name}": task.missing for task in tasks if task.missing}
    todo = [task for task in tasks if not task.missing]
    if not todo:
        raise UserError(
            f"None of the test sets is there: {', '.join(sorted({task.name for task in tasks}))}. Name the folder that "
            "holds them with --data-root, or one with --test-sets NAME=PATH."
        )
    home = folder.parent if (folder.parent / "config.yaml").is_file() else folder
    output, weights = Path(config.output) if config.output else home / "benchmark", fingerprint(folder)
    rows: list[dict[str, Any]] = []
    for done, task in enumerate(todo):
        if progress is not None:
            progress("protocols", done, len(todo))
        settings = _settings(config, trained, task, output)
        saved, what = Path(settings.output) / "metrics.json", f"{task.protocol.name} on {task.name}"
        try:
            if config.overwrite or not _is_done(settings, weights):
                evaluate(settings, given={"prompts"} if config.prompts else set(), progress=progress)
                _save_how(settings, weights)
        except (UserError, OSError) as error:
            logger.warning("%s is left out: %s", what, first_line(error))
            left_out[what] = first_line(error)
            continue
        found, absent = _rows(task, json.loads(saved.read_text()))
        rows += found
        if absent:
            left_out[what] = f"no value of ours for {', '.join(absent)}"
    if not rows:
        raise UserError(f"No test set could be evaluated: {'; '.join(f'{k}: {v}' for k, v in left_out.items())}")
    numbers = ["ours", "low", "high", "patients trained on", "images trained on"]
    table = pd.DataFrame(rows).astype(dict.fromkeys(numbers, float))
    _write(output, table, left_out, todo)
    return BenchmarkResult(table, left_out, output)


def _missing(name: str, config: BenchmarkConfig) -> str:
    """Returns why the test set called `name` cannot be found; empty if it can."""
    load_plugin("sources", name)
    try:
        find_sources(name, data_root=config.data_root, options=config.source_options)
    except FileNotFoundError:
        return f"not below {config.data_root or '$MEDCLIP_DATA'}"
    return ""


def _settings(config: BenchmarkConfig, trained: Mapping[str, Any], task: Task, output: Path) -> EvaluateConfig:
    metrics = {entry.metric for entry in task.protocol.published if entry.test_set == task.name}
    retrieval = any(metric.startswith(("precision@", "recall@")) for metric in metrics)
    texts = trained.get("texts") or ""
    return EvaluateConfig(
        model=config.model, on=task.test_set, protocol=task.protocol.name, data_root=config.data_root,
        evaluators="zero-shot,retrieval" if retrieval and texts else "zero-shot",
        texts=texts if retrieval else "", source_options=config.source_options, prepared=config.prepared,
        workers=config.workers, threads=config.threads,
        resamples=config.resamples, device=config.device, overwrite=config.overwrite,
        output=str(output / f"{task.protocol.name}-{task.name}"),
        prompts=config.prompts or EvaluateConfig.prompts,
    )  # fmt: skip


def _is_done(settings: EvaluateConfig, weights: str) -> bool:
    """Tells whether the results of these settings and these weights are there.

    Raises:
        UserError: Others are.
    """
    how = Path(settings.output) / _HOW
    if not how.is_file():
        return False
    before, now = json.loads(how.read_text()), _how(settings, weights)
    if changed := sorted(name for name in now if before.get(name) != now[name]):
        raise UserError(
            f"{settings.output} holds results with other {', '.join(changed)}. Choose another --output, or --overwrite."
        )
    return True


def _save_how(settings: EvaluateConfig, weights: str) -> None:
    text = json.dumps(_how(settings, weights))
    write_atomically(Path(settings.output) / _HOW, lambda part: part.write_text(text))


def _how(settings: EvaluateConfig, weights: str) -> dict[str, Any]:
    names = ("on", "prompts", "resamples", "source_options", "evaluators", "texts")
    return {name: getattr(settings, name) for name in names} | {"weights": weights}


def _rows(task: Task, saved: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns a row for each metric of the protocol on its test set, and the metrics that there is no value of."""
    ours = {name: value for part in saved["model"].values() for name, value in part.items()}
    rows, absent = [], []
    metrics = dict.fromkeys(entry.metric for entry in task.protocol.published if entry.test_set == task.name)
    for metric in metrics:
        if ours.get(metric) is None:
            absent.append(metric)
            continue
        others = sorted(
            (e for e in task.protocol.published if e.test_set == task.name and e.metric == metric),
            key=lambda entry: -entry.value,
        )
        low, high = ours.get(f"{metric}/low"), ours.get(f"{metric}/high")
        rows.append(
            {
                "protocol": task.protocol.name, "test set": task.name, "images": saved["images"], "metric": metric,
                "ours": ours[metric], "low": low, "high": high,
                "published": "; ".join(f"{entry.model} {entry.value:.3f}" for entry in others),
                "patients trained on": saved["patients_trained_on"],
                "images trained on": saved["images_trained_on"],
            }
        )  # fmt: skip
    return rows, absent


def _write(output: Path, table: pd.DataFrame, left_out: Mapping[str, str], done: Sequence[Task]) -> None:
    write_atomically(output / "benchmark.csv", lambda part: table.to_csv(part, index=False))
    page = Page("Published protocols", "Ours beside what was published on test sets of the same name.")
    page.section("Numbers", (
        "Intervals are 95 % over patients. Published numbers are quoted as their protocols say. Where patients or "
        "images of a test set were trained on, ours flatter the model; a dash means that it cannot be told."
    ))  # fmt: skip
    shown = table.rename(columns={"low": "ours_low", "high": "ours_high"})
    page.table(shown)
    for protocol in {task.protocol.name: task.protocol for task in done}.values():
        page.section(protocol.name, protocol.about)
        for difference in protocol.differences:
            page.text(difference)
        page.text(f"Published numbers are {protocol.quoted}.")
    if left_out:
        page.section("Left out")
        for name, why in left_out.items():
            page.text(f"{name}: {why}")
    write_atomically(output / "benchmark.html", lambda part: part.write_text(page.render(), encoding="utf-8"))
