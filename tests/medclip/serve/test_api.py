"""The service as a program meets it: films in, answers out, and a bad file that ends nothing."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra `serve`")
pytest.importorskip("python_multipart", reason="needs the extra `serve`")
pytest.importorskip("httpx", reason="needs httpx, through which services are tested")

from fastapi.testclient import TestClient

from labelers.errors import UserError
from medclip.inference.classifier import ZeroShotClassifier
from medclip.inference.index import Index
from medclip.inference.load import load_model
from medclip.runs.search import fingerprint
from medclip.serve.app import STATIC, create_app
from medclip.serve.service import Service
from tests.fixtures.dicom import dicom
from tests.fixtures.served import film, settings, write_model

BASE = "http://127.0.0.1:8765"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Returns a run: a model with what is written beside it, and an index of four films."""
    run = tmp_path_factory.mktemp("run")
    model = write_model(run / "model")
    (model / "README.md").write_text("# A model")
    (run / "evaluation" / "phantom").mkdir(parents=True)
    (run / "evaluation" / "phantom" / "report.html").write_text("<h1>Numbers</h1>")
    (run / "logs" / "version_0").mkdir(parents=True)
    (run / "logs" / "version_0" / "metrics.csv").write_text("step,train/loss,valid/auroc\n0,2.0,\n1,1.0,0.5\n2,,0.6\n")
    classifier = ZeroShotClassifier(*load_model(model, device="cpu"))
    for seed in range(4):
        (run / f"film{seed}.png").write_bytes(film(seed))
    paths = [str(run / f"film{seed}.png") for seed in range(4)]
    Index(classifier.embed(paths), paths, made_with=fingerprint(model), holds="folder=/data/secret").save(run / "index")
    return run


@pytest.fixture(scope="module")
def served(folder) -> Iterator[TestClient]:
    service = Service(settings(folder, index=str(folder / "index"), max_files=4, max_megabytes=1, max_megapixels=1))
    with TestClient(create_app(service), base_url=BASE) as client:
        client.service = service  # type: ignore[attr-defined]
        yield client


def sent(*contents: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (f"film{i}", content)) for i, content in enumerate(contents)]


def add(served: TestClient, *contents: bytes) -> list[dict[str, Any]]:
    return served.post("/api/films", files=sent(*contents)).json()["films"]


def test_films_are_answered_as_the_classifier_answers(served, folder) -> None:
    classifier = ZeroShotClassifier(*load_model(folder, device="cpu"))
    said = served.post("/api/classify", files=sent(film(0), film(1)), data={"prompts": "chexpert14"}).json()
    assert said["calibrated"] is False and "ranking" in said["meaning"]
    expected = classifier([folder / "film0.png", folder / "film1.png"])
    for row, (_, values) in zip(said["films"], expected.iterrows(), strict=True):
        assert {one["observation"]: one["value"] for one in row["answers"]} == pytest.approx(values.to_dict(), abs=1e-4)


def test_other_prompt_sets_are_answered_as_the_classifier_answers(served, folder) -> None:
    said = served.post("/api/classify", files=sent(film(0)), data={"prompts": "nih14"}).json()["films"][0]["answers"]
    expected = ZeroShotClassifier(*load_model(folder, device="cpu"), "nih14")([folder / "film0.png"]).iloc[0]
    assert {one["observation"]: one["value"] for one in said} == pytest.approx(expected.to_dict(), abs=1e-4)


