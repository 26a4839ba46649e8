"""medclip-curve: the same training at several sizes, by several objectives, several times: who needs how much data."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from medclip.cli.console import command, print_table, progress_bar
from medclip.cli.training_data import check_pairs
from medclip.config import read_config
from medclip.evaluation.data_efficiency import Point, draw, points_of, statement, summary, tidy, verdict
from medclip.evaluation.protocol import load_protocol, sources_of
from medclip.settings import CurveConfig, TrainConfig
from medclip.sources import find_sources
from medclip.utils.plugins import load_plugin
from medclip.utils.text import suggest

logger = logging.getLogger(__name__)

_EXAMPLES = """\
examples:
  medclip-curve --recipe benchmarks/phantom-64.yaml --sizes 500,1000,2000 --objectives semantic-matching,clip
  medclip-curve --recipe configs/medclip-swin.yaml --images mimic-cxr --texts mimic-reports --workers 4
  medclip-curve --config benchmarks/curve.yaml --list
  medclip-curve --config benchmarks/curve.yaml --point $SLURM_ARRAY_TASK_ID

  medclip-curve --recipe configs/medclip-swin.yaml --on chexpert-5x200 --metrics draws/accuracy --published medclip-2022

Every smaller size is a part of the larger ones, by patient. A point that is done is not done again; a killed one
goes on where it was. What is there is summed up each time: curve.csv, curve.png and, on screen, who needs how many
samples."""


def run(argv: list[str]) -> int:
    """Trains and evaluates what is not there yet, and sums up."""
    config = read_config(
        CurveConfig, argv, prog="medclip-curve", description="Draw the data-efficiency curve.", examples=_EXAMPLES
    )
    arms = _arms(config)
    sizes = [_number(size) for size in config.sizes.split(",")]
    points = points_of(list(arms), sizes, config.seeds)
    if config.budget not in ("steps", "epochs"):
        raise ValueError(f"--budget {config.budget}: write steps or epochs.")
    made = {point: _settings(config, arms[point.arm], point, max(sizes)) for point in points}
    if config.list:
        _list(config, points, made)
        return 0
    if not -1 <= config.point < len(points):
        raise ValueError(f"--point {config.point}: there are points 0 to {len(points) - 1}; see --list.")
    _check_sources(config, arms)
    todo = points if config.point < 0 else [points[config.point]]
    tasks = [(config, made[point], point) for point in todo if not _is_done(config, point, made[point])]
    with progress_bar() as progress:
        for done, point in enumerate(_work(tasks, config.workers), start=1):
            logger.info("%s is done", point.name)
            progress("training points", done, len(tasks))
    _sum_up(config, points, made)
    return 0


def _arms(config: CurveConfig) -> dict[str, dict[str, Any]]:
    """Returns the settings of each arm."""
    if not config.arms:
        names = [name.strip() for name in config.objectives.split(",") if name.strip()]
        for name in names:
            load_plugin("objectives", name)
        return {name.replace("_", "-"): {"objective": name} for name in names}
    known = [field.name for field in fields(TrainConfig)]
    for name, settings in config.arms.items():
        for key in settings or {}:
            if key not in known:
                raise ValueError(f"Arm {name!r}: medclip-train has no setting {key!r}.{suggest(key, known)}")
    return {name: settings or {} for name, settings in config.arms.items()}


def _check_sources(config: CurveConfig, arms: Mapping[str, dict[str, Any]]) -> None:
    """Stops before the first point where an arm's data is not there, or cannot serve its objective."""
    for arm in arms.values():
        settings = TrainConfig(**(_recipe(config) | arm))
        find = partial(find_sources, data_root=settings.data_root, options=settings.source_options)
        check_pairs(settings, find(settings.images), find(settings.texts))


def _number(text: str) -> int:
    if not text.strip().isdigit() or not int(text):
        raise ValueError(f"--sizes: {text.strip()!r} is no number of samples. Write for instance 500,1000,2000.")
    return int(text)


def _settings(config: CurveConfig, arm: Mapping[str, Any], point: Point, largest: int) -> dict[str, Any]:
    """Returns the settings of medclip-train for a point.

    Raises:
        ValueError: equal steps were asked for, and there are none to be equal.
    """
    settings = _recipe(config) | dict(arm)
    settings |= {"limit": point.size, "limit_seed": point.seed, "seed": point.seed}
    settings["output"] = str(_folder(config, point))
    if config.budget == "steps" and not settings.get("steps"):
        raise ValueError(
            f"--budget steps gives every size equally many steps, and {point.arm!r} has none. Write steps into the "
            "recipe, or take --budget epochs."
        )
    if config.budget == "epochs" and settings.get("steps"):
        # The recipe's steps are those of the largest size.
        settings["steps"] = max(1, round(settings["steps"] * point.size / largest))
    return settings


def _folder(config: CurveConfig, point: Point) -> Path:
    return Path(config.output) / "points" / point.name


def _is_done(config: CurveConfig, point: Point, made: Mapping[str, Any]) -> bool:
    """Tells whether a point is there, as these settings would make it.

    Raises:
        ValueError: it was made with others.
    """
    folder = _folder(config, point)
    if not (folder / "evaluation" / "metrics.json").is_file():
        return False
    before = yaml.safe_load((folder / "point.yaml").read_text()) if (folder / "point.yaml").is_file() else {}
    if before != made:
        changed = sorted(name for name in {*before, *made} if before.get(name) != made.get(name))
        raise ValueError(
            f"{folder} was made with other settings ({', '.join(changed)}). Choose another --output, or delete it."
        )
    return True


