"""The points and trials of a curve, with the settings of each, and which of them are done."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labelers.errors import UserError
from medclip.evaluation.data_efficiency import Point, points_of
from medclip.runs.curve_search import Trial, best_trial, saved_score, trials_of, with_choice
from medclip.runs.settings import CurveConfig, TrainConfig
from medclip.runs.settings.base import read_yaml
from medclip.runs.train_resume import FREE
from medclip.utils.io import write_atomically
from medclip.utils.plugins import load_plugin
from medclip.utils.text import names_in

#: Settings of a curve that change what a point says, and the file beside it that keeps them.
_EVALUATED = ("on", "split", "evaluators", "resamples", "published")
_HOW = "evaluated.json"


@dataclass(frozen=True)
class Plan:
    """The points of a curve with the settings of each, in the order of their numbers.

    Attributes:
        config: Settings of the curve.
        points: Training settings by point.
        trials: Training settings by trial of the search, where there is one.
        supervised: Arms that learn from the labels alone.
    """

    config: CurveConfig
    points: Mapping[Point, TrainConfig]
    trials: Mapping[Trial, TrainConfig]
    supervised: frozenset[str]

    def folder(self, point: Point) -> Path:
        """Returns the folder of a point."""
        return Path(self.config.output) / "points" / point.name

    def scores(self) -> dict[Trial, float]:
        """Returns the validation score of each trial that is done.

        Raises:
            UserError: One was made with other settings.
        """
        found = {trial: saved_score(Path(config.output), config) for trial, config in self.trials.items()}
        return {trial: score for trial, score in found.items() if score is not None}

    def is_done(self, point: Point) -> bool:
        """Tells whether a point is there, as these settings make it.

        Raises:
            UserError: It was made with others.
        """
        folder = self.folder(point)
        if not (folder / "evaluation" / "metrics.json").is_file():
            return False
        saved, how = folder / "config.yaml", folder / _HOW
        before = vars(TrainConfig.load(saved)) if saved.is_file() else {}
        before |= json.loads(how.read_text()) if how.is_file() else self._how()
        wanted = vars(self.points[point]) | self._how()
        if changed := sorted(name for name in wanted if name not in FREE and before.get(name) != wanted[name]):
            raise UserError(
                f"{folder} was made with other settings ({', '.join(changed)}). Choose another --output, or delete it."
            )
        return True

    def save_how(self, point: Point) -> None:
        """Writes how a point is evaluated, for `is_done` to compare."""
        text = json.dumps(self._how())
        write_atomically(self.folder(point) / _HOW, lambda part: part.write_text(text))

    def _how(self) -> dict[str, Any]:
        return {f"curve.{name}": getattr(self.config, name) for name in _EVALUATED}

    def found(self) -> dict[Point, dict[str, Any]]:
        """Returns the metrics of each point that is done."""
        found = {}
        for point in self.points:
            if self.is_done(point):
                saved = json.loads((self.folder(point) / "evaluation" / "metrics.json").read_text())
                found[point] = {name: value for part in saved["model"].values() for name, value in part.items()}
        return found


def plan_curve(config: CurveConfig) -> Plan:
    """Returns the points of a curve, with what a search chose for their arms where it is done.

    Raises:
        UserError: A setting is wrong.
    """
    recipe, sizes = _recipe(config), [_number(size) for size in config.sizes.split(",")]
    arms = _arms(config)
    spaces = {name: settings.pop("search", None) or {} for name, settings in arms.items()}
    supervised = frozenset(name for name, settings in arms.items() if settings.pop("supervised", False))
    points = points_of(list(arms), sizes, config.seeds)
    if not -1 <= config.point < len(points):
        raise UserError(f"--point {config.point}: there are points 0 to {len(points) - 1}; see --list.")
    trials = {
        trial: _trial_settings(config, recipe | arms[arm], trial)
        for arm, space in spaces.items()
        if config.trials and space
        for trial in trials_of(arm, space, trials=config.trials, seed=config.search_seed)
    }
    plan = Plan(config, {}, trials, supervised)
    chosen = {arm: trial.choice for arm, trial in chosen_trials(plan).items()}
    settings = {arm: with_choice(recipe | arms[arm], chosen.get(arm, {})) for arm in arms}
    return replace(plan, points={p: _settings(config, settings[p.arm], p, max(sizes)) for p in points})


def chosen_trials(plan: Plan) -> dict[str, Trial]:
    """Returns the best trial of each arm all of whose trials are done."""
    scores = plan.scores()
    arms = {trial.arm: [other for other in plan.trials if other.arm == trial.arm] for trial in plan.trials}
    for arm, trials in arms.items():
        if all(trial in scores and math.isnan(scores[trial]) for trial in trials):
            raise UserError(f"No trial of {arm!r} has a validation score: it diverged, or --evaluate-every is 0.")
    return {
        arm: best_trial({trial: scores[trial] for trial in trials})
        for arm, trials in arms.items()
        if all(trial in scores for trial in trials)
    }


def _arms(config: CurveConfig) -> dict[str, dict[str, Any]]:
    """Returns the settings of each arm."""
    if config.arms:
        return {name: dict(settings or {}) for name, settings in config.arms.items()}
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
    made = _limited(settings, point, Path(config.output) / "points" / point.name)
    if config.budget == "steps" and not made.steps:
        raise UserError(
            f"--budget steps gives every size equally many steps, and {point.arm!r} has none. Write steps into the "
            "recipe, or take --budget epochs."
        )
    if config.budget == "epochs" and made.steps:
        # The recipe's steps are those of the largest size.
        made = replace(made, steps=max(1, round(made.steps * point.size / largest)))
    return made


def _trial_settings(config: CurveConfig, settings: dict[str, Any], trial: Trial) -> TrainConfig:
    point = Point(trial.arm, config.search_size, config.search_seed)
    folder = Path(config.output) / "search" / f"{trial.arm}-{trial.number}"
    return _limited(with_choice(settings | config.search_settings, trial.choice), point, folder)


def _limited(settings: dict[str, Any], point: Point, output: Path) -> TrainConfig:
    made = TrainConfig.from_mapping(settings, origin=f"Arm {point.arm!r}")
    return replace(made, limit=point.size, limit_seed=point.seed, seed=point.seed, output=str(output))


def _recipe(config: CurveConfig) -> dict[str, Any]:
    settings = read_yaml(Path(config.recipe)) if config.recipe else {}
    given = {"threads": config.threads, "images": config.images, "texts": config.texts, "data_root": config.data_root}
    return settings | {name: value for name, value in given.items() if value}
