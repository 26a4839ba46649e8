from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from medclip.config import read_config
from medclip.settings import CurveConfig, TrainConfig

from medclip.cli import curve, evaluate, label, prepare, search, train
from medclip.cli.console import command
from medclip.data.cache import PixelCache
from medclip.data.transforms import augmentation_from
from medclip.utils.plugins import check_options, load_plugin
from tests.fixtures import layouts

ROOT = Path(__file__).parents[3]
COMMANDS = {"medclip-train": train, "medclip-evaluate": evaluate, "medclip-prepare": prepare, "medclip-label": label,
            "medclip-curve": curve, "medclip-search": search}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches(name: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        COMMANDS[name].run(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert f"usage: {name}" in text


def test_help_and_import_do_not_load_torch() -> None:
    code = (
        "import sys, medclip, medclip.cli.train as t\n"
        "try: t.run(['--help'])\nexcept SystemExit: assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_names_the_nearest(name: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        COMMANDS[name].run(["--worker", "2"])
    assert stopped.value.code == 2
    assert "unknown option --worker. Did you mean --workers?" in capsys.readouterr().err


def test_an_unknown_key_names_the_nearest(tmp_path, capsys) -> None:
    (tmp_path / "c.yaml").write_text("learning_rat: 1\n")
    with pytest.raises(SystemExit):
        train.run(["--config", str(tmp_path / "c.yaml")])
    assert "unknown key 'learning_rat'. Did you mean 'learning_rate'?" in capsys.readouterr().err


def test_without_its_data_training_ends_at_once_and_teaches(tmp_path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        train.run(["--images", "chexpert", "--texts", "mimic-reports", "--data-root", str(tmp_path)])
    message = str(caught.value)
    for part in ("Source 'chexpert' was not found", str(tmp_path / "CheXpert-v1.0"), "train.csv", "Agreement"):
        assert part in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--objective", "clipp"], "no 'clipp' in objectives"),
        (["--objective-options.similarty", "dot"], "Did you mean 'similarity'"),
        (["--uncertain", "maybe"], "zero, one, ignore, soft"),
        (["--prompts", "foo"], "no prompt set 'foo'"),
        (["--augmentation.crops", "1"], "no augmentation 'crops'"),
        (["--batch-images", "0"], "--batch-images 0: must be at least 1"),
        (["--steps", "-5"], "--steps -5: must be at least 0"),
        (["--epochs", "0"], "must be above 0"),
        (["--resume", "no.ckpt"], "no such checkpoint"),
    ],
)
def test_wrong_settings_end_before_any_work(tmp_path, arguments: list[str], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train.run([*arguments, "--prepared", str(tmp_path / "p"), "--output", str(tmp_path / "run")])
    assert not list(tmp_path.iterdir())


def test_mistakes_end_with_a_message_and_code_2(capsys, monkeypatch) -> None:
    def fail(argv: list[str]) -> int:
        raise ValueError("found x, expected y")

    monkeypatch.setattr(sys, "argv", ["medclip-x"])
    with pytest.raises(SystemExit) as stopped:
        command(fail)()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: found x, expected y\n"


def test_prepare_prints_what_there_is(tmp_path, capsys) -> None:
    root = layouts.openi(tmp_path / "openi")
    arguments = [
        "--images",
        f"openi={root}",
        "--texts",
        f"openi={root}",
        "--prepared",
        str(tmp_path / "p"),
        "--cache-size",
        "16",
    ]
    assert prepare.run(arguments) == 0
    assert "sentences" in capsys.readouterr().out
    with pytest.raises(ValueError, match="Nothing to prepare"):
        prepare.run([])


@pytest.mark.parametrize(
    ("images", "texts"),
    [("chexpert", "mimic-reports"), ("nih", "openi"), ("csv", "openi"), ("nih,chexpert", "openi,mimic-reports"),
     ("mimic-cxr", "mimic-reports"), ("chexpert, plus", "chexpert, plus")],
)  # fmt: skip
def test_from_official_layouts_to_a_result(tmp_path, images: str, texts: str) -> None:
    def spec(names: str) -> str:
        return ",".join(map(place, [names] if ", " in names else names.split(",")))

    def place(name: str) -> str:
        folder = tmp_path / "data" / name.replace(", ", "-")
        source = name.split(",", maxsplit=1)[0]
        return f"{source}={folder if folder.exists() else layouts.LAYOUTS[name].write(folder)}"

    images, shared = spec(images), tmp_path / "p"
    small = [
        "--image-size",
        "32",
        "--cache-size",
        "32",
        "--projection-dim",
        "8",
        "--batch-images",
        "4",
        "--batch-texts",
        "4",
    ]
    small += ["--steps", "2", "--evaluate-every", "2", "--workers", "0", "--accelerator", "cpu", "--threads", "1"]
    data = ["--images", images, "--texts", spec(texts), "--prepared", str(shared), "--split-seed", "4"]
    assert train.run([*data, *small, "--output", str(tmp_path / "run")]) == 0
    arguments = [
        str(tmp_path / "run"),
        "--on",
        images,
        "--prepared",
        str(shared),
        "--resamples",
        "20",
        "--device",
        "cpu",
    ]
    assert evaluate.run([*arguments, "--split", "train", "--baselines", "untrained"]) == 0
    result = json.loads((tmp_path / "run" / "evaluation" / "metrics.json").read_text())
    assert set(result) >= {"split", "images", "patients", "model", "untrained", "how"}
    assert "auroc/mean" in result["model"]["zero-shot"]
    assert {"model-zero_shot.csv", "report.html"} <= {path.name for path in (tmp_path / "run" / "evaluation").iterdir()}


def test_evaluating_nothing_says_what_is_expected(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no model"):
        evaluate.run([str(tmp_path)])
    with pytest.raises(ValueError, match="Which model"):
        evaluate.run([])
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="choose from untrained, supervised"):
        evaluate.run([str(tmp_path), "--baselines", "best"])


REPORTS = pd.DataFrame(
    {
        "study_id": ["a", "b"],
        "findings": ["The heart is enlarged.", ""],
        "impression": ["No effusion.", "Possible pneumonia."],
    }
)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_labels_of_a_table(tmp_path, kind: str) -> None:
    write = REPORTS.to_csv if kind == "csv" else REPORTS.to_parquet
    write(tmp_path / f"r.{kind}", index=False)
    output, sentences = tmp_path / f"labels.{kind}", tmp_path / "sentences.csv"
    assert label.run([str(tmp_path / f"r.{kind}"), "--output", str(output), "--sentences", str(sentences)]) == 0
    table = (pd.read_csv if kind == "csv" else pd.read_parquet)(output).set_index("id")
    assert table.loc["a", "Cardiomegaly"] == 1
    assert table.loc["a", "Pleural Effusion"] == 0
    assert table.loc["b", "Pneumonia"] == -1
    assert pd.isna(table.loc["b", "Edema"])
    assert pd.read_csv(sentences)["text"].tolist() == ["The heart is enlarged.", "No effusion.", "Possible pneumonia."]


def test_labels_of_a_folder_and_of_stdin(tmp_path, capsys, monkeypatch) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "s1.txt").write_text("FINDINGS: No effusion.")
    assert label.run([str(tmp_path / "in"), "--output", str(tmp_path / "l.csv"), "--workers", "2"]) == 0
    assert pd.read_csv(tmp_path / "l.csv")["id"].tolist() == ["s1"]
    assert "effusion." not in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.StringIO("No effusion.\n\nEdema.\n"))
    assert label.run(["-"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("line3,")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv"], "There is no nowhere.csv"),
        (["r.csv", "--text-column", "finding"], "Did you mean 'findings'"),
        (["r.csv", "--id-column", "uid"], "no column 'uid'"),
        (["r.json"], r"r\.json is no \.csv, \.parquet or \.jsonl"),
        (["r.csv", "--labeler", "chexbert"], "checkpoint was not found"),
        (["r.csv", "--sentences", "s.csv"], "needs --output"),
        (["r.csv", "--score", "r.csv"], "shares 2 ids"),
        (["empty"], "no .txt files"),
    ],
)
def test_labelling_says_what_is_wrong(tmp_path, monkeypatch, arguments: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    REPORTS.to_csv("r.csv", index=False)
    (tmp_path / "r.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        label.run(arguments)


def many(count: int) -> pd.DataFrame:
    texts = ["The heart is enlarged, 1.", "No effusion.\n", 'Possible "pneumonia".', ""]
    return pd.DataFrame({"id": [f"r{i}" for i in range(count)], "text": [texts[i % 4] for i in range(count)]})


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_labelling_that_was_killed_goes_on(tmp_path, monkeypatch, kind: str) -> None:
    many(3500).to_csv(tmp_path / "r.csv", index=False)

    def arguments(name: str) -> list[str]:
        files = [str(tmp_path / f"{name}.{kind}"), "--sentences", str(tmp_path / f"{name}-s.{kind}")]
        return [str(tmp_path / "r.csv"), "--output", *files]

    assert label.run(arguments("whole")) == 0
    usual, calls = label._label, []

    def killed(*job: object) -> object:
        calls.append(job)
        if len(calls) == 3:
            raise MemoryError
        return usual(*job)

    with monkeypatch.context() as patched:
        patched.setattr(label, "_label", killed)
        with pytest.raises(MemoryError):
            label.run(arguments("cut"))
    with (tmp_path / f"cut.{kind}.part").open("a") as part:
        part.write("half a li")  # what a kill in the middle of a write leaves
    assert not (tmp_path / f"cut.{kind}").exists()
    calls.clear()
    monkeypatch.setattr(label, "_label", lambda *job: (calls.append(job), usual(*job))[1])
    assert label.run(arguments("cut")) == 0
    assert len(calls) == 2
    for name in ("", "-s"):
        whole, cut = ((tmp_path / f"{run}{name}.{kind}").read_bytes() for run in ("whole", "cut"))
        assert whole == cut
    assert not list(tmp_path.glob("*.part*"))


def test_workers_do_not_change_the_labels(tmp_path) -> None:
    many(2500).to_csv(tmp_path / "r.csv", index=False)
    for workers in ("1", "2"):
        assert (
            label.run([str(tmp_path / "r.csv"), "--output", str(tmp_path / f"{workers}.csv"), "--workers", workers])
            == 0
        )
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()
    assert len(pd.read_csv(tmp_path / "1.csv")) == 2500


def test_scores_against_gold_and_agreement(tmp_path, capsys) -> None:
    root = layouts.openi(tmp_path / "openi")
    gold = pd.DataFrame({"id": [f"CXR{i}" for i in range(1, 7)], "Cardiomegaly": [0, 0, 0, 1, 0, 0], "Hernia": 0})
    gold.to_csv(tmp_path / "gold.csv", index=False)
    arguments = [f"openi={root}", "--vocabulary", "nih14", "--score", str(tmp_path / "gold.csv")]
    assert label.run([*arguments, "--output", str(tmp_path / "scores.csv")]) == 0
    scores = pd.read_csv(tmp_path / "scores.csv").set_index("observation")
    assert scores.loc["Cardiomegaly", ["precision", "recall", "f1"]].tolist() == [1, 1, 1]
    assert "Hernia" not in scores.index
    assert label.run([f"openi={root}", "--vocabulary", "nih14", "--compare", str(tmp_path / "gold.csv")]) == 0
    assert "kappa" in capsys.readouterr().out


def test_explanations(tmp_path, capsys) -> None:
    (tmp_path / "report.txt").write_text("The heart is enlarged.")
    assert label.run(["--explain", str(tmp_path / "report.txt")]) == 0
    assert "Cardiomegaly" in capsys.readouterr().out
    assert label.run(["--explain", str(tmp_path / "report.txt"), "--output", str(tmp_path / "page.html")]) == 0
    assert "<mark" in (tmp_path / "page.html").read_text()


@pytest.mark.slow
def test_a_run_killed_by_the_system_goes_on_and_ends_the_same(tmp_path) -> None:
    """SIGKILL half-way, then the same command again; beside a run that was left alone."""
    code = "from medclip.cli.train import main; main()"
    arguments = ["--source-options", "{phantom: {studies: 400, size: 32}}", "--image-size", "32", "--cache-size", "32",
                 "--steps", "40", "--evaluate-every", "5", "--workers", "1", "--threads", "1", "--accelerator", "cpu",
                 "--prepared", str(tmp_path / "p")]  # fmt: skip
    base = [sys.executable, "-c", code, *arguments]
    assert (
        subprocess.run([*base, "--output", str(tmp_path / "whole")], check=False, capture_output=True).returncode == 0
    )
    process = subprocess.Popen([*base, "--output", str(tmp_path / "cut")])
    while not (tmp_path / "cut" / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not (tmp_path / "cut" / "metrics.json").exists()
    assert subprocess.run([*base, "--output", str(tmp_path / "cut")], check=False, capture_output=True).returncode == 0
    whole, cut = ((tmp_path / name / "metrics.json").read_text() for name in ("whole", "cut"))
    assert whole == cut


def test_a_curve_is_drawn_and_goes_on_where_it_was(tmp_path, capsys, monkeypatch) -> None:
    recipe = {"source_options": {"phantom": {"studies": 160, "size": 32}}, "image_size": 32, "cache_size": 32,
              "projection_dim": 16, "batch_images": 16, "batch_texts": 16, "steps": 4, "evaluate_every": 2,
              "workers": 0, "prepared": str(tmp_path / "p"), "accelerator": "cpu"}  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    arms = "{plain: {objective: semantic-matching}, sharp: {objective_options: {target_temperature: 0.1}}}"
    arguments = ["--recipe", str(tmp_path / "recipe.yaml"), "--sizes", "40,80", "--seeds", "1", "--resamples", "0",
                 "--arms", arms, "--output", str(tmp_path / "curve"), "--budget", "epochs"]  # fmt: skip
    assert curve.run([*arguments, "--point", "3"]) == 0
    assert sorted(path.name for path in (tmp_path / "curve" / "points").iterdir()) == ["sharp-80-0"]
    trained = []
    original = train.run
    monkeypatch.setattr(train, "run", lambda argv: trained.append(argv) or original(argv))
    assert curve.run(arguments) == 0
    assert len(trained) == 3
    assert curve.run(arguments) == 0
    assert len(trained) == 3
    table = pd.read_csv(tmp_path / "curve" / "curve.csv")
    assert len(table.query("metric == 'auroc/mean'")) == 4
    assert (tmp_path / "curve" / "curve.png").stat().st_size > 5000
    assert "best auroc/mean" in capsys.readouterr().out
    saved = yaml.safe_load((tmp_path / "curve" / "points" / "plain-40-0" / "config.yaml").read_text())
    assert (saved["limit"], saved["steps"]) == (40, 2)
    assert curve.run([*arguments, "--list"]) == 0
    assert capsys.readouterr().out.count("done") == 4


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--sizes", "many"], "no number of samples"),
        (["--objectives", "clop"], "Did you mean 'clip'"),
        (["--arms", "{a: {objectiv: clip}}"], "Did you mean 'objective'"),
        (["--budget", "hours"], "write steps or epochs"),
        (["--point", "99", "--budget", "epochs"], "points 0 to 35"),
        ([], "'semantic-matching' has none. Write steps into the recipe"),
        (
            ["--objectives", "semantic-matching,clip", "--budget", "epochs"],
            "clip needs images and reports of the same studies",
        ),
    ],
)
def test_curve_settings_are_checked(flags: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        curve.run(flags)


def test_published_numbers_are_drawn_on_their_own_test_set_only() -> None:
    config = CurveConfig(published="medclip-2022", on="chexpert-5x200=/data/chexpert")
    markers = curve._published(config)["draws/accuracy"]
    assert ("MedCLIP-ViT, ensemble", 570000, 0.5942) in markers
    assert not curve._published(CurveConfig(published="medclip-2022", on="phantom"))


def test_trained_on_one_source_and_asked_about_another(tmp_path) -> None:
    """MIMIC-CXR as pairs, RSNA as the test set, CheXpert 5x200 left out of training."""

    def place(name: str) -> str:
        return f"{name}={layouts.LAYOUTS[name].write(tmp_path / name)}"

    small = ["--image-size", "32", "--cache-size", "32", "--projection-dim", "8", "--batch-images", "2", "--steps", "2",
             "--evaluate-every", "2", "--workers", "0", "--accelerator", "cpu",
             "--prepared", str(tmp_path / "p")]  # fmt: skip
    five = place("chexpert-5x200")
    options = ["--source-options", "{chexpert-5x200: {per_class: 1}}"]
    data = ["--images", f"{place('mimic-cxr')},chexpert={five.split('=')[1]}", "--texts", place("mimic-reports")]
    run = str(tmp_path / "run")
    assert train.run([*data, *small, *options, "--exclude", five, "--objective", "clip", "--output", run]) == 0
    shared = ["--prepared", str(tmp_path / "p"), "--resamples", "0", "--device", "cpu"]
    for on in (place("rsna"), five):
        output = str(tmp_path / on.split("=")[0])
        assert evaluate.run([run, "--on", on, *options, *shared, "--output", output]) == 0
        assert json.loads((tmp_path / on.split("=")[0] / "metrics.json").read_text())["patients_trained_on"] == 0


def test_patients_that_were_trained_on_are_counted(tmp_path, caplog) -> None:
    small = ["--image-size", "32", "--cache-size", "32", "--projection-dim", "8", "--batch-images", "4", "--steps", "2",
             "--evaluate-every", "2", "--workers", "0", "--accelerator", "cpu", "--prepared", str(tmp_path / "p"),
             "--source-options", "{phantom: {studies: 60, size: 32}}"]  # fmt: skip
    assert train.run([*small, "--output", str(tmp_path / "run")]) == 0
    arguments = [str(tmp_path / "run"), "--prepared", str(tmp_path / "p"), "--resamples", "0", "--device", "cpu"]
    assert evaluate.run([*arguments, "--split", "train"]) == 0
    result = json.loads((tmp_path / "run" / "evaluation" / "metrics.json").read_text())
    assert result["patients_trained_on"] == result["patients"] > 10
    assert "were trained on" in caplog.text
    assert "phantom/" not in (tmp_path / "run" / "patients.txt").read_text()


@pytest.mark.slow
def test_preparation_killed_at_any_moment_ends_the_same(tmp_path) -> None:
    """Five SIGKILLs, each a little later; then it is left alone, and gives what an uninterrupted one gives."""
    command = [sys.executable, "-m", "medclip.cli.prepare", "--images", "phantom", "--texts", "phantom",
               "--source-options", "{phantom: {studies: 3000, size: 64}}", "--cache-size", "64"]  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run = [sys.executable, "-c", "from medclip.cli.prepare import main; main()", *command[3:]]
    subprocess.run([*run, "--prepared", str(whole)], check=True, capture_output=True)
    for kill_after in (1.0, 2.0, 3.0, 4.0, 5.0):
        process = subprocess.Popen(
            [*run, "--prepared", str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    subprocess.run([*run, "--prepared", str(killed)], check=True, capture_output=True)
    manifests = [sorted(path.parent.name for path in root.glob("*/manifest.json")) for root in (whole, killed)]
    assert manifests[0] == manifests[1]
    caches = [PixelCache(root / "cache", 64) for root in (whole, killed)]
    images = pd.read_parquet(next(whole.glob("phantom-images-*/images.parquet")))
    keys = images["_key"].tolist()
    assert (caches[0].get(keys) == caches[1].get(keys)).all()


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob("configs/*.yaml"), *ROOT.glob("benchmarks/phantom-*.yaml")]), ids=str
)
def test_every_configuration_is_valid(path: Path) -> None:
    config = read_config(TrainConfig, ["--config", str(path)], prog="medclip-train", description="")
    kind = load_plugin("objectives", config.objective)
    check_options("objective", config.objective, kind, config.objective_options)
    kind(**config.objective_options)
    augmentation_from(config.augmentation)


@pytest.mark.parametrize("name", ["objectives", "matching"])
def test_every_comparison_is_valid(name: str, monkeypatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    assert curve.run(["--config", f"benchmarks/{name}.yaml", "--list"]) == 0
    assert "4,000" in capsys.readouterr().out
