"""The examples of public docstrings run, one after the other, in a folder of their own."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import labelers
import medclip

ORDER = [name for name in medclip.__all__ if name != "__version__"]
#: Settings are shown where they are used.
ELSEWHERE = {"TrainConfig", "PretrainConfig", "EvaluateConfig", "PrepareConfig", "CHEXPERT14"}


def examples(name: str, thing: Any) -> list[doctest.DocTest]:
    return [test for test in doctest.DocTestFinder(recurse=False).find(thing, name, globs={}) if test.examples]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("examples"))
        runs_well("train", medclip.train)  # the others ask the model that this example trains
        yield Path.cwd()


def named(names: list[str]) -> list[Any]:
    return [pytest.param(name, marks=[pytest.mark.slow] if name == "OnnxClassifier" else []) for name in names]


@pytest.mark.parametrize("name", named([name for name in ORDER if name not in ELSEWHERE]))
def test_examples_of_medclip(name: str, folder: Path) -> None:
    runs_well(name, getattr(medclip, name))


@pytest.mark.parametrize("name", [name for name in labelers.__all__ if name not in ELSEWHERE])
def test_examples_of_labelers(name: str) -> None:
    runs_well(name, getattr(labelers, name))


def runs_well(name: str, thing: Any) -> None:
    tests = examples(name, thing)
    assert tests, f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    messages: list[str] = []
    assert all(runner.run(test, out=messages.append).failed == 0 for test in tests), "".join(messages)
