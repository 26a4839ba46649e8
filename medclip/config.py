"""How the settings of a command are read from YAML and flags, by jsonargparse, and written back.

An unknown key raises and names the nearest one there is.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

import yaml

from medclip.utils.text import suggest

T = TypeVar("T")


def read_config(kind: type[T], argv: list[str], *, prog: str, description: str, examples: str = "") -> T:
    """Returns a `kind`, filled from `--config FILE` and flags; flags win.

    Exits with code 2 and a message where a flag, a key or a value is wrong, and with 0 after `--help`.
    """
    from argparse import RawDescriptionHelpFormatter

    from jsonargparse import ArgumentParser, DefaultHelpFormatter

    class Formatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):  # type: ignore[misc]
        """Shows defaults, and keeps the line breaks of the examples."""

    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    positional = "".join(f"{field.name.upper()} " for field in fields if field.metadata["positional"])
    parser = ArgumentParser(
        prog=prog, description=f"{description}\n\n{examples}".strip(), formatter_class=Formatter, allow_abbrev=False,
        usage=f"{prog} {positional}[--config FILE] [options]",
    )  # fmt: skip
    parser.add_argument("--config", action="config", help="YAML file with any of the settings below")
    hints, defaults = typing.get_type_hints(kind), dataclasses.asdict(kind())  # type: ignore[call-overload]
    groups: dict[str, Any] = {"": parser}
    for field in fields:
        group = field.metadata["group"]
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        default = defaults[field.name]
        if field.metadata["positional"]:
            many = typing.get_origin(hints[field.name]) is list
            kind_of = typing.get_args(hints[field.name])[0] if many else hints[field.name]
            nargs = "*" if many else "?"
            parser.add_argument(field.name, type=kind_of, nargs=nargs, default=default, help=field.metadata["help"])
        elif hints[field.name] is bool:
            flag = "--" + field.name.replace("_", "-")
            groups[group].add_argument(flag, action="store_true", help=field.metadata["help"])
        else:
            flag = "--" + field.name.replace("_", "-")
            groups[group].add_argument(flag, type=hints[field.name], default=default, help=field.metadata["help"])
    _check_keys(parser, argv, [field.name for field in fields])
    switches = {"--" + field.name.replace("_", "-") for field in fields if hints[field.name] is bool} | {"--help", "-h"}
    argv = _positionals_first(argv, switches)
    values = parser.parse_args(argv)
    return kind(**{field.name: _plain(getattr(values, field.name)) for field in fields})


def _positionals_first(argv: list[str], switches: Collection[str]) -> list[str]:
    """Returns `argv` with what belongs to no option in front; the parser takes such words in one place only."""
    words: list[str] = []
    options: list[str] = []
    rest = iter(argv)
    for word in rest:
        if not word.startswith("-") or word == "-":
            words.append(word)
            continue
        options.append(word)
        if word not in switches and "=" not in word:
            options += [value for value in [next(rest, None)] if value is not None]
    return words + options


def given(argv: list[str]) -> set[str]:
    """Returns the settings that somebody gave, by flag or in a file of `--config`, whatever their values."""
    flags = {word[2:].split("=", 1)[0].replace("-", "_") for word in argv if word.startswith("--")}
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) or {} for path in _config_files(argv)]
    return flags | {str(key) for content in files for key in content}


def write_config(config: Any, path: Path) -> None:
    """Writes a config dataclass as YAML that `--config` reads back."""
    path.write_text(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True))


def _check_keys(parser: Any, argv: list[str], names: list[str]) -> None:
    """Names the nearest valid key for an unknown flag or YAML key; the parser's own message names none."""
    for flag in (argument.split("=", 1)[0] for argument in argv if argument.startswith("--") and len(argument) > 2):
        name = re.split(r"[.]", flag[2:].replace("-", "_"), maxsplit=1)[0]
        if name not in (*names, "config", "help") and "print" not in name:
            near = suggest(name, names).replace("_", "-").replace("'", "--", 1).replace("'", "", 1)
            parser.error(f"unknown option {flag}.{near} See {parser.prog} --help.")
    for path in _config_files(argv):
        if path.is_file():
            for key in yaml.safe_load(path.read_text(encoding="utf-8")) or {}:
                if key is True:
                    parser.error(f'{path}: write "on" in quotes; YAML takes the bare word for true.')
                if str(key) not in names:
                    parser.error(f"{path}: unknown key {key!r}.{suggest(str(key), names)} See {parser.prog} --help.")


def _config_files(argv: list[str]) -> list[Path]:
    pairs = zip(argv, [*argv[1:], ""], strict=False)
    return [
        Path(a.split("=", 1)[1] if "=" in a else b) for a, b in pairs if a == "--config" or a.startswith("--config=")
    ]


def _plain(value: Any) -> Any:
    """Returns `value` without the parser's types; texts inside option mappings are read as YAML values."""
    if hasattr(value, "as_dict"):
        value = value.as_dict()
    if isinstance(value, dict):
        return {key: yaml.safe_load(item) if isinstance(item, str) else _plain(item) for key, item in value.items()}
    return value
