from __future__ import annotations

import pytest

from labelers.observations import CHEXPERT14
from labelers.rules import RuleLabeler
from medclip.inference.prompts import load_prompts, prompt_set_names, select_prompts


@pytest.mark.parametrize("name", prompt_set_names())
def test_sets_that_come_with_the_package(name: str) -> None:
    for prompts in load_prompts(name).values():
        assert len(prompts.positive) >= (1 if name in ("chexzero", "there-is", "terse", "misspelt") else 2)
        assert len(set(prompts.positive + prompts.negative)) == len(prompts.positive + prompts.negative)


@pytest.mark.parametrize("chosen", ["chexpert14", "chexpert14-zh"])
def test_every_prompt_says_what_it_is_meant_to_say(chosen: str) -> None:
    labeler, prompts = RuleLabeler(chosen), load_prompts(chosen)
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


def test_names_are_put_into_templates(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    templates = 'templates: {positive: ["There is {}.", "{} is seen."], negative: ["No {}."]}\n'
    path.write_text(templates + "Gout: {names: [gout, tophi]}\nHernia: [A hernia.]\n")
    prompts = load_prompts(path)
    assert prompts["Gout"].positive == ("There is gout.", "gout is seen.", "There is tophi.", "tophi is seen.")
    assert prompts["Gout"].negative == ("No gout.", "No tophi.")
    assert list(prompts) == ["Gout", "Hernia"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "expected a mapping"),
        ("A: {negative: [b]}", "'A' needs 'positive"),
        ("A: {positive: [1]}", "needs a list of texts"),
        ("A: {positive: text}", "needs a list of texts"),
        ("A: {positive: [a], maybe: [b]}", "'A' needs"),
        ("A: {names: [b]}", "needs 'templates"),
        ("templates: {positive: [There is.]}\nA: {names: [b]}", "needs one {} for the name"),
    ],
)
def test_wrong_files(tmp_path, text: str, message: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_prompts(tmp_path / "p.yaml")


def test_unknown_sets_name_the_known() -> None:
    with pytest.raises(FileNotFoundError, match="Did you mean 'chexpert14'"):
        load_prompts("chexpert41")


def test_published_grids_are_read_and_not_run(tmp_path) -> None:
    """Components of the sizes of the published ones must give as many prompts as the official code makes."""
    path = tmp_path / "constants.py"
    sizes = {"Atelectasis": (3, 7, 10), "Cardiomegaly": (1, 15, 1), "Consolidation": (4, 6, 8), "Edema": (6, 3, 1)}
    grids = {
        name: dict(zip(("first", "second", "third"), ([f"w{i}" for i in range(size)] for size in of), strict=True))
        for name, of in sizes.items()
    }
    grids["Pleural Effusion"] = {"how": ["", *"abcde"], "place": ["left", "right", "tiny"], "kind": ["x", "y", "x"]}
    path.write_text(
        f"raise SystemExit('this was run')\nX_CLASS_PROMPTS = {grids!r}\n"
        "COVID_CLASS_PROMPTS = {'COVID': {'word': ['patchy']}}\n"
    )
    prompts = load_prompts(path)
    counts = {name: (len(p.positive), len(set(p.positive))) for name, p in prompts.items()}
    assert counts == {"Atelectasis": (210, 210), "Cardiomegaly": (15, 15), "Consolidation": (192, 192),
                      "Edema": (18, 18), "Pleural Effusion": (54, 36), "COVID-19": (1, 1)}  # fmt: skip
    assert prompts["Pleural Effusion"].positive[:2] == (" left x", " left y")
    both = load_prompts(f"chexpert14,{path}")
    assert both["Edema"] == prompts["Edema"]
    assert both["No Finding"] == load_prompts("chexpert14")["No Finding"]
    path.write_text("PROMPTS = {}\n")
    with pytest.raises(ValueError, match="no dictionary whose name ends in CLASS_PROMPTS"):
        load_prompts(path)
