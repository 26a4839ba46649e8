"""Trains and evaluates the points of a data-efficiency curve: what `medclip-curve` calls."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from labelers.errors import UserError
from medclip.evaluation.data_efficiency import Point, draw, statement, tidy, verdict
from medclip.evaluation.evaluators.supervised import Supervised
from medclip.evaluation.evaluators.zero_shot import ZeroShot
from medclip.evaluation.protocol import load_protocol, sources_of
from medclip.runs.curve_plan import Plan, chosen_trials, plan_curve
from medclip.runs.curve_search import Trial, save_score
from medclip.runs.settings import EvaluateConfig
from medclip.runs.train_data import find_train_sources
from medclip.runs.train_supervised import train_supervised
from medclip.utils.io import write_atomically
from medclip.utils.logs import quieten, start_logging
from medclip.utils.progress import Progress
from medclip.utils.text import names_in

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CurveResult:
    """What the points say together.

    Attributes:
        table: Arm, size, seed, metric and value of each point that is done.
        lines: Who is ahead where, and who needs how many samples.
        done: Number of points that are done.
    """

    table: pd.DataFrame
    lines: list[str]
    done: int


def run_curve(plan: Plan, *, progress: Progress | None = None) -> CurveResult:
    """Trains and evaluates the points that are not done yet, and sums up; writes curve.csv, curve.png, statement.txt.

    With a search, the trials come first, and search.csv says what they scored and which were chosen.

    Raises:
        UserError: A point was made with other settings, no point has the metrics asked for, or a single point is asked
            for before the search is done.
        FileNotFoundError: A source is not where it was looked for.
    """
    config = plan.config
    for settings in {p.arm: s for p, s in plan.points.items()}.values():
        find_train_sources(settings)
    plan = _searched(plan, progress)
    points = list(plan.points)
    wanted = points if config.point < 0 else [points[config.point]]
    todo = [point for point in wanted if not plan.is_done(point)]
    tasks = [(plan, point) for point in todo]
    for done, point in enumerate(_work(_train_point, tasks, config.workers), start=1):
        logger.info("%s is done", point.name)
        if progress is not None:
            progress("training points", done, len(todo))
    return _sum_up(plan)


def _searched(plan: Plan, progress: Progress | None) -> Plan:
    """Returns the plan with what its search chose; trials that are not done yet are trained first."""
    if not plan.trials:
        return plan
    done = plan.scores()
    todo = [trial for trial in plan.trials if trial not in done]
    if todo and plan.config.point >= 0:
        raise UserError(
            f"{len(todo)} of {len(plan.trials)} trials of the search are not done. Run the command without --point "
            "first; it can be stopped and run again."
        )
    tasks = [(plan, trial) for trial in todo]
    for count, trial in enumerate(_work(_train_trial, tasks, plan.config.workers), start=1):
        logger.info("%s, trial %d is done", trial.arm, trial.number)
        if progress is not None:
            progress("searching", count, len(todo))
    _write_search(plan)
    return plan_curve(plan.config)


def _write_search(plan: Plan) -> None:
    scores, chosen = plan.scores(), chosen_trials(plan)
    rows = [
        {"arm": trial.arm, "trial": trial.number, "choice": json.dumps(dict(trial.choice)), "valid": round(score, 6),
         "chosen": chosen[trial.arm] == trial}
        for trial, score in scores.items()
    ]  # fmt: skip
    file = Path(plan.config.output) / "search.csv"
    write_atomically(file, lambda part: pd.DataFrame(rows).to_csv(part, index=False))


def _work(train: Callable[[Any], T], tasks: list[Any], workers: int) -> Iterable[T]:
    """Yields what `train` returns as it is done: one after the other, or in processes of their own, each with a GPU."""
    if workers <= 1 or len(tasks) < 2:
        yield from map(train, tasks)
        return
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    context = get_context("spawn")
    slots = context.Queue()
    for slot in range(workers):
        slots.put(slot)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(slots,)) as pool:
        for future in as_completed([pool.submit(train, task) for task in tasks]):
            yield future.result()


def _start_worker(slots: Any) -> None:
    """Readies a process for training points; to be called before torch looks for GPUs."""
    start_logging()
    _take_gpu(slots)


def _take_gpu(slots: Any) -> None:
    """Gives this process one of the GPUs that the command may use."""
    slot = slots.get()
    visible = names_in(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    count = len(visible) or len(list(Path("/dev").glob("nvidia[0-9]*")))
    if count:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[slot % count] if visible else str(slot % count)


def _train_trial(task: tuple[Plan, Trial]) -> Trial:
    """Trains one trial and saves its best validation score."""
    from medclip.runs.train import train
    from medclip.training.health import Diverged
    from medclip.training.step_module import NotFinite

    quieten()
    plan, trial = task
    settings = plan.trials[trial]
    try:
        if trial.arm in plan.supervised:
            score = train_supervised(settings, split="valid", resamples=0).metrics[Supervised.primary].value
        else:
            score = train(settings, bar=False).metrics["best"].get(ZeroShot.primary)
    except (NotFinite, Diverged) as error:
        logger.warning("%s, trial %d counts as the worst: %s", trial.arm, trial.number, error)
        score = None
    save_score(Path(settings.output), settings, trial.choice, float("nan") if score is None else float(score))
    return trial


def _train_point(task: tuple[Plan, Point]) -> Point:
    """Trains and evaluates one point in its own folder."""
    from medclip.runs.evaluate import evaluate
    from medclip.runs.train import train

    quieten()
    plan, point = task
    config, settings = plan.config, plan.points[point]
    folder = Path(settings.output) / "evaluation"
    if point.arm in plan.supervised:
        found = train_supervised(settings, split=config.split, resamples=config.resamples, on=config.on)
        # A classifier has learned all that it answers.
        seen = {name.replace("/mean", "/seen"): value for name, value in found.numbers.items() if "auroc/mean" in name}
        text = json.dumps({"model": {"supervised": found.numbers | seen}}, indent=2)
        folder.mkdir(parents=True, exist_ok=True)
        settings.save(Path(settings.output) / "config.yaml")
        plan.save_how(point)
        write_atomically(folder / "metrics.json", lambda part: part.write_text(text))
        return point
    train(settings, bar=False)
    plan.save_how(point)
    evaluate(
        EvaluateConfig(
            model=settings.output, on=config.on or settings.images, evaluators=config.evaluators, split=config.split,
            texts="" if config.evaluators == "zero-shot" else settings.texts or settings.images,
            prompts=settings.prompts, resamples=config.resamples, prepared=settings.prepared, protocol=config.published,
            threads=settings.threads,
            output=str(folder), overwrite=True,
        )
    )  # fmt: skip
    return point


def published_points(plan: Plan) -> dict[str, list[tuple[str, float, float]]]:
    """Returns, by metric, the published numbers on these test sets that say how many samples they took."""
    config = plan.config
    found: dict[str, list[tuple[str, float, float]]] = {}
    if config.published:
        on = sources_of(config.on or next(iter(plan.points.values())).images)
        for entry in load_protocol(config.published).published:
            if entry.samples is not None and entry.test_set in on:
                found.setdefault(entry.metric, []).append((entry.model, entry.samples, entry.value))
        if not found:
            logger.warning("%s has no numbers with sample sizes on %s", config.published, ", ".join(on))
    return found


def _sum_up(plan: Plan) -> CurveResult:
    found, metrics = plan.found(), names_in(plan.config.metrics)
    table = tidy(found, metrics)
    if table.empty:
        raise UserError(
            f"No point has {', '.join(metrics)}. A point knows: {', '.join(next(iter(found.values()), {}))}."
        )
    output = Path(plan.config.output)
    write_atomically(output / "curve.csv", lambda part: table.round(6).to_csv(part, index=False))
    draw(table, metrics, published=published_points(plan)).savefig(output / "curve.png", dpi=120)
    # Mean AUROC tells whether an accuracy means anything.
    judged = tidy(found, list(dict.fromkeys([*metrics, "auroc/mean"])))
    lines = [line for metric in metrics for line in (*verdict(judged, metric), *statement(judged, metric))]
    write_atomically(output / "statement.txt", lambda part: part.write_text("\n".join(lines) + "\n"))
    return CurveResult(table, lines, len(found))
