from __future__ import annotations

import pytest

from medclip.utils.plugins import check_options, load_plugin, plugin_names


def test_names_are_file_names() -> None:
    assert {"phantom", "mimic-reports"} <= set(plugin_names("sources"))
    assert "semantic-matching" in plugin_names("objectives")


@pytest.mark.parametrize("name", ["semantic-matching", "semantic_matching"])
def test_either_spelling_finds_it(name: str) -> None:
    assert load_plugin("objectives", name).__name__ == "SemanticMatching"


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no 'chexprt' in sources. Did you mean 'chexpert'\? Known: brax, "):
        load_plugin("sources", "chexprt")


def test_an_unknown_option_suggests_the_nearest() -> None:
    kind = load_plugin("sources", "phantom")
    with pytest.raises(ValueError, match=r"source 'phantom' has no option 'study'. Did you mean 'studies'\?"):
        check_options("source", "phantom", kind, {"study": 3})
