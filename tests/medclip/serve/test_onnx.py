"""The service of an export: the same answers, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")
pytest.importorskip("onnxscript", reason="needs the extra `onnx`")

from tests.fixtures.served import film, write_model

pytestmark = pytest.mark.slow

_ASK = """
import sys
sys.modules["torch"] = None
from fastapi.testclient import TestClient
from medclip.runs.settings import ServeConfig
from medclip.serve.app import create_app
from medclip.serve.service import Service

film = open(sys.argv[2], "rb").read()
with TestClient(create_app(Service(ServeConfig(onnx=sys.argv[1]))), base_url="http://127.0.0.1") as client:
    about = client.get("/api/about").json()
    assert not about["heatmaps"] and not about["search"]
    send = lambda path, **data: client.post("/api/" + path, files=[("files", ("film", film))], data=data).json()
    print(send("classify"))
    print(send("classify", prompts="nih14"))
    print(send("classify", sentences=["edema | no edema", "a fracture"]))
    assert "has no gradients" in send("heatmap", sentence="edema")["error"]
    assert client.post("/api/label", json={"text": "No edema."}).json()["states"]["Edema"] == 0
    assert client.get("/api/run").json() == {"card": "", "evaluations": [], "curves": []}
"""


def test_an_export_answers_as_its_model_without_torch(tmp_path: Path) -> None:
    import ast

    from fastapi.testclient import TestClient

    from medclip.inference.export import export
    from medclip.inference.load import load_model
    from medclip.serve.app import create_app
    from medclip.serve.service import Service
    from tests.fixtures.served import settings

    model = write_model(tmp_path / "model")
    export(*load_model(model, device="cpu"), tmp_path / "exported")
    (tmp_path / "film").write_bytes(film())
    words = [sys.executable, "-c", _ASK, str(tmp_path / "exported"), str(tmp_path / "film")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    questions = ({}, {"prompts": "nih14"}, {"sentences": ["edema | no edema", "a fracture"]})
    with TestClient(create_app(Service(settings(model))), base_url="http://127.0.0.1") as client:
        for line, question in zip(done.stdout.splitlines(), questions, strict=True):
            ours = client.post("/api/classify", files=[("files", ("film", film()))], data=question).json()
            for a, b in zip(ast.literal_eval(line)["films"][0]["answers"], ours["films"][0]["answers"], strict=True):
                assert a == {name: pytest.approx(value, abs=2e-4) for name, value in b.items()}
