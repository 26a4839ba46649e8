"""Starts the service: checks the settings, makes what is missing, listens."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from labelers.errors import UserError
from medclip.runs.settings import ServeConfig
from medclip.serve.guard import is_own_machine
from medclip.utils.extras import install
from medclip.utils.logs import quieten
from medclip.utils.progress import Progress


def check_packages() -> None:
    """Checks that what serves is installed.

    Raises:
        ImportError: It is not; the message says how to install it.
    """
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ImportError(f"Serving needs the extra packages: {install('serve')} ({error})") from error


def with_token(config: ServeConfig) -> ServeConfig:
    """Returns the settings, with a token where other machines can reach the service and none is given."""
    if config.token or is_own_machine(config.host):
        return config
    return replace(config, token=secrets.token_urlsafe(24))


def serve(
    config: ServeConfig, *, ready: Callable[[str], None] = lambda _: None, progress: Progress | None = None
) -> None:
    """Serves until it is interrupted.

    Args:
        config: The settings, after `with_token`.
        ready: Called with the address of the page once it can be opened.
        progress: Called with what is done before.

    Raises:
        ImportError: The packages of the extra are missing.
        UserError: The port is taken, or other machines could reach the service without a token.
        FileNotFoundError: There is no model.
    """
    check_packages()
    if not config.token and not is_own_machine(config.host):
        raise UserError(f"--host {config.host} can be reached by other machines; a token is needed.")
    listening = _listen(config.host, config.port)
    try:
        if not config.onnx:
            quieten()
        from medclip.serve.app import create_app
        from medclip.serve.first_model import with_first_model
        from medclip.serve.service import Service

        config = with_first_model(config, progress=progress)
        app = create_app(Service(config))
        _run(app, listening, lambda: ready(_address(config, listening.getsockname()[1])))
    finally:
        listening.close()


def _listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens, so that a taken port is told before a model is loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise UserError(
            f"--host {host} --port {port}: cannot listen there ({error}). Choose another --port, or 0 for a free one."
        ) from error
    return listening


def _run(app: Any, listening: socket.socket, ready: Callable[[], None]) -> None:
    import uvicorn

    class Server(uvicorn.Server):  # type: ignore[misc]
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

    # No access log: addresses hold the token, and requests are nobody's business.
    settings = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, ws="none", timeout_keep_alive=15,
        timeout_graceful_shutdown=5,
    )  # fmt: skip
    Server(settings).run(sockets=[listening])


def _address(config: ServeConfig, port: int) -> str:
    host = f"[{config.host}]" if ":" in config.host else config.host
    host = socket.gethostname() if host in ("0.0.0.0", "[::]") else host
    return f"http://{host}:{port}/" + (f"?token={config.token}" if config.token else "")