def _work(tasks: list[tuple[CurveConfig, dict[str, Any], Point]], workers: int) -> Iterable[Point]:
    """Yields points as they are done: here one after the other, or in processes of their own, each with a GPU."""
    if workers <= 1 or len(tasks) < 2:
        yield from map(_train_point, tasks)
        return
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    context = get_context("spawn")
    slots = context.Queue()
    for slot in range(workers):
        slots.put(slot)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_take_gpu, initargs=(slots,)) as pool:
        for future in as_completed([pool.submit(_train_point, task) for task in tasks]):
            yield future.result()


def _take_gpu(slots: Any) -> None:
    """Gives this process one of the GPUs that the command may use; to be called before torch looks for them."""
    slot = slots.get()
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    count = len(visible) or len(list(Path("/dev").glob("nvidia[0-9]*")))
    if count:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[slot % count] if visible else str(slot % count)


def _train_point(task: tuple[CurveConfig, dict[str, Any], Point]) -> Point:
    """Trains and evaluates one point in its own folder."""
    from medclip.cli import evaluate, train

    config, settings, point = task
    folder = _folder(config, point)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "point.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    on = config.on or settings.get("images", "phantom")
    needs_texts = [] if config.evaluators == "zero-shot" else ["--texts", settings.get("texts", "phantom")]
    with (folder / "log.txt").open("a") as log, redirect_stdout(log):
        if code := train.run(["--config", str(path)]):
            sys.exit(code)
        evaluate.run(
            [str(folder), "--on", on, *needs_texts, "--evaluators", config.evaluators,
             "--resamples", str(config.resamples), "--prepared", settings.get("prepared", "prepared"),
             *(["--protocol", config.published] if config.published else [])]
        )  # fmt: skip
    return point


def _recipe(config: CurveConfig) -> dict[str, Any]:
    settings = yaml.safe_load(Path(config.recipe).read_text(encoding="utf-8")) if config.recipe else {}
    given = {"images": config.images, "texts": config.texts, "data_root": config.data_root}
    return settings | {name: value for name, value in given.items() if value}


def _published(config: CurveConfig) -> dict[str, list[tuple[str, float, float]]]:
    """Returns, by metric, the published numbers on these test sets that say how many samples they took."""
    found: dict[str, list[tuple[str, float, float]]] = {}
    if config.published:
        on = sources_of(config.on or str(_recipe(config).get("images", "phantom")))
        for entry in load_protocol(config.published).published:
            if entry.samples is not None and entry.test_set in on:
                found.setdefault(entry.metric, []).append((entry.model, entry.samples, entry.value))
        if not found:
            logger.warning("%s has no numbers with sample sizes on %s", config.published, ", ".join(on))
    return found


def _found(
    config: CurveConfig, points: list[Point], made: Mapping[Point, dict[str, Any]]
) -> dict[Point, Mapping[str, Any]]:
    found: dict[Point, Mapping[str, Any]] = {}
    for point in points:
        if _is_done(config, point, made[point]):
            saved = json.loads((_folder(config, point) / "evaluation" / "metrics.json").read_text())
            found[point] = {name: value for part in saved["model"].values() for name, value in part.items()}
    return found


def _list(config: CurveConfig, points: list[Point], made: Mapping[Point, dict[str, Any]]) -> None:
    rows = [
        [str(i), point.arm, f"{point.size:,}", str(point.seed), "done" if _is_done(config, point, made[point]) else ""]
        for i, point in enumerate(points)
    ]
    print_table(f"Points of {config.output}", ["point", "arm", "size", "seed", ""], rows)


def _sum_up(config: CurveConfig, points: list[Point], made: Mapping[Point, dict[str, Any]]) -> None:
    from medclip.utils.io import write_atomically

    found = _found(config, points, made)
    metrics = [name.strip() for name in config.metrics.split(",") if name.strip()]
    table = tidy(found, metrics)
    if table.empty:
        raise ValueError(
            f"No point has {', '.join(metrics)}. A point knows: {', '.join(next(iter(found.values()), {}))}."
        )
    output = Path(config.output)
    write_atomically(output / "curve.csv", lambda part: table.round(6).to_csv(part, index=False))
    draw(table, metrics, published=_published(config)).savefig(output / "curve.png", dpi=120)
    rows = [
        [metric, arm, f"{size:,}", f"{mean:.3f}", "-" if seeds < 2 else f"{sd:.3f}", str(seeds)]
        for metric, arm, size, mean, sd, seeds in summary(table).to_numpy().tolist()
    ]
    print_table(f"{len(found)} of {len(points)} points", ["metric", "arm", "size", "mean", "sd", "seeds"], rows)
    lines = [line for metric in metrics for line in (*verdict(table, metric), *statement(table, metric))]
    write_atomically(output / "statement.txt", lambda part: part.write_text("\n".join(lines) + "\n"))
    print(*lines, sep="\n")
    print(f"Table and figure: {output / 'curve.csv'}, {output / 'curve.png'}")


main = command(run)
