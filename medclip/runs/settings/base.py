"""Settings of every run: frozen dataclasses whose fields are YAML keys, flags and keyword arguments alike.

A class of this file without base classes is one group of settings; a run's settings are made of groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
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


T = TypeVar("T", bound="Settings")


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
            UserError: The file holds an unknown key.
        """
        return cls.from_mapping(yaml.safe_load(path.read_text(encoding="utf-8")) or {}, origin=str(path))

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
