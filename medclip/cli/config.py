"""Reads the settings of a command from YAML and flags, with jsonargparse's support of dataclasses.

Options are accepted with dashes or underscores; unknown ones name the nearest there is.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import keyword
import re
import sys
import typing
from argparse import Action, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any, TypeVar

import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter, set_parsing_settings

from labelers.errors import UserError
from medclip import __version__
from medclip.runs.settings.base import Settings, check_choice, choices, read_yaml
from medclip.utils.text import names_in, suggest

T = TypeVar("T", bound=Settings)

set_parsing_settings(docstring_parse_attribute_docstrings=True)


class _Formatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):  # type: ignore[misc]
    """Shows options with dashes, and the defaults that are not empty; keeps the line breaks of the examples."""

    def _format_action_invocation(self, action: Action) -> str:
        text = ", ".join(option.rstrip("_") for option in action.option_strings if not option.endswith("+"))
        choices = f" {{{','.join(action.choices)}}}" if action.choices else ""
        takes = f" {action.metavar or action.dest.rpartition('.')[2].rstrip('_').upper()}" if action.nargs != 0 else ""
        return text.replace("_", "-") + (choices or takes)

    def _get_help_string(self, action: Action) -> str:
        default = action.default
        shown = default not in (None, "", False, [], {}) and default != "==SUPPRESS=="
        return (action.help or "") + (f" (default: {default})".replace("%", "%%") if shown else "")


class _Parser(ArgumentParser):  # type: ignore[misc]
    """Ends with the mistake alone: what an option is for, `--help` says."""

    def error(self, message: str, ex: Exception | None = None) -> typing.NoReturn:
        print(f"error: {_plain(message)}", file=sys.stderr)
        raise SystemExit(2) from ex


#: What types are called in messages.
_TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}


def _plain(message: str) -> str:
    """Returns a message in one line; that of the parser about a value of another type in plain words."""
    key, value = re.search(r'Parser key "(\w+)"', message), re.search(r"(?:Got|Given) value: (.*)", message)
    kind = re.search(r"<class '(\w+)'>", message)
    if key and value and kind:
        return f"--{key[1].replace('_', '-')} {value[1].strip()}: expected {_TYPES.get(kind[1], kind[1])}."
    return " ".join(message.split())


#: Options of every command; the first takes a value.
_OWN = ("config", "help", "version", "print_config")


def read_config(kind: type[T], argv: list[str], *, prog: str, description: str, examples: str = "") -> T:
    """Returns settings of `kind` from `--config FILE` and flags; flags win.

    Exits with code 2 and a message where a flag, a key or a value is wrong, and with 0 after `--help`.
    """
    parser = _parser(kind, prog, f"{description}\n\n{examples}".strip())  # type: ignore[arg-type]
    names = [field.name for field in dataclasses.fields(kind)]
    _check_files(parser, argv, names, choices(kind))
    words = _normalised(parser, kind, argv)
    structured = _structured(parser, kind, words)
    scalars = [scalar for word in words for scalar in _expanded(word) if _name(scalar) not in structured]
    values = parser.parse_args(scalars)
    return kind(**{name: _joined(getattr(values, name)) for name in names if name not in structured} | structured)


@functools.cache
def _parser(kind: type[Settings], prog: str, description: str) -> ArgumentParser:
    """Returns the parser of a command; making it takes longer than parsing, so it is made once."""
    plain = "".join(f"{name.upper()} " for name in kind.positional)
    parser = _Parser(
        prog=prog, version=__version__, description=description, formatter_class=_Formatter, allow_abbrev=False,
        usage=f"{prog} {plain}[--config FILE] [options]",
    )  # fmt: skip
    parser.add_argument("--config", help="YAML file with any of the settings below.")
    for group in groups(kind):
        parser.add_class_arguments(group, as_group=True)
    return parser


def _expanded(word: str) -> list[str]:
    """Returns a word, or for --config=FILE the settings in that file as words."""
    if _name(word) != "config":
        return [word]
    content = read_yaml(Path(word.partition("=")[2]))
    return [
        f"--{_field(key)}={value if isinstance(value, str) else json.dumps(value)}" for key, value in content.items()
    ]


def _field(name: str) -> str:
    """Returns the setting that an option is of: with a mark behind it where its name is a word of Python's own."""
    name = name.replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


