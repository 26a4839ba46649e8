"""The same small search for every arm of a curve: its trials are scored on validation, and the best one is frozen."""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from labelers.errors import UserError
from medclip.runs.settings import TrainConfig
from medclip.runs.train_resume import FREE
from medclip.utils.io import write_atomically


@dataclass(frozen=True)
class Trial:
    """One choice of settings for an arm.

    Attributes:
        arm: Name of the arm.
        number: Which of its trials this is.
        choice: Settings by name, `objective_options.temperature` for one of a group.
    """

    arm: str
    number: int
    choice: Mapping[str, Any] = field(compare=False)


def trials_of(arm: str, space: Mapping[str, list[Any]], *, trials: int, seed: int) -> list[Trial]:
    """Returns different combinations of `space`, drawn at random where there are more than `trials`.

    Raises:
        UserError: A setting has no list of values.
    """
    for name, values in space.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"Arm {arm!r}, search: {name} needs a list of values, found {values!r}.")
    combinations = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    kept = np.random.default_rng([seed, 6]).permutation(len(combinations))[:trials]
    return [Trial(arm, number, combinations[i]) for number, i in enumerate(sorted(kept.tolist()))]


def with_choice(settings: Mapping[str, Any], choice: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `settings` with those of `choice`, groups such as objective_options filled in."""
    merged = copy.deepcopy(dict(settings))
    for name, value in choice.items():
        group, _, key = name.partition(".")
        if key:
            merged[group] = {**(merged.get(group) or {}), key: value}
        else:
            merged[group] = value
    return merged


def saved_score(folder: Path, config: TrainConfig) -> float | None:
    """Returns the validation score of a trial that is done with these settings; None if it is not done.

    Raises:
        UserError: It was made with others.
    """
    file = folder / "trial.json"
    if not file.is_file():
        return None
    saved = json.loads(file.read_text(encoding="utf-8"))
    wanted, before = _as_saved(config), _as_saved(TrainConfig.from_mapping(saved["settings"], origin=str(file)))
    if changed := sorted(name for name in wanted if name not in FREE and before[name] != wanted[name]):
        raise UserError(
            f"{folder} was made with other settings ({', '.join(changed)}). Choose another --output, or delete it."
        )
    return float(saved["score"])


def save_score(folder: Path, config: TrainConfig, choice: Mapping[str, Any], score: float) -> None:
    """Writes what `saved_score` reads."""
    text = json.dumps({"choice": dict(choice), "score": score, "settings": _as_saved(config)}, indent=2)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "trial.json", lambda part: part.write_text(text, encoding="utf-8"))


def best_trial(scores: Mapping[Trial, float]) -> Trial:
    """Returns the trial with the highest score; one without a score (NaN) loses."""
    return max(scores, key=lambda trial: -math.inf if math.isnan(scores[trial]) else scores[trial])


def _as_saved(config: TrainConfig) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(config)))  # type: ignore[no-any-return]
