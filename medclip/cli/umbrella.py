"""medclip: all commands under one name, and lists of what there is to choose from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from medclip import __version__
from medclip.cli.console import command
from medclip.utils.text import suggest

#: The commands in the order in which one needs them, with what each does.
COMMANDS = {
    "train": "train a model on images and reports, in pairs or not",
    "pretrain": "train an image tower by images alone, to start from",
    "evaluate": "zero-shot classification and more, with intervals and baselines",
    "classify": "what is in these films?",
    "detect": "where in these films? boxes for any phrase",
    "search": "find films by words or films, or texts by films",
    "label": "read reports: observations and their states",
    "serve": "a page in the browser, and an API",
    "benchmark": "published protocols, beside the published numbers",
    "curve": "who needs how much data",
    "prepare": "read tables, decode images and label reports ahead of training",
    "audit": "which patients and images two data sets, or a run and a test set, share",
    "convert": "use published checkpoints of others",
    "export": "a model as ONNX files",
}
LISTS = ("sources", "objectives", "evaluators", "prompts", "vocabularies", "protocols", "towers")
#: Other words for a kind.
_SAME = {"models": "towers"}


def run(argv: list[str]) -> int | None:
    """Runs the command that the first word names."""
    word, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    if word in COMMANDS:
        return import_module(f"medclip.cli.{word}").run(rest)  # type: ignore[no-any-return]
    if word == "--version":
        print(f"medclip {__version__}")
    elif word == "--list":
        return _list(rest)
    elif word == "--completion":
        return _complete(rest)
    elif word in ("--help", "-h", "help"):
        if rest and rest[0] in COMMANDS:
            return run([rest[0], "--help"])
        print(_help())
    else:
        print(
            f"error: there is no command {word!r}.{suggest(word, list(COMMANDS))} Commands: {', '.join(COMMANDS)}.",
            file=sys.stderr,
        )
        return 2
    return 0


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  medclip {name:{width}}  {what}" for name, what in COMMANDS.items()]
    return (
        "usage: medclip COMMAND [options]\n\n" + "\n".join(lines) + "\n\n"
        "Each command explains itself: medclip train --help. Its other name is medclip-train, and so on.\n"
        f"What there is to choose from: medclip --list {'|'.join(LISTS)}\n"
        "Completion in a shell: source <(medclip --completion bash), or zsh; medclip --completion fish | source\n"
        "Research software. Not a medical device."
    )


def _complete(rest: list[str]) -> int:
    """Prints the script by which a shell completes the commands."""
    from medclip.cli.completion import SHELLS, script

    shell = rest[0] if rest else ""
    if shell not in SHELLS:
        return _refused("--completion", shell, SHELLS)
    first = {"--help": (), "--version": (), "--list": LISTS, "--completion": SHELLS}
    print(script(shell, COMMANDS, first), end="")
    return 0


def _list(rest: list[str]) -> int:
    """Prints the names of one kind, a line each."""
    kind = rest[0] if rest else ""
    kind = _SAME.get(kind, kind)
    if kind not in LISTS:
        return _refused("--list", kind, LISTS)
    print(*_names(kind), sep="\n")
    return 0


def _refused(option: str, given: str, known: Sequence[str]) -> int:
    said = f"{option} {given}".strip()
    print(f"error: {said}: choose from {', '.join(known)}.{suggest(given, list(known))}", file=sys.stderr)
    return 2


def _names(kind: str) -> list[str]:
    from medclip.utils.plugins import plugin_names

    if kind in ("sources", "objectives"):
        return plugin_names(kind)
    if kind == "evaluators":
        return plugin_names("evaluation.evaluators")
    if kind == "prompts":
        from medclip.inference.prompts import prompt_set_names

        return prompt_set_names()
    if kind == "vocabularies":
        from labelers.vocabulary import vocabulary_names

        return vocabulary_names()
    if kind == "protocols":
        from medclip.evaluation.protocol import protocol_names

        return protocol_names()
    from medclip.models.config import BUILT_IN_TEXT, BUILT_IN_VISION

    return [
        *(f"--vision {name}" for name in BUILT_IN_VISION), *(f"--text {name}" for name in BUILT_IN_TEXT),
        "--vision torchvision:ARCHITECTURE[:WEIGHTS]", "--vision timm:ARCHITECTURE[.TAG]",
        "--vision PATH or hub id", "--text PATH or hub id",
    ]  # fmt: skip


main = command(run)