def _name(word: str) -> str:
    """Returns the setting that a word of the form --name=value or --name.key=value is about."""
    return word.removeprefix("--").partition("=")[0].partition(".")[0]


def _structured(parser: ArgumentParser, kind: type[Settings], given: list[str]) -> dict[str, Any]:
    """Returns the settings that are mappings or lists, each text inside read once: a quoted text stays a text.

    The parser would read them once more. A later value replaces an earlier one, `{}` and `[]` too, and
    `--name.key=value` adds to it.
    """
    made = {
        field.name: field.default_factory()
        for field in dataclasses.fields(kind)
        if field.default_factory is not dataclasses.MISSING
    }
    for word in given:
        flag, _, value = word.partition("=")
        name, *keys = flag.removeprefix("--").split(".")
        if name == "config":
            content = read_yaml(Path(value))
            hints = typing.get_type_hints(kind)
            made |= {key: _in_file(content[key], hints[key]) or made[key] for key in made if key in content}
        elif name in made:
            inner = _scalar(value) if keys else _value_in(parser, name, value)
            inner = made[name] if inner is None else inner
            for key in reversed(keys):
                inner = {key: inner}
            made[name] = _merged(made[name], inner) if keys else inner
    for name, value in made.items():
        _check_items(parser, kind, name, value)
    return made


def _in_file(value: Any, hint: Any) -> Any:
    """Returns a mapping or a list of a file, also where it was written as on the command line, A,B or A=x,B=y."""
    if not isinstance(value, str):
        return value
    is_list = typing.get_origin(hint) is list
    return yaml.safe_load(_listed(value, typing.get_args(hint)[0]) if is_list else _mapped(value))


def _value_in(parser: ArgumentParser, name: str, value: str) -> Any:
    """Returns the mapping or the list that a text on the command line says, in YAML."""
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        parser.error(f"--{name.replace('_', '-')} {value}: this is no YAML ({getattr(error, 'problem', error)}).")


def _scalar(value: str) -> Any:
    """Returns a number, a boolean, a list, ... or, where YAML sees none of these, the text as it stands."""
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    return value if isinstance(read, str) and value[:1] not in ("'", '"') else read


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    both = {key: _merged(first[key], value) if isinstance(value, dict) and isinstance(first.get(key), dict) else value
            for key, value in second.items()}  # fmt: skip
    return first | both


def _check_items(parser: ArgumentParser, kind: type[Settings], name: str, value: Any) -> None:
    """Ends with a message where a value is no mapping or no list of the right things."""
    hint = typing.get_type_hints(kind)[name]
    flag, wanted = "--" + name.replace("_", "-"), typing.get_origin(hint)
    if not isinstance(value, wanted):
        example = "A=x,B=y or '{A: x, B: y}'" if wanted is dict else "A,B or '[A, B]'"
        parser.error(f"{flag} {value}: expected {example}.")
    if wanted is list:
        item = typing.get_args(hint)[0]
        numbers = (int, float) if item is float else item
        if wrong := [one for one in value if not isinstance(one, numbers) or isinstance(one, bool)]:
            parser.error(f"{flag}: {wrong[0]!r} is no {'number' if item is float else 'text'}.")


def groups(kind: type[Settings]) -> list[type[Any]]:
    """Returns the groups that settings are made of, in the order they are shown."""
    return [
        base for base in reversed(kind.__mro__) if dataclasses.is_dataclass(base) and not issubclass(base, Settings)
    ]