def test_a_prompt_file_is_on_offer_by_its_name_and_not_by_where_it_lies(folder, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("Sarcoid: [sarcoid nodes]\n")
    service = Service(settings(folder, prompts=str(tmp_path / "mine.yaml")))
    with TestClient(create_app(service), base_url=BASE) as client:
        assert client.get("/api/about").json()["prompt_sets"][0] == "mine"
        for data in ({}, {"prompts": "mine"}):
            [answer] = client.post("/api/classify", files=sent(film()), data=data).json()["films"][0]["answers"]
            assert answer["observation"] == "Sarcoid"


def test_films_are_held_and_answer_by_id_until_they_are_dropped(served) -> None:
    [row] = add(served, film())
    assert (row["width"], row["height"], row["dicom"]) == (40, 50, False)
    by_id = served.post(
        "/api/classify", data={"film": row["id"], "sentences": ["edema", "the heart | no heart"]}
    ).json()
    by_file = served.post(
        "/api/classify", files=sent(film()), data={"sentences": ["edema", "the heart | no heart"]}
    ).json()
    assert by_id["films"][0]["answers"] == by_file["films"][0]["answers"]
    assert [set(one) for one in by_id["films"][0]["answers"]] == [
        {"sentence", "cosine"},
        {"sentence", "cosine", "share"},
    ]
    assert served.request("DELETE", "/api/films", json={"ids": [row["id"]]}).json() == {"dropped": 1}
    again = served.post("/api/classify", data={"film": row["id"]}).json()["films"][0]
    assert again["missing"] and "Send it again" in again["error"]
    assert served.get(f"/api/films/{row['id']}/image").status_code == 404


def test_a_bad_file_has_an_error_and_the_others_their_answers(served) -> None:
    rows = served.post("/api/classify", files=sent(film(), b"no film", film(1), b"")).json()["films"]
    assert ["answers" in row for row in rows] == [True, False, True, False]
    assert "none of JPEG, PNG and DICOM" in rows[1]["error"] and "empty" in rows[3]["error"]


def test_uploads_are_bounded_in_number_bytes_and_pixels(served) -> None:
    many = served.post("/api/films", files=sent(*[film()] * 5))
    assert many.status_code == 413 and "a request takes 4" in many.json()["error"]
    [large] = add(served, b"\x89PNG\r\n\x1a\n" + bytes(1_000_000))
    assert "more than this service takes, 1" in large["error"]
    file = io.BytesIO()
    Image.new("L", (1100, 1000)).save(file, "PNG")
    [wide] = add(served, file.getvalue())
    assert "1100x1000 pixels" in wide["error"]
    body = served.post("/api/label", content=b"x" * 5_000_000)
    assert body.status_code == 413


def test_a_film_is_shown_as_the_reader_reads_it(served) -> None:
    [row] = add(served, film())
    answer = served.get(f"/api/films/{row['id']}/image")
    with Image.open(io.BytesIO(answer.content)) as shown, Image.open(io.BytesIO(film())) as original:
        assert np.array_equal(np.asarray(shown), np.asarray(original))
    small = served.get(f"/api/films/{row['id']}/image", params={"side": 25})
    with Image.open(io.BytesIO(small.content)) as shown:
        assert shown.size == (20, 25)


def test_dicom_shows_levels_and_no_patient(served, tmp_path: Path, caplog, capfd) -> None:
    values = np.arange(2000, dtype=np.uint16).reshape(50, 40)
    dicom(tmp_path / "film", values, PatientName="Secret^Name", PatientID="S3CRET", WindowCenter=900, WindowWidth=200)
    [row] = add(served, (tmp_path / "film").read_bytes())
    assert row["dicom"] is True
    answer = served.get(f"/api/films/{row['id']}/levels")
    facts = json.loads(answer.headers["x-levels"])
    shown = np.frombuffer(answer.content, dtype="<u2").reshape(facts["height"], facts["width"])
    assert np.allclose(facts["lowest"] + facts["step"] * shown, values, atol=facts["step"])
    everything = json.dumps(row) + answer.headers["x-levels"] + caplog.text + "".join(capfd.readouterr())
    assert "secret" not in everything.lower()
    [png] = add(served, film())
    assert served.get(f"/api/films/{png['id']}/levels").status_code == 422


def test_a_map_is_that_of_the_library(served, folder) -> None:
    from medclip.data.images import fit_square, read_image
    from medclip.inference.heatmap import to_original

    classifier = ZeroShotClassifier(*load_model(folder, device="cpu"))
    image = read_image(folder / "film0.png")
    _, maps = classifier.locate([image], ["Edema"])
    expected = to_original(maps[0, 0], fit_square(image, 36)[1], size=36)
    said = served.post("/api/heatmap", files=sent(film(0)), data={"observation": "Edema"}).json()
    assert (said["low"], said["high"]) == pytest.approx((expected.min(), expected.max()), abs=1e-3)
    drawn = served.post("/api/heatmap", files=sent(film(0)), data={"sentence": "edema", "form": "png"})
    with Image.open(io.BytesIO(drawn.content)) as picture:
        assert (picture.size, picture.mode) == ((40, 50), "RGB")
    large = sent(film(0, size=(600, 480), kind="JPEG"))
    drawn = served.post("/api/heatmap", files=large, data={"sentence": "edema", "form": "png"})
    assert Image.open(io.BytesIO(drawn.content)).size == (480, 600)
    unknown = served.post("/api/heatmap", files=sent(film(0)), data={"observation": "Edemo"})
    assert unknown.status_code == 422 and "no prompts for 'Edemo'" in unknown.json()["error"]


def test_the_index_finds_a_film_itself_by_text_film_or_both(served) -> None:
    found = served.post("/api/search", files=sent(film(2)), data={"k": 2}).json()
    assert found["images"] and len(found["found"]) == 2
    assert (found["found"][0]["name"], found["found"][0]["cosine"]) == ("film2.png", pytest.approx(1.0, abs=1e-3))
    [row] = add(served, film(2))
    both = served.post("/api/search", data={"film": row["id"], "text": "edema"}).json()
    assert len(both["found"]) == 4
    assert "secret" not in json.dumps([both, served.get("/api/about").json()])
    picture = served.get(f"/api/index/{found['found'][0]['row']}/image")
    with Image.open(io.BytesIO(picture.content)) as shown:
        assert shown.size == (40, 50)
    assert served.get("/api/index/4/image").status_code == 422
    assert "neither text nor film" in served.post("/api/search", data={"text": " "}).json()["error"]
    assert "choose 1 to 100" in served.post("/api/search", data={"text": "edema", "k": 0}).json()["error"]


def test_an_index_of_another_model_is_refused(folder, tmp_path: Path) -> None:
    Index(np.eye(2), ["a", "b"], made_with="other").save(tmp_path / "index")
    with pytest.raises(UserError, match="made with another model"):
        Service(settings(folder, index=str(tmp_path / "index")))


def test_reports_are_read_and_given_as_fhir(served) -> None:
    said = served.post("/api/label", json={"text": "No pneumothorax."}).json()
    assert said["states"]["Pneumothorax"] == 0
    bundle = served.post("/api/label", json={"text": "No pneumothorax.", "form": "fhir"})
    assert bundle.headers["content-type"] == "application/fhir+json" and bundle.json()["resourceType"] == "Bundle"


def test_a_malformed_request_is_told_where_and_not_what(served) -> None:
    answer = served.post("/api/label", json={"text": ["Secret report"]})
    assert answer.status_code == 422
    assert "body.text" in answer.json()["error"] and "Secret" not in answer.text
    assert "no prompt set 'etc/passwd'" in served.post(
        "/api/classify", files=sent(film()), data={"prompts": "etc/passwd"}
    ).json()["error"]  # fmt: skip


def test_what_is_written_beside_the_model_is_shown(served) -> None:
    run = served.get("/api/run").json()
    assert (run["card"], run["evaluations"]) == ("# A model", ["phantom"])
    assert {"name": "train/loss", "steps": [0, 1], "values": [2.0, 1.0]} in run["curves"]
    page = served.get("/run/evaluation/phantom")
    assert "Numbers" in page.text and "sandbox" in page.headers["content-security-policy"]
    assert served.get("/run/evaluation/..%2f..%2fmodel").status_code == 404


def test_the_page_fetches_nothing_from_elsewhere(served) -> None:
    assert "MedCLIP" in served.get("/").text
    for path in STATIC.iterdir():
        text = served.get(f"/static/{path.name}").text
        assert "http://" not in text.replace("http://www.w3.org/", "") and "https://" not in text, path.name
        assert ".innerHTML" not in text and "eval(" not in text, path.name
    assert served.get("/docs").status_code == served.get("/redoc").status_code == 404


def test_the_api_describes_itself(served) -> None:
    api = served.get("/api/openapi.json").json()
    assert {"/api/classify", "/api/heatmap", "/api/label", "/api/search", "/api/films"} <= set(api["paths"])
    assert all(
        operation["summary"] and operation["description"]
        for path in api["paths"].values()
        for operation in path.values()
    )


def test_requests_that_come_together_share_a_pass_of_the_model(served) -> None:
    encode = served.service.encode  # type: ignore[attr-defined]
    before = encode.batches, encode.items
    with ThreadPoolExecutor(12) as pool:
        asked = pool.map(lambda seed: served.post("/api/classify", files=sent(film(seed), film(seed + 50))), range(24))
        assert [answer.status_code for answer in asked] == [200] * 24
    assert encode.items - before[1] == 48
    assert encode.batches - before[0] < 48


def test_a_model_of_damaged_weights_is_told(served, monkeypatch) -> None:
    from medclip.serve.films import Encoding

    service = served.service  # type: ignore[attr-defined]

    async def broken(_: np.ndarray) -> Encoding:
        return Encoding(np.full(16, np.nan))

    monkeypatch.setattr(service, "encode", broken)
    assert "computes NaN" in served.post("/api/classify", files=sent(film())).json()["error"]
