"""What every request must pass, and every response carries: the rules that keep other pages and machines out.

A page of another site that the same browser shows can send requests to this machine, and can name it by a host of its
own (DNS rebinding). So the Host must be an address, or a name of this machine; what changes anything must come from
the page itself; and where other machines can reach the service, every request must carry the token.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

COOKIE = "medclip"
_SAFE = ("GET", "HEAD", "OPTIONS")
#: Headers of every response. Scripts and styles are the page's own files; nothing comes from anywhere else.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


def is_own_machine(host: str) -> bool:
    """Tells whether `host` is an address that only this machine can reach."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Middleware that refuses requests, and adds the headers.

    Args:
        app: What answers the requests that pass.
        local: Whether the service listens to this machine only.
        token: Word that every request must carry, as a Bearer token, in the address of the first page, or as the cookie
            that this page sets; "" for none.
        max_bytes: Size of the largest request.
        max_requests: Requests that are answered at once; more are told to come again.
    """

    def __init__(
        self, app: App, *, local: bool = True, token: str = "", max_bytes: int = 1 << 28, max_requests: int = 128
    ) -> None:
        self._app, self._local, self._token = app, local, token
        self._max_bytes, self._max_requests, self._now = max_bytes, max_requests, 0
        self._too_large = f"The request is larger than {max_bytes // 1_000_000} MB. Send fewer files at once."
        self._names = {"localhost", socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # there are no websockets here
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope["method"], headers)
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        if refusal is None and self._token and not self._is_known(headers, given):
            refusal = 401, "This service needs its token. Open the address that medclip-serve printed."
        if refusal is not None:
            await _answer(send, *refusal)
        elif self._token and given and scope["path"] == "/":
            await _remember(send, self._token)
        elif self._now >= self._max_requests:
            await _answer(send, 503, "Too many requests at once. Try again in a moment.", {"retry-after": "2"})
        else:
            self._now += 1
            try:
                await self._pass(scope, receive, send)
            finally:
                self._now -= 1

    def _refusal(self, method: str, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self._is_own(host):
            return 421, "This service answers under its own address only: 127.0.0.1, localhost, or this machine's name."
        own = {f"http://{host}", f"https://{host}"}
        if method not in _SAFE and headers.get("origin", next(iter(own))) not in own:
            return 403, "Only the page of this service may send this."
        if headers.get("sec-fetch-site", "none") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return 403, "Pages of other sites may not ask this service."
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._max_bytes:
            return 413, self._too_large
        return None

    def _is_own(self, host: str) -> bool:
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        name = name.removeprefix("[").removesuffix("]").lower()
        if self._local:
            return is_own_machine(name)
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return True  # a page of another site cannot be at an address of this machine

    def _is_known(self, headers: dict[str, str], given: str) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        words = (headers.get("authorization", "").removeprefix("Bearer "), given, cookie.value if cookie else "")
        return any(hmac.compare_digest(word.encode(), self._token.encode()) for word in words)

    async def _pass(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._max_bytes:
                raise HTTPException(413, self._too_large)
            return message

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                added = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in given]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self._app(scope, counted, guarded)


async def _answer(send: Send, status: int, message: str, more: dict[str, str] | None = None) -> None:
    body = json.dumps({"error": message}).encode()
    headers = HEADERS | {"content-type": "application/json", "content-length": str(len(body))} | (more or {})
    await _send(send, status, headers, body)


async def _remember(send: Send, token: str) -> None:
    """Sends the browser to the page without the token in its address, and lets it keep the token as a cookie."""
    cookie = f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/"
    await _send(send, 303, HEADERS | {"location": "/", "set-cookie": cookie, "content-length": "0"}, b"")


async def _send(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
