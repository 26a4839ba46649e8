"""medclip-serve: a page in the browser to ask about films, read reports and search."""

from __future__ import annotations

import sys
from pathlib import Path

from medclip.cli.config import read_config
from medclip.cli.console import command, progress_bar, with_threads
from medclip.runs.settings import ServeConfig

_EXAMPLES = """\
examples:
  medclip-serve                                  # a small model of synthetic films, trained at first in a minute or two
  medclip-serve runs/mine --index films.safetensors
  medclip-serve --onnx exported                  # without torch
  medclip-serve runs/mine --host 0.0.0.0         # for other machines, with a token that is printed

The page is at http://127.0.0.1:8765/, its API at /api, described in /api/openapi.json. Films and reports are held in
memory while they are asked about; nothing is written, and nothing that identifies a patient is shown or logged.
Research software. Not a medical device."""


def run(argv: list[str]) -> int:
    """Serves until Ctrl-C."""
    config = read_config(
        ServeConfig, argv, prog="medclip-serve", description="Serve a page and an API.", examples=_EXAMPLES
    )
    from medclip.inference.load import find_model
    from medclip.serve.server import check_packages, serve, with_token

    check_packages()
    if config.model:
        find_model(config.model)  # before torch is imported, which takes seconds
    if config.index and not Path(config.index).is_file():
        raise FileNotFoundError(
            f"There is no index {config.index}. Build it first: medclip-search MODEL --index FILE --images SOURCES"
        )
    config = with_threads(with_token(config))

    def ready(address: str) -> None:
        if config.browser:
            import webbrowser

            webbrowser.open(address)
        print(f"{address}\nCtrl-C ends it. Research software. Not a medical device.", flush=True)

    with progress_bar() as progress:
        serve(config, ready=ready, progress=progress)
    print("Ended.", file=sys.stderr)
    return 0


main = command(run)
