"""The page in a real browser: films, answers, maps, reports, bad files, many files.

Needs Playwright's package and a Chromium, whose path may be given as CHROMIUM. SCREENSHOTS=FOLDER keeps pictures.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra `serve`")
pytest.importorskip("playwright", reason="needs playwright, which drives a browser")

import uvicorn
from playwright.sync_api import Page, sync_playwright

from medclip.inference.classifier import ZeroShotClassifier
from medclip.inference.index import Index
from medclip.inference.load import load_model
from medclip.runs.search import fingerprint
from medclip.serve.app import create_app
from medclip.serve.service import Service
from medclip.sources.phantom.radiograph import draw_radiograph
from tests.fixtures.dicom import dicom
from tests.fixtures.served import film, settings, write_model

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, or its path as CHROMIUM")]


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    """Returns a folder of three films, one of them DICOM, and a bad file."""
    folder = tmp_path_factory.mktemp("films")
    for number in range(2):
        Image.fromarray(draw_radiograph(3, number, size=256)).save(folder / f"film{number}.png")
    dicom(folder / "film.dcm", draw_radiograph(3, 2, size=256).astype(np.uint16) * 16, PatientName="Secret^Name")
    (folder / "bad.png").write_bytes(b"no film")
    return folder


@pytest.fixture(scope="module")
def address(films, tmp_path_factory) -> Iterator[str]:
    run = tmp_path_factory.mktemp("run")
    model = write_model(run / "model", image_size=96)
    (model / "README.md").write_text(
        "# A model\n\nOf **synthetic** films.\n\n- one\n- two\n\n| a | b |\n| --- | --- |\n| 1 | 2 |"
    )
    paths = [str(films / f"film{number}.png") for number in range(2)]
    embeds = ZeroShotClassifier(*load_model(model, device="cpu")).embed(paths)
    Index(embeds, paths, made_with=fingerprint(model), holds="folder").save(run / "index")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(create_app(Service(settings(run, index=str(run / "index")))), log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser, address: str) -> Iterator[Page]:
    """Returns the page, which must neither complain nor ask anything of another machine."""
    troubles: list[str] = []
    made = browser.new_page(viewport={"width": 1400, "height": 950})
    made.on("console", lambda message: troubles.append(message.text) if is_trouble(message) else None)
    made.on("pageerror", lambda error: troubles.append(str(error)))
    made.on(
        "request",
        lambda asked: None if asked.url.startswith((address, "blob:", "data:")) else troubles.append(asked.url),
    )
    made.goto(address)
    made.wait_for_selector("html[data-ready=true]")
    yield made
    made.close()
    assert troubles == []


def is_trouble(message: Any) -> bool:
    """Tells whether a message of the console is an error; answers such as 404 are the page's to handle."""
    return message.type == "error" and "Failed to load resource" not in message.text


