"""What the commands share: errors as messages, logging, progress bars and tables."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from labelers.errors import UserError
from medclip.runs.settings.base import Machine
from medclip.utils.logs import start_logging
from medclip.utils.threads import default_threads

if TYPE_CHECKING:
    from medclip.utils.progress import Progress

logger = logging.getLogger(__name__)
T = TypeVar("T", bound=Machine)

#: Mistakes of users and troubles of their machines: shown as a message, not as a traceback.
_EXPECTED = (UserError, OSError, ImportError, MemoryError)


def command(main: Callable[[list[str]], int | None]) -> Callable[[], None]:
    """Returns an entry point that runs `main` with the arguments and ends in an exit code.

    Mistakes of users end with a message and code 2, an interruption with 130. MEDCLIP_DEBUG=1 shows tracebacks.
    """

    @functools.wraps(main)
    def run() -> None:
        start_logging()
        try:
            sys.exit(main(sys.argv[1:]) or 0)
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except _EXPECTED as error:
            if os.environ.get("MEDCLIP_DEBUG"):
                raise
            sys.exit(_fail(str(error)))

    return run


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def format_of(output: str, chosen: str, what: str) -> str:
    """Returns the format to write in: that of the file's name, where it goes into a file.

    Args:
        output: A file, or - for the screen.
        chosen: What --format says; table for nothing.
        what: What is written, for the message.

    Raises:
        UserError: The name is of another format.
    """
    if output == "-":
        return chosen
    named = Path(output).suffix.lower().removeprefix(".")
    if named not in ("csv", "json") or chosen not in ("table", named):
        asked = "" if chosen == "table" else f" with --format {chosen}"
        raise UserError(f"--output {output}{asked}: {what} are written to .csv or .json, as the name says.")
    return named


def with_threads(config: T, *, before: int = 0) -> T:
    """Returns the settings with a number of threads, which is said: where none is given, one less than the cores.

    Args:
        config: The settings; their threads are 0 where nobody chose.
        before: Threads of an interrupted run that is to be resumed; 0 where there is none.
    """
    if config.threads:
        return config
    if before:
        logger.info("Arithmetic takes %d threads, as before the interruption (--threads)", before)
        return replace(config, threads=before)
    count, cores = default_threads()
    logger.info("Arithmetic takes %d thread%s of %d cores (--threads)", count, "s" * (count > 1), cores)
    return replace(config, threads=count)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Yields a function of (what, done, total) that keeps one bar for each thing that is going on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bars:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield report


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Prints a table on standard output."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*map(escape, row))  # brackets of a file name are no markup
    Console(width=None if sys.stdout.isatty() else 120).print(table)
