from __future__ import annotations

import pytest

from labelers.observations import CHEXPERT14
from labelers.rules import RuleLabeler
from medclip.prompts import load_prompts, prompt_set_names, select_prompts


@pytest.mark.parametrize("name", prompt_set_names())
def test_sets_that_come_with_the_package(name: str) -> None:
    for prompts in load_prompts(name).values():
        assert len(prompts.positive) >= 2
        assert len(set(prompts.positive + prompts.negative)) == len(prompts.positive + prompts.negative)


def test_every_prompt_says_what_it_is_meant_to_say() -> None:
    labeler = RuleLabeler()
    prompts = load_prompts("chexpert14")
    assert tuple(prompts) == CHEXPERT14
    for j, (name, sides) in enumerate(prompts.items()):
        assert (labeler(sides.positive)[:, j] == 1).all(), name
        if name != "No Finding":
            assert (labeler(sides.negative)[:, j] == 0).all(), name


def test_a_file_of_ones_own(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("Gout: [Gout., Tophi.]\nHernia: {positive: [Hernia.], negative: [No hernia.]}\n")
    prompts = load_prompts(path)
    assert prompts["Gout"].positive == ("Gout.", "Tophi.")
    assert list(select_prompts(prompts, ["Hernia", "Edema"])) == ["Hernia"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "expected a mapping"),
        ("A: {negative: [b]}", "'A' needs 'positive"),
        ("A: {positive: [1]}", "must be a text"),
        ("A: {positive: [a], maybe: [b]}", "'A' needs"),
    ],
)
def test_wrong_files(tmp_path, text: str, message: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_prompts(tmp_path / "p.yaml")


def test_unknown_sets_name_the_known() -> None:
    with pytest.raises(FileNotFoundError, match="Did you mean 'chexpert14'"):
        load_prompts("chexpert41")
