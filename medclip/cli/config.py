"""Reads the settings of a command from YAML and flags, with jsonargparse's support of dataclasses.

Options are accepted with dashes or underscores; unknown ones name the nearest there is.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from argparse import Action, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any, TypeVar

import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace, set_parsing_settings

from medclip.runs.settings.base import Settings
from medclip.utils.text import suggest

T = TypeVar("T", bound=Settings)

set_parsing_settings(docstring_parse_attribute_docstrings=True)


class _Formatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):  # type: ignore[misc]
    """Shows options with dashes, and the defaults that are not empty; keeps the line breaks of the examples."""

    def _format_action_invocation(self, action: Action) -> str:
        text = ", ".join(option for option in action.option_strings if not option.endswith("+"))
        choices = f" {{{','.join(action.choices)}}}" if action.choices else ""
        takes = f" {action.metavar or action.dest.rpartition('.')[2].upper()}" if action.nargs != 0 else ""
        return text.replace("_", "-") + (choices or takes)

    def _get_help_string(self, action: Action) -> str:
        default = action.default
        shown = default not in (None, "", False, [], {}) and default != "==SUPPRESS=="
        return (action.help or "") + (f" (default: {default})".replace("%", "%%") if shown else "")


def read_config(kind: type[T], argv: list[str], *, prog: str, description: str, examples: str = "") -> T:
    """Returns settings of `kind` from `--config FILE` and flags; flags win.

    Exits with code 2 and a message where a flag, a key or a value is wrong, and with 0 after `--help`.
    """
    words = "".join(f"{name.upper()} " for name in kind.positional)
    parser = ArgumentParser(
        prog=prog, description=f"{description}\n\n{examples}".strip(), formatter_class=_Formatter, allow_abbrev=False,
        usage=f"{prog} {words}[--config FILE] [options]",
    )  # fmt: skip
    parser.add_argument("--config", action="config", help="YAML file with any of the settings below.")
    for group in groups(kind):
        parser.add_class_arguments(group, as_group=True)
    names = [field.name for field in dataclasses.fields(kind)]
    _check_files(parser, argv, names)
    values = parser.parse_args(_normalised(parser, kind, argv))
    return kind(**{name: _plain(getattr(values, name)) for name in names})


def groups(kind: type[Settings]) -> list[type[Any]]:
    """Returns the groups that settings are made of, in the order they are shown."""
    return [
        base for base in reversed(kind.__mro__) if dataclasses.is_dataclass(base) and not issubclass(base, Settings)
    ]


def given(argv: list[str]) -> set[str]:
    """Returns the settings that somebody gave, by flag or in a file of `--config`, whatever their values."""
    flags = {word[2:].split("=", 1)[0].replace("-", "_") for word in argv if word.startswith("--")}
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) or {} for path in _config_files(argv)]
    return flags | {str(key) for content in files for key in content}


def _normalised(parser: ArgumentParser, kind: type[Settings], argv: list[str]) -> list[str]:
    """Returns `argv` as the parser takes it: `--name=value` for every setting, whatever way it was written."""
    hints = typing.get_type_hints(kind)
    words: list[str] = []
    options: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            (options if word == "-h" else words).append(word)
            continue
        flag, equals, value = word.partition("=")
        name, dot, keys = flag[2:].partition(".")
        name = name.replace("-", "_")
        if name not in (*hints, "config", "help", "print_config"):
            near = suggest(name, list(hints)).replace("_", "-").replace("'", "--", 1).replace("'", "", 1)
            parser.error(f"unknown option {flag}.{near} See {parser.prog} --help.")
        if not equals and name not in ("help", "print_config"):
            value = _value(parser, flag, hints.get(name), rest)
        is_list = typing.get_origin(hints.get(name)) is list and not dot
        options.append(f"--{name}{dot}{keys}" + (f"={_listed(value) if is_list else value}" if value or equals else ""))
    return _positionals(parser, kind, words) + options


def _value(parser: ArgumentParser, flag: str, hint: Any, rest: list[str]) -> str:
    """Takes the value of an option off `rest`; a switch needs none."""
    if hint is bool:
        return rest.pop(0) if rest and rest[0].lower() in ("true", "false") else "true"
    if not rest:
        parser.error(f"{flag} needs a value. See {parser.prog} --help.")
    return rest.pop(0)


def _listed(value: str) -> str:
    """Returns a list as JSON, also where it was written as A,B."""
    if value.strip().startswith("["):
        return value
    return json.dumps([yaml.safe_load(item) for item in value.split(",") if item.strip()])


def _positionals(parser: ArgumentParser, kind: type[Settings], words: list[str]) -> list[str]:
    hints, taken = typing.get_type_hints(kind), []
    for name in kind.positional:
        if typing.get_origin(hints[name]) is list:
            taken += [f"--{name}={json.dumps(words)}"] if words else []
            words = []
        elif words:
            taken.append(f"--{name}={words.pop(0)}")
    if words:
        parser.error(f"unexpected argument {words[0]!r}. See {parser.prog} --help.")
    return taken


def _check_files(parser: ArgumentParser, argv: list[str], names: list[str]) -> None:
    """Names the nearest valid key for an unknown one in a YAML file; the parser's own message names none."""
    for path in _config_files(argv):
        if not path.is_file():
            parser.error(f"--config {path}: there is no such file.")
        for key in yaml.safe_load(path.read_text(encoding="utf-8")) or {}:
            if key is True:
                parser.error(f'{path}: write "on" in quotes; YAML takes the bare word for true.')
            if str(key).replace("-", "_") not in names:
                parser.error(f"{path}: unknown key {key!r}.{suggest(str(key), names)} See {parser.prog} --help.")


def _config_files(argv: list[str]) -> list[Path]:
    pairs = zip(argv, [*argv[1:], ""], strict=False)
    return [
        Path(a.split("=", 1)[1] if "=" in a else b) for a, b in pairs if a == "--config" or a.startswith("--config=")
    ]


def _plain(value: Any) -> Any:
    """Returns `value` without the parser's types."""
    if isinstance(value, Namespace):
        return {key: _plain(item) for key, item in value.as_dict().items()}
    return value
