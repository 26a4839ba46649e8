from __future__ import annotations

import io
import json
import subprocess
import sys
import time

import pandas as pd
import pytest

from medclip.cli import evaluate, label, prepare, train
from medclip.cli.console import command
from tests.fixtures import layouts

COMMANDS = {"medclip-train": train, "medclip-evaluate": evaluate, "medclip-prepare": prepare, "medclip-label": label}


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
    [("chexpert", "mimic-reports"), ("nih", "openi"), ("csv", "openi"), ("nih,chexpert", "openi,mimic-reports")],
)
def test_from_official_layouts_to_a_result(tmp_path, images: str, texts: str) -> None:
    def spec(names: str) -> str:
        return ",".join(f"{name}={layouts.LAYOUTS[name][0](tmp_path / 'data' / name)}" for name in names.split(","))

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
    assert {"model-zero_shot.csv", "model-roc.png"} <= {
        path.name for path in (tmp_path / "run" / "evaluation").iterdir()
    }


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
        (["r.json"], "neither .csv nor .parquet"),
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
