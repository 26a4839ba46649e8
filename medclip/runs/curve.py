"""Trains and evaluates the points of a data-efficiency curve: what `medclip-curve` calls."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from labelers.errors import UserError
from medclip.evaluation.data_efficiency import Point, draw, points_of, statement, tidy, verdict
from medclip.evaluation.protocol import load_protocol, sources_of
from medclip.runs.settings import CurveConfig, EvaluateConfig, TrainConfig
from medclip.runs.train_data import find_train_sources
from medclip.utils.io import write_atomically
from medclip.utils.plugins import load_plugin
from medclip.utils.progress import Progress
from medclip.utils.text import names_in

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """The points of a curve with the settings of each, in the order of their numbers.

    Attributes:
        config: Settings of the curve.
        points: Training settings by point.
    """

    config: CurveConfig
    points: Mapping[Point, TrainConfig]

    def folder(self, point: Point) -> Path:
        """Returns the folder of a point."""
        return Path(self.config.output) / "points" / point.name

    def is_done(self, point: Point) -> bool:
        """Tells whether a point is there, as these settings make it.

        Raises:
            UserError: It was made with others.
        """
        folder = self.folder(point)
        if not (folder / "evaluation" / "metrics.json").is_file():
            return False
        saved = folder / "config.yaml"
        before = yaml.safe_load(saved.read_text(encoding="utf-8")) if saved.is_file() else {}
        wanted = vars(self.points[point])
        if changed := sorted(name for name in wanted if before.get(name) != wanted[name]):
            raise UserError(
                f"{folder} was made with other settings ({', '.join(changed)}). Choose another --output, or delete it."
            )
        return True

    def found(self) -> dict[Point, dict[str, Any]]:
        """Returns the metrics of each point that is done."""
        found = {}
        for point in self.points:
            if self.is_done(point):
                saved = json.loads((self.folder(point) / "evaluation" / "metrics.json").read_text())
                found[point] = {name: value for part in saved["model"].values() for name, value in part.items()}
        return found


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


def plan_curve(config: CurveConfig) -> Plan:
    """Returns the points of a curve.

    Raises:
        UserError: A setting is wrong.
    """
    recipe, sizes = _recipe(config), [_number(size) for size in config.sizes.split(",")]
    arms = _arms(config)
    points = points_of(list(arms), sizes, config.seeds)
    if not -1 <= config.point < len(points):
        raise UserError(f"--point {config.point}: there are points 0 to {len(points) - 1}; see --list.")
    return Plan(config, {p: _settings(config, recipe | arms[p.arm], p, max(sizes)) for p in points})


def run_curve(plan: Plan, *, progress: Progress | None = None) -> CurveResult:
    """Trains and evaluates the points that are not done yet, and sums up; writes curve.csv, curve.png, statement.txt.

    Raises:
        UserError: A point was made with other settings, or no point has the metrics asked for.
        FileNotFoundError: A source is not where it was looked for.
    """
    config, points = plan.config, list(plan.points)
    for settings in {p.arm: s for p, s in plan.points.items()}.values():
        find_train_sources(settings)
    wanted = points if config.point < 0 else [points[config.point]]
    todo = [point for point in wanted if not plan.is_done(point)]
    for done, point in enumerate(_work(plan, todo), start=1):
        logger.info("%s is done", point.name)
        if progress is not None:
            progress("training points", done, len(todo))
    return _sum_up(plan)


def _arms(config: CurveConfig) -> dict[str, dict[str, Any]]:
    """Returns the settings of each arm."""
    if config.arms:
        return {name: settings or {} for name, settings in config.arms.items()}
    names = names_in(config.objectives)
    for name in names:
        load_plugin("objectives", name)
    return {name.replace("_", "-"): {"objective": name} for name in names}


def _number(text: str) -> int:
    if not text.strip().isdigit() or not int(text):
        raise UserError(f"--sizes: {text.strip()!r} is no number of samples. Write for instance 500,1000,2000.")
    return int(text)


def _settings(config: CurveConfig, settings: dict[str, Any], point: Point, largest: int) -> TrainConfig:
    """Returns the training settings of a point.

    Raises:
        UserError: A setting is unknown, or equal steps were asked for and there are none to be equal.
    """
    made = TrainConfig.from_mapping(settings, origin=f"Arm {point.arm!r}")
    output = Path(config.output) / "points" / point.name
    made = replace(made, limit=point.size, limit_seed=point.seed, seed=point.seed, output=str(output))
    if config.budget == "steps" and not made.steps:
        raise UserError(
            f"--budget steps gives every size equally many steps, and {point.arm!r} has none. Write steps into the "
            "recipe, or take --budget epochs."
        )
    if config.budget == "epochs" and made.steps:
        # The recipe's steps are those of the largest size.
        made = replace(made, steps=max(1, round(made.steps * point.size / largest)))
    return made


def _recipe(config: CurveConfig) -> dict[str, Any]:
    settings = yaml.safe_load(Path(config.recipe).read_text(encoding="utf-8")) if config.recipe else {}
    given = {"images": config.images, "texts": config.texts, "data_root": config.data_root}
    return settings | {name: value for name, value in given.items() if value}


def _work(plan: Plan, todo: list[Point]) -> Iterable[Point]:
    """Yields points as they are done: one after the other, or in processes of their own, each with a GPU."""
    tasks = [(plan, point) for point in todo]
    if plan.config.workers <= 1 or len(tasks) < 2:
        yield from map(_train_point, tasks)
        return
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    context = get_context("spawn")
    slots = context.Queue()
    for slot in range(plan.config.workers):
        slots.put(slot)
    with ProcessPoolExecutor(plan.config.workers, mp_context=context, initializer=_take_gpu, initargs=(slots,)) as pool:
        for future in as_completed([pool.submit(_train_point, task) for task in tasks]):
            yield future.result()


def _take_gpu(slots: Any) -> None:
    """Gives this process one of the GPUs that the command may use; to be called before torch looks for them."""
    slot = slots.get()
    visible = names_in(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    count = len(visible) or len(list(Path("/dev").glob("nvidia[0-9]*")))
    if count:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[slot % count] if visible else str(slot % count)


def _train_point(task: tuple[Plan, Point]) -> Point:
    """Trains and evaluates one point in its own folder."""
    from medclip.runs.evaluate import evaluate
    from medclip.runs.train import train

    plan, point = task
    config, settings = plan.config, plan.points[point]
    train(settings, bar=False)
    evaluate(
        EvaluateConfig(
            model=settings.output, on=config.on or settings.images, evaluators=config.evaluators,
            texts="" if config.evaluators == "zero-shot" else settings.texts or settings.images,
            resamples=config.resamples, prepared=settings.prepared, protocol=config.published,
            output=str(Path(settings.output) / "evaluation"), overwrite=True,
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
    lines = [line for metric in metrics for line in (*verdict(table, metric), *statement(table, metric))]
    write_atomically(output / "statement.txt", lambda part: part.write_text("\n".join(lines) + "\n"))
    return CurveResult(table, lines, len(found))