def shoot(page: Page, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def choose(page: Page, *files: Path) -> None:
    page.set_input_files("#files", [str(file) for file in files])
    page.wait_for_function("() => / read in /.test(document.getElementById('status').textContent)")


def drop(page: Page, count: int) -> None:
    """Drops `count` films on the page, as a file manager would."""
    page.evaluate(
        """([bytes, count]) => {
            const data = new DataTransfer();
            for (let i = 0; i < count; i++) data.items.add(new File([new Uint8Array(bytes)], `film${i}.png`));
            document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
        }""",
        [list(film(size=(64, 64))), count],
    )
    page.wait_for_function("() => / read in /.test(document.getElementById('status').textContent)", timeout=120_000)


def saved(page: Page, button: str, folder: Path) -> str:
    with page.expect_download() as download:
        page.click(button)
    download.value.save_as(folder / "saved")
    return (folder / "saved").read_text(encoding="utf-8")


def test_a_film_is_asked_about_and_shows_where(page, films, tmp_path: Path) -> None:
    choose(page, films / "film0.png", films / "film1.png", films / "bad.png")
    assert page.locator("#film-list button").count() == 2
    assert "bad.png: it is none of JPEG, PNG and DICOM" in page.inner_text("#problems")
    page.click("#question button[type=submit]")
    page.wait_for_selector("#answer-table tbody tr")
    assert page.locator("#answer-table tbody tr").count() == 14
    assert "ranking" in page.inner_text("#meaning")
    before = page.evaluate("() => document.getElementById('canvas').toDataURL()")
    page.click("[aria-label='Where is Cardiomegaly?']")
    page.wait_for_selector("#map-tools:not([hidden])")
    page.wait_for_function("(before) => document.getElementById('canvas').toDataURL() !== before", arg=before)
    assert "Cardiomegaly" in page.inner_text("#map-text")
    assert float(page.inner_text("#map-low")) < float(page.inner_text("#map-high"))
    shoot(page, "ask")
    page.fill("#opacity", "0")
    page.wait_for_function("(before) => document.getElementById('canvas').toDataURL() === before", arg=before)
    table = saved(page, "#save-csv", tmp_path).splitlines()
    assert table[0].startswith("file,question,value") and len(table) == 1 + 2 * 14
    assert len(json.loads(saved(page, "#save-json", tmp_path))["films"]) == 2
    with page.expect_download() as download:
        page.click("#save-png")
    download.value.save_as(tmp_path / "film.png")
    with Image.open(tmp_path / "film.png") as picture:
        assert picture.height > 256  # the film, and below it what it is about
    page.wait_for_selector("#nearest li")
    assert page.locator("#nearest li").count() == 2


def test_sentences_of_ones_own_order_the_films(page, films) -> None:
    choose(page, films / "film0.png", films / "film1.png")
    page.fill("#sentences", "There is edema. | No edema.\nThe heart is enlarged.")
    page.click("#question button[type=submit]")
    page.wait_for_selector("#answer-table tbody tr")
    assert page.locator("#answer-table tbody tr").count() == 2
    page.select_option("#order", "The heart is enlarged.")
    values = [float(text.split()[-1]) for text in page.locator("#film-list small").all_inner_texts()]
    assert values == sorted(values, reverse=True)


def test_a_dicom_film_has_a_window_and_no_patient(page, films) -> None:
    choose(page, films / "film.dcm")
    page.wait_for_selector("#window-tools:not([hidden])")
    before = page.evaluate("() => document.getElementById('canvas').toDataURL()")
    page.focus("#window-width")
    for _ in range(5):
        page.keyboard.press("PageDown")
    page.wait_for_function("(before) => document.getElementById('canvas').toDataURL() !== before", arg=before)
    shoot(page, "dicom")
    assert "Secret" not in page.content()
    page.click("#window-reset")
    page.wait_for_function("(before) => document.getElementById('canvas').toDataURL() === before", arg=before)


@pytest.mark.parametrize(("language", "first"), [("en", "Cardiomegaly"), ("zh", "Lung Opacity")])
def test_a_report_is_coloured(page, tmp_path: Path, language: str, first: str) -> None:
    page.click("#tab-read")
    page.click(f"#example-{language}")
    page.wait_for_selector("#findings tbody tr")
    assert first in page.inner_text("#findings tbody")
    for state in ("positive", "negative", "uncertain"):
        assert page.locator(f"#marked mark.{state}").count() > 0
    assert page.locator("#marked .cue").count() > 0 and page.locator("#marked .attribute").count() > 0
    shoot(page, f"read-{language}")
    assert json.loads(saved(page, "#report-fhir", tmp_path))["resourceType"] == "Bundle"


def test_marks_stand_at_the_words_also_after_signs_of_two_halves(page) -> None:
    page.click("#tab-read")
    page.fill("#report", "\U0001f600\U0001f600 The heart is enlarged. <b>No</b> pneumothorax.")
    page.click("#report-form button[type=submit]")
    page.wait_for_selector("#findings tbody tr")
    assert page.locator("#marked mark").first.inner_text().startswith("heart is enlarged")


def test_the_index_is_searched_by_text_and_film(page, films) -> None:
    page.click("#tab-search")
    page.fill("#search-text", "edema")
    page.set_input_files("#search-file", str(films / "film1.png"))
    page.click("#search-form button[type=submit]")
    page.wait_for_selector("#found li")
    assert "film" in page.inner_text("#found li")
    page.wait_for_function(
        "() => [...document.querySelectorAll('#found img')].every((image) => image.naturalWidth > 0)"
    )
    shoot(page, "search")


def test_the_model_and_the_api_describe_themselves(page) -> None:
    page.click("#tab-run")
    page.wait_for_selector("#run h2")
    assert page.locator("#run li").count() == 2 and page.locator("#run td").count() == 2
    page.click("#tab-api")
    page.wait_for_selector("#api h3")
    assert "POST /api/classify" in page.inner_text("#api")
    shoot(page, "api")


def test_two_hundred_films_and_a_service_that_forgot_them(page, address: str) -> None:
    drop(page, 200)
    assert page.locator("#film-list button").count() == 200
    shoot(page, "many")
    ids = page.evaluate("async () => (await import('/static/films.js')).films.map((film) => film.id)")
    page.request.delete(f"{address}api/films", data={"ids": ids[:3]})
    page.click("#question button[type=submit]")
    page.wait_for_selector("#answer-table tbody tr")
    assert "200 films answered" in page.inner_text("#status")
    page.click("#forget")
    page.wait_for_function("() => document.querySelectorAll('#film-list button').length === 0")


def test_the_keyboard_is_enough(page, films) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("() => document.activeElement.id") == "tab-read"
    assert page.is_visible("#panel-read") and not page.is_visible("#panel-ask")
    page.keyboard.press("Home")
    choose(page, films / "film0.png", films / "film1.png")
    page.focus("#film-list button >> nth=0")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.getElementById('film-title').textContent === 'film1.png'")


def test_everything_has_a_name_for_screen_readers(page) -> None:
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, canvas, [role=tabpanel]")]
            .filter((one) => !(one.labels?.length || one.ariaLabel || one.getAttribute("aria-labelledby")))
            .filter((one) => !one.textContent.trim())
            .map((one) => one.outerHTML)"""
    )
    assert unnamed == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_without_scrolling_sideways(browser, address: str, films, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    phone = context.new_page()
    phone.goto(address)
    phone.wait_for_selector("html[data-ready=true]")
    choose(phone, films / "film0.png")
    phone.click("#question button[type=submit]")
    phone.wait_for_selector("#answer-table tbody tr")
    shoot(phone, f"phone-{scheme}")
    for tab in ("ask", "read", "search", "run", "api"):
        phone.click(f"#tab-{tab}")
        phone.wait_for_timeout(200)
        for width in (320, 390):
            phone.set_viewport_size({"width": width, "height": 800})
            assert phone.evaluate("() => document.documentElement.scrollWidth") <= width, (tab, width)
    dark = phone.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(20, 24, 27)") == (scheme == "dark")
    context.close()


def test_a_service_that_ended_is_told(browser, address: str) -> None:
    context = browser.new_context()
    cut = context.new_page()
    cut.goto(address)
    cut.wait_for_selector("html[data-ready=true]")
    context.set_offline(True)
    cut.click("#tab-read")
    cut.click("#example-en")
    cut.wait_for_function("() => document.getElementById('status').textContent.includes('does not answer')")
    context.close()
