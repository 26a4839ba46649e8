"""The application: the API, the page's files, and errors as messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from labelers.errors import UserError
from medclip import __version__
from medclip.serve.api import router
from medclip.serve.guard import Guard, is_own_machine
from medclip.serve.service import Service
from medclip.serve.written import evaluations

STATIC = Path(__file__).parent / "static"


def create_app(service: Service) -> Any:
    """Returns the ASGI application of a service, behind its guard."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(_sweep(service))
        yield
        sweeping.cancel()
        service.close()

    # No pages of FastAPI's own: they would fetch scripts from elsewhere.
    app = FastAPI(
        title="MedCLIP", version=__version__, description="Research software. Not a medical device.", lifespan=lifespan,
        openapi_url="/api/openapi.json", docs_url=None, redoc_url=None,
    )  # fmt: skip
    app.state.service = service
    app.include_router(router)
    app.add_exception_handler(UserError, _mistake)
    app.add_exception_handler(FileNotFoundError, _mistake)
    app.add_exception_handler(HTTPException, _refusal)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_api_route("/", _page, include_in_schema=False)
    app.add_api_route("/run/evaluation/{name}", _evaluation, include_in_schema=False, response_model=None)
    app.mount("/static", StaticFiles(directory=STATIC))
    config = service.config
    return Guard(
        app, local=is_own_machine(config.host), token=config.token,
        max_bytes=min(4, config.max_files) * config.max_megabytes * 1_000_000,
    )  # fmt: skip


async def _sweep(service: Service) -> None:
    """Drops idle films, also while nobody asks anything."""
    while True:
        await asyncio.sleep(60)
        service.films.sweep()


def _page() -> FileResponse:
    return FileResponse(STATIC / "index.html")


def _evaluation(request: Request, name: str) -> HTMLResponse:
    """Returns the page of an evaluation, which brings its styles and pictures within it and may do nothing else."""
    page = evaluations(request.app.state.service.run).get(name)
    if page is None:
        raise HTTPException(404, "There is no such evaluation.")
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox"
    return HTMLResponse(page.read_text(encoding="utf-8"), headers={"content-security-policy": policy})


def _mistake(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, status_code=422)


def _refusal(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, status_code=error.status_code)


def _malformed(_: Request, error: Exception) -> JSONResponse:
    """Returns where a request is not as it should be; what was sent is not repeated."""
    assert isinstance(error, RequestValidationError)
    places = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return JSONResponse({"error": f"The request is not as /api/openapi.json says. {places}."}, status_code=422)
