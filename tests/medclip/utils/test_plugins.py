from __future__ import annotations

import subprocess
import sys

import pytest

from medclip.utils.plugins import check_options, load_plugin, plugin_names


def test_names_are_file_names() -> None:
    assert {"phantom", "mimic-reports"} <= set(plugin_names("sources"))
    assert "semantic-matching" in plugin_names("objectives")


def test_names_do_not_wait_for_torch() -> None:
    code = "from medclip.utils.plugins import plugin_names; import sys; "
    code += "plugin_names('objectives'), plugin_names('evaluation.evaluators'); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


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
