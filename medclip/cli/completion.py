"""Scripts by which a shell completes commands, options and their values."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping

import medclip.runs.settings as all_settings
from medclip.runs.settings.base import choices
from medclip.utils.plugins import plugin_names

SHELLS = ("bash", "zsh", "fish")
#: Options of every command.
_OWN = ("config", "help", "version")


def script(shell: str, commands: Mapping[str, str], first: Mapping[str, tuple[str, ...]]) -> str:
    """Returns the script of a shell of `SHELLS`, to be read by it when it starts.

    Args:
        shell: The shell.
        commands: The commands, with what each does.
        first: Options of `medclip` itself, each with its values.
    """
    options = {name: _options(name) for name in commands}
    if shell == "fish":
        return _fish(options, commands, first)
    # Zsh reads bash's way of completing.
    return ("autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else "") + _bash(options, first)


def _options(command: str) -> dict[str, tuple[str, ...]]:
    """Returns the options of a command, each with its values where they are few."""
    kind = getattr(all_settings, f"{command.title()}Config")
    known = choices(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    given = {_flag(name): tuple(map(str, known.get(name, ()))) for name in names}
    if "objective" in names:
        given["--objective"] = tuple(plugin_names("objectives"))
    return given | dict.fromkeys(map(_flag, _OWN), ())


def _flag(name: str) -> str:
    return "--" + name.rstrip("_").replace("_", "-")


def _bash(options: Mapping[str, Mapping[str, tuple[str, ...]]], first: Mapping[str, tuple[str, ...]]) -> str:
    cases = [f"      {flag}:{flag}) offer={shlex.quote(' '.join(known))} ;;" for flag, known in first.items() if known]
    for command, flags in options.items():
        values = [
            f"      {command}:{flag}) offer={shlex.quote(' '.join(known))} ;;" for flag, known in flags.items() if known
        ]
        cases += [*values, f"      {command}:*) [[ $cur == -* ]] && offer={shlex.quote(' '.join(flags))} ;;"]
    names = " ".join(f"medclip-{command}" for command in options)
    return "\n".join([
        "_medclip() {",
        '  local cur="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" offer="" name="${1##*/}"',
        '  local command="${name#medclip-}"',
        '  if [[ $name == medclip ]]; then command="${COMP_WORDS[1]}"; fi',
        "  if [[ $name == medclip && $COMP_CWORD -eq 1 ]]; then",
        f"    offer={shlex.quote(' '.join([*options, *first]))}",
        "  else",
        '    case "$command:$before" in',
        *cases,
        "    esac",
        "  fi",
        '  COMPREPLY=($(compgen -W "$offer" -- "$cur"))',
        "}",
        f"complete -o default -F _medclip medclip {names}",
        "",
    ])  # fmt: skip


def _fish(
    options: Mapping[str, Mapping[str, tuple[str, ...]]],
    commands: Mapping[str, str],
    first: Mapping[str, tuple[str, ...]],
) -> str:
    lines = [
        f"complete -c medclip -n __fish_use_subcommand -l {flag.removeprefix('--')}"
        + (f" -x -a {shlex.quote(' '.join(known))}" if known else "")
        for flag, known in first.items()
    ]
    for command, flags in options.items():
        lines.append(
            f"complete -c medclip -n __fish_use_subcommand -f -a {command} -d {shlex.quote(commands[command])}"
        )
        for flag, known in flags.items():
            what = f"-l {flag.removeprefix('--')}" + (f" -x -a {shlex.quote(' '.join(known))}" if known else "")
            lines.append(f"complete -c medclip -n '__fish_seen_subcommand_from {command}' {what}")
            lines.append(f"complete -c medclip-{command} {what}")
    return "\n".join(lines) + "\n"
