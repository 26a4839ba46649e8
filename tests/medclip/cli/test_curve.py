from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from medclip.cli import curve
from medclip.runs import train as runs_train
from medclip.runs.curve import published_points
from medclip.runs.curve_plan import plan_curve
from medclip.runs.settings import CurveConfig

ROOT = Path(__file__).parents[3]


def test_a_curve_is_drawn_and_goes_on_where_it_was(tmp_path, capsys, monkeypatch) -> None:
    recipe = {"images": "phantom", "texts": "phantom",
              "source_options": {"phantom": {"studies": 160, "size": 32}}, "image_size": 32, "cache_size": 32,
              "projection_dim": 16, "batch_images": 16, "batch_texts": 16, "steps": 4, "evaluate_every": 2,
              "workers": 0, "threads": 1, "prepared": str(tmp_path / "p"), "accelerator": "cpu"}  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    arms = "{plain: {objective: semantic-matching}, sharp: {objective_options: {target_temperature: 0.1}}}"
    arguments = ["--recipe", str(tmp_path / "recipe.yaml"), "--sizes", "40,80", "--seeds", "1", "--resamples", "0",
                 "--arms", arms, "--output", str(tmp_path / "curve"), "--budget", "epochs", "--metrics",
                 "auroc/mean"]  # fmt: skip
    assert curve.run([*arguments, "--point", "3"]) == 0
    assert sorted(path.name for path in (tmp_path / "curve" / "points").iterdir()) == ["sharp-80-0"]
    trained = []
    original = runs_train.train
    monkeypatch.setattr(runs_train, "train", lambda *a, **k: trained.append(a) or original(*a, **k))
    assert curve.run(arguments) == 0
    assert len(trained) == 3
    assert curve.run(arguments) == 0
    assert len(trained) == 3
    table = pd.read_csv(tmp_path / "curve" / "curve.csv")
    assert len(table.query("metric == 'auroc/mean'")) == 4
    assert (tmp_path / "curve" / "curve.png").stat().st_size > 5000
    assert "not shown to be better than chance" in capsys.readouterr().out
    saved = yaml.safe_load((tmp_path / "curve" / "points" / "plain-40-0" / "config.yaml").read_text())
    assert (saved["limit"], saved["steps"]) == (40, 2)
    assert curve.run([*arguments, "--list"]) == 0
    assert capsys.readouterr().out.count("done") == 4
    assert curve.run([*arguments, "--workers", "1"]) == 0  # where it runs changes nothing
    with pytest.raises(ValueError, match=r"other settings \(curve.split\)"):
        curve.run([*arguments, "--split", "valid"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--sizes", "many"], "no number of samples"),
        (["--objectives", "clop"], "Did you mean 'clip'"),
        (["--arms", "{a: {objectiv: clip}}"], "Did you mean 'objective'"),
        (["--point", "99", "--budget", "epochs"], "points 0 to 35"),
        ([], "Which training"),
        (["--images", "phantom"], "'semantic-matching' has none. Write steps into the recipe"),
        (
            ["--objectives", "semantic-matching,clip", "--budget", "epochs", "--images", "phantom"],
            "clip needs images and reports of the same studies",
        ),
    ],
)
def test_curve_settings_are_checked(flags: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        curve.run(flags)


def test_published_numbers_are_drawn_on_their_own_test_set_only() -> None:
    def markers_on(on: str) -> dict[str, list[tuple[str, float, float]]]:
        return published_points(plan_curve(CurveConfig(published="medclip-2022", on=on, budget="epochs")))

    markers = markers_on("chexpert-5x200=/data/chexpert")["draws/accuracy"]
    assert ("MedCLIP-ViT, ensemble", 570000, 0.5942) in markers
    assert not markers_on("phantom")


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("objectives", "4,000"),
        ("matching", "4,000"),
        ("claim-labels", "20,000"),
        ("claim-labels-rivals", "20,000"),
        ("partial-labels", "4,500"),
    ],
)
def test_every_comparison_is_valid(name: str, size: str, monkeypatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    assert curve.run(["--config", f"benchmarks/{name}.yaml", "--list"]) == 0
    assert size in capsys.readouterr().out


def test_a_search_chooses_on_another_seed_and_is_frozen(tmp_path, capsys, monkeypatch) -> None:
    recipe = {"images": "phantom", "source_options": {"phantom": {"studies": 160, "size": 32, "paired": True}},
              "image_size": 32, "cache_size": 32, "projection_dim": 16, "batch_images": 16, "batch_texts": 16,
              "steps": 4, "evaluate_every": 2, "workers": 0, "threads": 1, "prepared": str(tmp_path / "p"),
              "accelerator": "cpu"}  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    arms = """
      pairs: {objective: clip, search: {pair_text: [report], learning_rate: [1.0e-3, 1.0e-2, 2.0e-2]}}
      labels: {supervised: true, search: {learning_rate: [1.0e-3, 1.0e-2]}}
      fixed: {objective_options: {target_temperature: 0.1}}
    """
    arguments = ["--recipe", str(tmp_path / "recipe.yaml"), "--sizes", "60", "--seeds", "1", "--resamples", "0",
                 "--arms", yaml.safe_dump(yaml.safe_load(arms)), "--trials", "2", "--search_size", "40",
                 "--search_settings", "{steps: 2}", "--output", str(tmp_path / "c"), "--metrics",
                 "auroc/mean"]  # fmt: skip
    with pytest.raises(ValueError, match="4 of 4 trials of the search are not done"):
        curve.run([*arguments, "--point", "0"])
    assert curve.run(arguments) == 0
    table = pd.read_csv(tmp_path / "c" / "search.csv")
    assert table.groupby("arm")["chosen"].sum().to_dict() == {"labels": 1, "pairs": 1}
    for arm in ("pairs", "labels"):
        part = table[table["arm"] == arm]
        choice = json.loads(part.loc[part["chosen"], "choice"].iloc[0])
        assert part.loc[part["chosen"], "valid"].iloc[0] == part["valid"].max()
        saved = yaml.safe_load((tmp_path / "c" / "points" / f"{arm}-60-0" / "config.yaml").read_text())
        assert saved["learning_rate"] == choice["learning_rate"]
        assert (saved["steps"], saved["limit"], saved["limit_seed"]) == (4, 60, 0)
    trial = json.loads((tmp_path / "c" / "search" / "pairs-0" / "trial.json").read_text())["settings"]
    assert (trial["steps"], trial["limit"], trial["limit_seed"]) == (2, 40, 99)
    assert set(pd.read_csv(tmp_path / "c" / "curve.csv")["arm"]) == {"pairs", "labels", "fixed"}
    monkeypatch.setattr(runs_train, "train", None)  # nothing is trained again
    assert curve.run(arguments) == 0
    with pytest.raises(ValueError, match="made with other settings"):
        curve.run([*arguments[:-6], "--search_settings", "{steps: 3}", *arguments[-4:]])


@pytest.mark.parametrize(
    ("arms", "message"),
    [("{a: {search: {learning_rate: 1}}}", "needs a list"), ("{a: {search: {lerning_rate: [1]}}}", "'learning_rate'")],
)
def test_a_search_is_checked(arms: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_curve(CurveConfig(arms=yaml.safe_load(arms), trials=2, budget="epochs"))


def test_a_trial_that_diverges_is_the_worst_and_all_of_them_are_an_error(tmp_path, monkeypatch) -> None:
    from medclip.training.health import Diverged

    recipe = {"images": "phantom", "source_options": {"phantom": {"studies": 120, "size": 32}}, "steps": 2,
              "image_size": 32, "cache_size": 32, "projection_dim": 16, "prepared": str(tmp_path / "p"),
              "evaluate_every": 1, "workers": 0, "accelerator": "cpu"}  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    original = runs_train.train

    def train(config, **options):
        if config.learning_rate > 1:
            raise Diverged("too fast")
        return original(config, **options)

    monkeypatch.setattr(runs_train, "train", train)
    arguments = ["--recipe", str(tmp_path / "recipe.yaml"), "--sizes", "40", "--seeds", "1", "--resamples", "0",
                 "--trials", "2", "--search_size", "40", "--metrics", "auroc/mean"]  # fmt: skip
    arms = "{a: {search: {learning_rate: [5.0, 1.0e-3]}}}"
    assert curve.run([*arguments, "--arms", arms, "--output", str(tmp_path / "c")]) == 0
    saved = yaml.safe_load((tmp_path / "c" / "points" / "a-40-0" / "config.yaml").read_text())
    assert saved["learning_rate"] == 1e-3
    arms = "{a: {search: {learning_rate: [5.0, 6.0]}}}"
    with pytest.raises(ValueError, match="No trial of 'a' has a validation score"):
        curve.run([*arguments, "--arms", arms, "--output", str(tmp_path / "d")])


def test_nothing_is_reported_on_the_split_that_chose() -> None:
    with pytest.raises(ValueError, match="--trials chooses on the valid split"):
        CurveConfig(trials=2, split="valid")


def test_a_search_has_a_seed_of_its_own() -> None:
    with pytest.raises(ValueError, match="search-seed 2"):
        CurveConfig(trials=2, search_seed=2)
