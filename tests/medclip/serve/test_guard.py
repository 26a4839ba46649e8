from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")
pytest.importorskip("httpx", reason="needs httpx, through which services are tested")

from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from medclip.serve.guard import Guard, is_own_machine

TOKEN = "a-word-that-nobody-guesses"


def client(**options: object) -> TestClient:
    app = FastAPI()

    @app.api_route("/", methods=["GET", "POST"])
    async def answer(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    return TestClient(Guard(app, **options), base_url="http://127.0.0.1:8765", follow_redirects=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost", "LOCALHOST:1", "[::1]:8765", "127.0.0.2"])
def test_this_machine_may_ask(host: str) -> None:
    assert client().get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8765", "192.168.1.4", "", "localhost.evil.example"]
)
def test_another_host_is_refused_because_a_page_elsewhere_may_have_named_it(host: str) -> None:
    answer = client().get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "its own address" in answer.json()["error"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8765"])
def test_what_changes_something_comes_from_the_page_itself(origin: str) -> None:
    asked = client()
    assert asked.post("/", headers={"origin": origin}).status_code == 403
    assert asked.post("/", headers={"origin": "http://127.0.0.1:8765"}).status_code == 200
    assert asked.post("/").status_code == 200  # a program has no origin


def test_pages_of_other_sites_may_not_even_ask() -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client().get("/", headers=headers).status_code == 403
    assert client().get("/", headers=headers | {"sec-fetch-mode": "navigate"}).status_code == 200


def test_every_response_carries_the_headers() -> None:
    for answer in (client().get("/"), client().get("/none"), client().get("/", headers={"host": "evil.example"})):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


WAYS: dict[str, Callable[[], dict[str, object]]] = {
    "bearer": lambda: {"headers": {"authorization": f"Bearer {TOKEN}"}},
    "cookie": lambda: {"headers": {"cookie": f"medclip={TOKEN}"}},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_token_opens(way: str) -> None:
    assert client(token=TOKEN).get("/", **WAYS[way]()).status_code == 200  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer other"}, {"cookie": "medclip=other"}, {"cookie": 'medclip="; ;'}]
)
def test_without_the_token_nothing_is_answered(headers: dict[str, str]) -> None:
    answer = client(token=TOKEN).get("/", headers=headers)
    assert answer.status_code == 401
    assert TOKEN not in answer.text


def test_the_first_page_keeps_the_token_as_a_cookie_and_not_in_its_address() -> None:
    answer = client(token=TOKEN).get(f"/?token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in answer.headers["set-cookie"] and "SameSite=Strict" in answer.headers["set-cookie"]
    assert client(token=TOKEN).get("/?token=other").status_code == 401


def test_other_machines_come_by_address_and_not_by_a_name_that_anyone_can_give() -> None:
    asked = client(local=False, token=TOKEN)
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert asked.get("/", headers=headers | {"host": "10.0.0.7:8765"}).status_code == 200
    assert asked.get("/", headers=headers | {"host": "evil.example"}).status_code == 421


def test_requests_are_bounded_whether_they_say_their_size_or_not() -> None:
    asked = client(max_bytes=100)
    assert asked.post("/", content=b"x" * 100).json() == {"bytes": 100}
    assert asked.post("/", content=b"x" * 101).status_code == 413
    assert asked.post("/", content=(b"x" * 60 for _ in range(2))).status_code == 413
    assert asked.post("/", headers={"content-length": "-1"}, content=b"").status_code == 413


def test_too_many_requests_at_once_are_told_to_come_again() -> None:
    answer = client(max_requests=0).get("/")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


def test_addresses_of_this_machine_are_known() -> None:
    assert all(map(is_own_machine, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_own_machine, ("0.0.0.0", "::", "10.0.0.1", "example.org", "")))
