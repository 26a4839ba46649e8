"""Settings of every run: frozen dataclasses whose fields are YAML keys, flags and keyword arguments alike.

A class of this file without base classes is one group of settings; a run's settings are made of groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml

from labelers.errors import UserError
from medclip.utils.io import write_atomically
from medclip.utils.text import suggest


def choices(kind: type[Any]) -> dict[str, tuple[Any, ...]]:
    """Returns the allowed values of every setting that has such."""
    hints = get_type_hints(kind)
    return {f.name: get_args(hints[f.name]) for f in fields(kind) if get_origin(hints[f.name]) is Literal}


def check_choice(name: str, value: Any, known: Sequence[Any]) -> None:
    """Checks that `value` is one of `known`.

    Raises:
        UserError: It is not; the message names the nearest.
    """
    if value not in known:
        raise UserError(
            f"--{name.replace('_', '-')} {value}: choose from {', '.join(map(str, known))}."
            f"{suggest(str(value), [str(one) for one in known])}"
        )


def read_yaml(path: Path) -> dict[Any, Any]:
    """Returns the settings that a YAML file holds, by name.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: It is a folder, no YAML in UTF-8, or holds no settings; in one line.
    """
    if path.is_dir():
        inside = " Did you mean the config.yaml in it?" if (path / "config.yaml").is_file() else ""
        raise UserError(f"{path} is a folder; expected a YAML file of settings.{inside}")
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file; expected a YAML file of settings.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8: byte {error.start} cannot be read. Save it as UTF-8.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        raise UserError(
            f"{path} is no YAML ({place}{getattr(error, 'problem', '') or 'it cannot be read'})."
        ) from error
    if content is None:
        raise UserError(f"{path} is empty; expected settings, one 'name: value' a line.")
    if not isinstance(content, dict):
        raise UserError(f"{path} holds {type(content).__name__}, not settings; expected one 'name: value' a line.")
    return content


T = TypeVar("T", bound="Settings")


@dataclass(frozen=True)
class Columns:
    """columns"""

    columns: dict[str, Any] = field(default_factory=dict)
    """Columns of your own tables (csv=PATH), such as path='Image File',text=Report,patient_id=MRN; text may be of
    several, text=Findings+Impression. By default told by names and contents, and logged."""


@dataclass(frozen=True)
class Machine:
    """machine"""

    threads: int = 0
    """Number of CPU threads for arithmetic; 0 for one less than the cores, which leaves one to others."""


@dataclass(frozen=True)
class Devices:
    """devices"""

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """Kind of device to train on."""
    devices: str = "auto"
    """Number of devices on each node, or auto."""
    nodes: int = 1
    """Number of machines; torchrun and SLURM start one process for each device."""
    strategy: Literal["auto", "ddp"] = "auto"
    """How several processes share the work."""
    precision: str | None = None
    """Numeric precision in Lightning's terms. By default bf16-mixed on GPUs that have it, else 32-true."""


def check_schedule(steps: int, epochs: float, learning_rate: float, warmup: float) -> None:
    """Checks that a training has steps and a learning rate.

    Raises:
        UserError: It has not.
    """
    if not (steps or epochs > 0) or not learning_rate > 0 or not 0 <= warmup <= 1:
        raise UserError(
            f"Found epochs={epochs}, learning_rate={learning_rate}, warmup={warmup}. Epochs and the learning rate must "
            "be above 0, and warmup is a share of the steps, 0 to 1."
        )


@dataclass(frozen=True)
class Settings:
    """Base of the settings of a run.

    Attributes:
        positional: Settings that a command also takes as plain words, in this order; the last may take several.
    """

    positional: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name, known in choices(type(self)).items():
            check_choice(name, getattr(self, name), known)
        if isinstance(self, Machine):
            self.at_least(0, "threads")
        if isinstance(self, Columns) and self.columns:
            object.__setattr__(self, "source_options", self._with_columns())

    def _with_columns(self) -> dict[str, Any]:
        """Returns the options of sources with the columns among those of csv; options of one table, csv=PATH, win."""
        options: dict[str, Any] = self.source_options  # type: ignore[attr-defined]
        own = options.get("csv") or {}
        return options | {"csv": own | {"columns": (own.get("columns") or {}) | self.columns}}  # type: ignore[attr-defined]

    def options_over(self, trained: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the options of sources: those given, else those of a training run with the columns that are given."""
        options, columns = self.source_options, self.columns  # type: ignore[attr-defined]
        before = trained.get("source_options") or {}
        if not before or (options and options != {"csv": {"columns": columns}}):
            return options
        own = before.get("csv") or {}
        return before | ({"csv": own | {"columns": (own.get("columns") or {}) | columns}} if columns else {})

    @classmethod
    def from_mapping(cls: type[T], values: Mapping[str, Any], *, origin: str) -> T:
        """Returns settings from a mapping, such as a YAML file holds.

        Raises:
            UserError: A key is unknown; the message names `origin` and the nearest key there is.
        """
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise UserError(f"{origin}: unknown setting {key!r}.{suggest(str(key), known)}")
        return cls(**values)

    @classmethod
    def load(cls: type[T], path: Path) -> T:
        """Returns the settings that `save` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            UserError: It holds an unknown key, or no settings, see `read_yaml`.
        """
        return cls.from_mapping(read_yaml(path), origin=str(path))

    def save(self, path: Path) -> None:
        """Writes the settings as YAML, which `--config` reads back."""
        text = yaml.safe_dump(asdict(self), sort_keys=False, allow_unicode=True)
        write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))

    def at_least(self, least: float, *names: str) -> None:
        """Checks that the settings `names` are numbers of at least `least`.

        Raises:
            UserError: One is smaller.
        """
        for name in names:
            if not getattr(self, name) >= least:
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be at least {least:g}.")
