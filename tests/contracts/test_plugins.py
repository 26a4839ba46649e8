"""Runs over everything discovered: a new source, objective or evaluator is covered on the day it lands."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from labelers.observations import check_states
from medclip.data.source import Source
from medclip.data.tables import IMAGE_COLUMNS, TEXT_COLUMNS, label_matrix, observations_of
from medclip.utils.plugins import load_plugin, plugin_names
from tests.fixtures.layouts import LAYOUTS, source_of


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Callable[[str], Source]:
    """Returns a source by the name of its layout, which is written once."""

    @cache
    def build(name: str) -> Source:
        if name == "phantom":
            return load_plugin("sources", name)(studies=30, size=32)
        return source_of(name, tmp_path_factory.mktemp("source") / "data")

    return build


def test_every_source_has_a_layout() -> None:
    assert {name.split(",")[0] for name in LAYOUTS} | {"phantom"} == set(plugin_names("sources"))


@pytest.mark.parametrize("name", ["phantom", *LAYOUTS])
def test_sources_give_checked_tables(name: str, built: Callable[[str], Source]) -> None:
    source = built(name)
    has_images, has_texts = (True, True) if name == "phantom" else (LAYOUTS[name].images, LAYOUTS[name].texts)
    images, texts, boxes = source.images(), source.texts(), source.boxes()
    assert (images is not None, texts is not None) == (has_images, has_texts)
    if images is not None:
        assert set(IMAGE_COLUMNS) <= set(images.columns)
        assert images["image_id"].is_unique
        check_states(label_matrix(images, observations_of(images)))
        assert source.draw is not None or all(Path(path).is_file() for path in images["path"])
    if texts is not None:
        assert set(TEXT_COLUMNS) <= set(texts.columns)
        assert texts["text"].map(type).eq(str).all()
    if boxes is not None:
        assert set(boxes["image_id"]) <= set(images["image_id"]) if images is not None else True


@pytest.mark.parametrize("name", ["phantom", *LAYOUTS])
def test_sources_read_the_same_twice(name: str, built: Callable[[str], Source]) -> None:
    source = built(name)
    for read in (source.images, source.texts):
        first, second = read(), read()
        if first is not None and second is not None:
            pd.testing.assert_frame_equal(first, second)


@pytest.mark.parametrize("name", [name for name in plugin_names("sources") if name != "phantom"])
def test_a_missing_source_says_what_where_and_how(name: str, tmp_path: Path) -> None:
    kind = load_plugin("sources", name)
    for path, root in ((str(tmp_path / "nowhere"), None), (None, tmp_path), (None, None)):
        with pytest.raises(FileNotFoundError) as caught:
            kind.locate(path, root)
        message = str(caught.value)
        assert kind.layout in message
        assert kind.obtain in message
        if path is not None:
            assert path in message
        elif kind.folders:
            assert kind.folders[0] in message


@pytest.mark.parametrize("package", ["objectives", "evaluation.evaluators"])
def test_plugins_are_documented_and_take_keywords(package: str) -> None:
    for name in plugin_names(package):
        kind = load_plugin(package, name)
        assert kind.__doc__
        parameters = list(inspect.signature(kind).parameters.values())
        positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert len(positional) <= (0 if package == "objectives" else 1)
