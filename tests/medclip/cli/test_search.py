from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medclip.cli import search
from medclip.cli.config import read_config
from medclip.inference.index import Index
from medclip.runs.search import fingerprint
from medclip.runs.settings import SearchConfig
from medclip.sources.phantom.radiograph import draw_radiograph
from tests.fixtures import runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert runs.train(folder / "run", projection_dim=8, steps=2) == 0
    return folder


def ask(folder: Path, *more: str) -> int:
    return search.run([str(folder / "run"), "--prepared", str(folder / "p"), "--device", "cpu", *more])


def test_an_index_of_images_is_built_once_and_finds_an_image_itself(folder, capsys, monkeypatch) -> None:
    index = str(folder / "films.safetensors")
    assert ask(folder, "--index", index, "--images", "phantom") == 0
    assert "120 embeddings" in capsys.readouterr().out
    monkeypatch.setattr("medclip.runs.search.prepare_sources", None)
    film = folder / "film.png"
    Image.fromarray(draw_radiograph(0, 17, size=32)).save(film)
    assert ask(folder, str(film), "The heart is enlarged.", "--index", index, "--k", "3", "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found[str(film)][0] == {"cosine": pytest.approx(1.0, abs=1e-3), "found": "phantom-0-32-17"}
    both = [str(film), "without the effusion"]
    for weight, same in (("0", True), ("50", False)):  # the film alone, or hardly the film
        assert ask(folder, *both, "--compose", "--text_weight", weight, "--index", index, "--format", "json") == 0
        nearest = json.loads(capsys.readouterr().out)[" ".join(both)][0]
        assert (nearest["cosine"] == pytest.approx(1.0, abs=1e-3)) == same
    assert len(found["The heart is enlarged."]) == 3
    cosines = [answer["cosine"] for answer in found["The heart is enlarged."]]
    assert cosines == sorted(cosines, reverse=True)


def test_films_without_labels_or_reports_can_be_searched(folder, tmp_path, capsys) -> None:
    for number in range(2):
        Image.fromarray(draw_radiograph(0, number, size=32)).save(tmp_path / f"{number}.png")
    assert ask(folder, "--index", str(tmp_path / "plain.safetensors"), "--images", f"folder={tmp_path}") == 0
    assert "2 embeddings" in capsys.readouterr().out


def test_a_missing_index_is_told_before_a_model_is_loaded(folder, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "medclip.runs.search", None)
    with pytest.raises(FileNotFoundError, match=r"There is no index .*none\.safetensors\. Say what it is to hold"):
        ask(folder, "--index", str(folder / "none.safetensors"), "effusion")


def test_a_page_shows_what_was_found(folder, tmp_path, capsys) -> None:
    index, page = str(folder / "page.safetensors"), tmp_path / "found.html"
    assert ask(folder, "--index", index, "--images", "phantom") == 0
    assert ask(folder, "A <b>large</b> effusion.", "--index", index, "--k", "7", "--html", str(page)) == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == 1
    assert text.count("phantom-0-32-") == 7
    assert "A &lt;b&gt;large&lt;/b&gt; effusion." in text
    assert "http" not in text.replace("http-equiv", "")
    with pytest.raises(ValueError, match="--html shows what is found"):
        ask(folder, "--index", index, "--html", str(page))


def test_an_index_of_sentences_finds_a_sentence_itself(folder, capsys) -> None:
    index = folder / "sentences.safetensors"
    assert ask(folder, "--index", str(index), "--texts", "phantom") == 0
    capsys.readouterr()
    sentence = Index.load(index).names[3]
    assert ask(folder, sentence, "--index", str(index)) == 0
    assert sentence.split()[0] in capsys.readouterr().out


def test_an_index_of_another_model_is_refused(folder, tmp_path) -> None:
    index = Index(np.eye(8, dtype=np.float32), list("abcdefgh"), made_with="another")
    index.save(tmp_path / "index.safetensors")
    with pytest.raises(ValueError, match="made with another model"):
        ask(folder, "Edema.", "--index", str(tmp_path / "index.safetensors"))


def test_what_is_missing_is_said(folder, tmp_path) -> None:
    with pytest.raises(ValueError, match="Which index"):
        ask(folder, "Edema.")
    with pytest.raises(FileNotFoundError, match="Say what it is to hold"):
        ask(folder, "Edema.", "--index", str(tmp_path / "none.safetensors"))
    with pytest.raises(ValueError, match="holds images or sentences"):
        ask(folder, "--index", str(tmp_path / "i"), "--images", "phantom", "--texts", "phantom")
    shutil.copytree(folder / "run" / "model", tmp_path / "model")
    assert fingerprint(tmp_path / "model") == fingerprint(folder / "run" / "model")


def test_words_may_stand_before_and_after_options() -> None:
    before, after = (
        read_config(SearchConfig, words, prog="medclip-search", description="")
        for words in (["run", "a b", "--k", "3", "--index", "i"], ["--k", "3", "run", "--index=i", "a b"])
    )
    assert before == after
    assert (before.model, before.queries, before.k, before.index) == ("run", ["a b"], 3, "i")
