from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from medclip.cli import evaluate, train
from medclip.utils.plugins import load_plugin
from tests.fixtures import layouts, runs
from tests.fixtures.picture import picture


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
        train.run(
            ["--images", "phantom", *arguments, "--prepared", str(tmp_path / "p"), "--output", str(tmp_path / "run")]
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("images", "texts"),
    [("csv", "openi"), ("nih,chexpert,mimic-cxr", "openi,mimic-reports"), ("chexpert, plus", "chexpert, plus"),
     *(pytest.param(*names, marks=pytest.mark.slow) for names in
       (("chexpert", "mimic-reports"), ("nih", "openi"), ("mimic-cxr", "mimic-reports")))],
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
        "0",
        "--device",
        "cpu",
    ]
    assert evaluate.run([*arguments, "--split", "train", "--baselines", "untrained"]) == 0
    (folder,) = (tmp_path / "run" / "evaluation").iterdir()
    result = json.loads((folder / "metrics.json").read_text())
    assert set(result) >= {"split", "images", "patients", "model", "untrained", "how"}
    assert "auroc/mean" in result["model"]["zero-shot"]
    assert {"model-zero_shot.csv", "report.html"} <= {path.name for path in folder.iterdir()}
    apart = {path.parent.name: json.loads(path.read_text())["images"] for path in folder.glob("*/metrics.json")}
    assert set(apart) == ({part.split("=")[0] for part in images.split(",")} if "," in images else set())
    assert sum(apart.values()) in (0, result["images"])


def test_the_users_command_from_what_wget_leaves_to_metrics(tmp_path) -> None:
    """CheXpert beside PhysioNet's folders below one data root; nothing else is named."""
    root = tmp_path / "data"
    layouts.chexpert(root, patients=8)
    files = root / "physionet.org" / "files"
    layouts.mimic_cxr(files / "mimic-cxr-jpg" / "2.1.0", patients=8)
    layouts.mimic_reports(files / "mimic-cxr" / "2.1.0", patients=8)
    small = ["--image-size", "32", "--cache-size", "32", "--projection-dim", "8", "--batch-images", "4",
             "--batch-texts", "4", "--steps", "2", "--evaluate-every", "2", "--workers", "0",
             "--accelerator", "cpu"]  # fmt: skip
    shared = ["--data-root", str(root), "--prepared", str(tmp_path / "p")]
    run = str(tmp_path / "run")
    named = ["--images", "chexpert", "--texts", "mimic-reports"]
    assert train.run([*named, *shared, *small, "--output", run]) == 0
    assert evaluate.run([run, "--on", "chexpert", *shared, "--resamples", "0", "--device", "cpu"]) == 0
    found = json.loads((tmp_path / "run" / "evaluation" / "chexpert" / "metrics.json").read_text())
    assert found["patients_trained_on"] == found["images_trained_on"] == 0
    texts = next(source for source in found["how"]["sources"] if source["source"] == "chexpert")
    assert texts["chosen"]["test"] == "official"


@pytest.mark.slow
def test_a_run_killed_by_the_system_goes_on_and_ends_the_same(tmp_path) -> None:
    """SIGKILL half-way, then the same command again; beside a run that was left alone."""
    code = "from medclip.cli.train import main; main()"

    def command(name: str) -> list[str]:
        changed = {"studies": 400, "steps": 40, "evaluate_every": 5, "workers": 1}
        return [sys.executable, "-c", code, *runs.flags(tmp_path / name, **changed)]

    assert subprocess.run(command("whole"), check=False, capture_output=True).returncode == 0
    process = subprocess.Popen(command("cut"))
    while not (tmp_path / "cut" / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not (tmp_path / "cut" / "metrics.json").exists()
    assert subprocess.run(command("cut"), check=False, capture_output=True).returncode == 0
    whole, cut = ((tmp_path / name / "metrics.json").read_text() for name in ("whole", "cut"))
    assert whole == cut


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


def test_patients_that_were_trained_on_are_counted(tmp_path, caplog, monkeypatch) -> None:
    assert runs.train(tmp_path / "run", studies=60, batch_images=4, steps=2) == 0
    arguments = [
        str(tmp_path / "run"),
        "--on",
        "phantom",
        "--prepared",
        str(tmp_path / "p"),
        "--resamples",
        "0",
        "--device",
        "cpu",
    ]
    assert evaluate.run([*arguments, "--split", "train"]) == 0
    result = json.loads((tmp_path / "run" / "evaluation" / "phantom-train" / "metrics.json").read_text())
    assert result["patients_trained_on"] == result["patients"] > 10
    assert "were trained on" in caplog.text
    assert "phantom/" not in (tmp_path / "run" / "patients.txt").read_text()
    # Trained on RSNA, whose images are NIH's, and asked about NIH's under other ids: not zero but unknown.
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("images: phantom", "images: rsna"))
    monkeypatch.setattr(load_plugin("sources", "phantom"), "holds_images_of", ("nih",))
    caplog.clear()
    assert evaluate.run([*arguments, "--split", "test"]) == 0
    result = json.loads((tmp_path / "run" / "evaluation" / "phantom" / "metrics.json").read_text())
    assert result["patients_trained_on"] is None
    assert "trained on rsna, which may hold these very images" in caplog.text


def test_images_without_a_text_to_be_paired_with_are_said(tmp_path, caplog) -> None:
    rows = ["path,patient_id,split,report"]
    for i in range(24):
        picture(tmp_path / f"{i}.png", seed=i)
        said = ("The heart is enlarged.", "No pleural effusion.")[i % 4 // 2] if i % 2 else ""
        rows.append(f"{i}.png,{i},{'valid' if i > 19 else 'train'},{said}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    data = ["--images", f"csv={tmp_path / 't.csv'}", "--objective", "clip", "--output", str(tmp_path / "run")]
    settings = runs.TINY | {"steps": "1", "batch-images": "4", "evaluate-every": "0", "prepared": str(tmp_path / "p")}
    with caplog.at_level("INFO"):
        assert train.run([*data, *(word for name, value in settings.items() for word in (f"--{name}", value))]) == 0
    assert "10 of 20 training images have no text to be paired with, and clip does not use them" in caplog.text
