from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")
pytest.importorskip("uvicorn", reason="needs the extra `serve`")
pytest.importorskip("httpx", reason="needs httpx, through which services are tested")

from fastapi.testclient import TestClient

from labelers.errors import UserError
from medclip.cli import serve
from medclip.runs.settings import ServeConfig
from medclip.serve import server
from medclip.serve.first_model import folder as first_folder
from medclip.serve.first_model import with_first_model
from tests.fixtures.served import film, settings, write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("run") / "model").parent


@pytest.fixture
def started(monkeypatch) -> list[Any]:
    """Returns a list that gets the application and the sockets of each server, which is not run."""
    found: list[Any] = []

    def run(self: Any, sockets: list[socket.socket]) -> None:
        found.append((self.config.app, sockets[0].getsockname()))

    monkeypatch.setattr("uvicorn.Server.run", run)
    return found


def test_a_service_listens_to_this_machine_only(folder, started) -> None:
    flags = ["--port", "0", "--device", "cpu", "--prompts", "chexpert14", "--batch-size", "4", "--max-memory", "10"]
    assert serve.run([str(folder), *flags, "--max-files", "2", "--max-megabytes", "1", "--max-megapixels", "2"]) == 0
    [(app, (host, port))] = started
    assert host == "127.0.0.1" and port > 0
    with TestClient(app, base_url=f"http://127.0.0.1:{port}") as client:
        about = client.get("/api/about").json()
        assert (about["limits"]["files"], about["limits"]["megapixels"], about["heatmaps"]) == (2, 2, True)
        assert client.get("/api/about", headers={"host": "other"}).status_code == 421
        said = client.post("/api/classify", files=[("files", ("a", film()))]).json()
        assert len(said["films"][0]["answers"]) == 14


def test_other_machines_need_a_token_which_is_made_where_none_is_given(folder, started, capsys) -> None:
    assert serve.run([str(folder), "--host", "0.0.0.0", "--port", "0", "--device", "cpu"]) == 0
    [(app, (host, _))] = started
    assert host == "0.0.0.0"
    client = TestClient(app, base_url="http://10.0.0.7")
    assert client.get("/api/about").status_code == 401
    made = server.with_token(ServeConfig(host="0.0.0.0"))
    assert len(made.token) >= 32 and made.token != server.with_token(ServeConfig(host="0.0.0.0")).token
    assert server.with_token(ServeConfig()).token == ""
    with pytest.raises(UserError, match="a token is needed"):
        server.serve(ServeConfig(model=str(folder), host="0.0.0.0"))


def test_a_token_that_is_given_counts_here_too(folder, started) -> None:
    token = "abcdefghijklmnop"
    assert serve.run([str(folder), "--token", token, "--port", "0", "--device", "cpu"]) == 0
    client = TestClient(started[0][0], base_url="http://127.0.0.1")
    assert client.get("/api/about").status_code == 401
    assert client.get("/api/about", headers={"authorization": f"Bearer {token}"}).status_code == 200


def test_mistakes_are_told_before_a_model_is_loaded(folder, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("medclip.serve.service.load_classifier", None)
    with pytest.raises(UserError, match="16 or more"):
        serve.run([str(folder), "--token", "short"])
    with pytest.raises(UserError, match="Leave one of them out"):
        serve.run([str(folder), "--onnx", "exported"])
    with pytest.raises(UserError, match="at least 1"):
        serve.run([str(folder), "--max-files", "0"])
    with pytest.raises(FileNotFoundError, match="holds no model"):
        serve.run([str(tmp_path)])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="cannot listen there"):
            serve.run([str(folder), "--port", str(taken.getsockname()[1])])


def test_missing_packages_are_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError, match=r"pip install 'medclip-cxr\[serve\]'"):
        server.check_packages()


def test_the_page_opens_when_it_is_ready(folder, monkeypatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(server, "serve", lambda config, ready, progress: ready("http://127.0.0.1:1/"))
    assert serve.run([str(folder), "--browser"]) == 0
    assert opened == ["http://127.0.0.1:1/"]


def test_a_model_that_is_named_is_taken_as_it_is(folder) -> None:
    config = settings(folder)
    assert with_first_model(config) is config


@pytest.mark.slow
def test_without_a_model_one_is_made_once_and_kept(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = with_first_model(ServeConfig(device="cpu"), steps=4)
    assert Path(config.model).is_relative_to(first_folder()) and Path(config.index).is_file()
    assert (Path(config.model) / "evaluation" / "phantom" / "report.html").is_file()
    monkeypatch.setattr("medclip.runs.train.train", None)
    assert with_first_model(ServeConfig(device="cpu")) == config


@pytest.mark.slow
def test_the_command_serves_until_it_is_interrupted_and_leaves_no_process(folder) -> None:
    words = [sys.executable, "-c", "from medclip.cli.serve import main; main()", str(folder), "--device", "cpu"]
    process = subprocess.Popen([*words, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        head = b'--edge\r\nContent-Disposition: form-data; name="files"; filename="Secret.png"\r\n\r\n'
        kind = {"Content-Type": "multipart/form-data; boundary=edge"}
        asked = urllib.request.Request(f"{address}api/classify", head + film() + b"\r\n--edge--\r\n", kind)
        with urllib.request.urlopen(asked) as answer:
            assert len(json.load(answer)["films"][0]["answers"]) == 14
        process.send_signal(signal.SIGINT)
        assert process.wait(30) in (0, 130)
    finally:
        process.kill()
    said = "".join(process.communicate(timeout=30))  # which waits for whoever holds the pipes, so for all processes
    assert "Secret" not in said and "Traceback" not in said


def test_a_missing_index_is_told_before_a_model_is_loaded(folder, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "medclip.serve.service", None)
    with pytest.raises(FileNotFoundError, match=r"There is no index none\.safetensors\. Build it first"):
        serve.run([str(folder), "--index", "none.safetensors", "--port", "0"])