def given(argv: list[str]) -> set[str]:
    """Returns the settings that somebody gave, by flag or in a file of `--config`, whatever their values."""
    flags = {word[2:].split("=", 1)[0].replace("-", "_") for word in argv if word.startswith("--")}
    files = [read_yaml(path) for path in _config_files(argv)]
    return flags | {str(key) for content in files for key in content}


def _normalised(parser: ArgumentParser, kind: type[Settings], argv: list[str]) -> list[str]:
    """Returns `argv` as the parser takes it: `--name=value` for every setting, whatever way it was written."""
    hints, known = typing.get_type_hints(kind), choices(kind)
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
        name = _field(name)
        if name not in (*hints, *_OWN):
            near = (
                suggest(name, [hint.rstrip("_") for hint in (*hints, *_OWN)])
                .replace("_", "-")
                .replace("'", "--", 1)
                .replace("'", "", 1)
            )
            parser.error(f"unknown option {flag}.{near} See {parser.prog} --help.")
        if not equals and name not in _OWN[1:]:
            value, equals = _value(parser, flag, hints.get(name), rest), "="
        if name in known and not dot:
            _check_choice(parser, name, value, known[name])
        if typing.get_origin(hints.get(name)) is list and not dot:
            value = _listed(value, typing.get_args(hints[name])[0])
        if typing.get_origin(hints.get(name)) is dict and not dot:
            value = _mapped(value)
        options.append(f"--{name}{dot}{keys}" + (f"={value}" if equals else ""))
    return _positionals(parser, kind, words) + options


def _check_choice(parser: ArgumentParser, name: str, value: Any, known: typing.Sequence[Any]) -> None:
    try:
        check_choice(name, value, known)
    except UserError as error:
        parser.error(str(error))


def _value(parser: ArgumentParser, flag: str, hint: Any, rest: list[str]) -> str:
    """Takes the value of an option off `rest`; a switch needs none."""
    if hint is bool:
        return rest.pop(0) if rest and rest[0].lower() in ("true", "false") else "true"
    if not rest:
        parser.error(f"{flag} needs a value. See {parser.prog} --help.")
    return rest.pop(0)


def _listed(value: str, item: type[Any]) -> str:
    """Returns a list as JSON, also where it was written as A,B."""
    if value.strip().startswith("["):
        return value
    words = names_in(value)
    return json.dumps(words if item is str else [yaml.safe_load(word) for word in words])


def _joined(value: Any) -> Any:
    """Returns names that were written as [A, B] as the settings of names take them: A,B."""
    if not isinstance(value, str) or not (value.startswith("[") and value.endswith("]")):
        return value
    return ",".join(name.strip("'\"") for name in names_in(value[1:-1]))


def _mapped(value: str) -> str:
    """Returns a mapping as JSON where it was written as A=x,B=y, and otherwise as it stands."""
    parts = [part.partition("=") for part in names_in(value)]
    if value.lstrip().startswith("{") or ":" in value or not all(equals for _, equals, _ in parts):
        return value
    return json.dumps({name.strip(): said.strip() for name, _, said in parts})


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


def _check_files(parser: ArgumentParser, argv: list[str], names: list[str], known: dict[str, tuple[Any, ...]]) -> None:
    """Names the nearest valid key for an unknown one in a YAML file; the parser's own message names none."""
    for path in _config_files(argv):
        try:
            content = read_yaml(path)
        except (UserError, OSError) as error:
            parser.error(f"--config {error}")
        for key, value in content.items():
            if key is True:
                parser.error(f'{path}: write "on" in quotes; YAML takes the bare word for true.')
            if _field(str(key)) not in names:
                parser.error(f"{path}: unknown key {key!r}.{suggest(str(key), names)} See {parser.prog} --help.")
            if key in known:
                _check_choice(parser, str(key), value, known[key])


def _config_files(argv: list[str]) -> list[Path]:
    pairs = zip(argv, [*argv[1:], ""], strict=False)
    given = [a.split("=", 1)[1] if "=" in a else b for a, b in pairs if a == "--config" or a.startswith("--config=")]
    return [Path(name) for name in given if name]
