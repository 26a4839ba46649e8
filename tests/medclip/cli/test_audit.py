from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from medclip.cli import audit, evaluate, train
from tests.medclip.data.test_fingerprints import film, jpeg

SMALL = [
    "--image-size", "32", "--cache-size", "64", "--projection-dim", "8", "--batch-images", "4", "--batch-texts", "4",
    "--steps", "2", "--evaluate-every", "0", "--workers", "0", "--threads", "1", "--accelerator", "cpu",
]  # fmt: skip


def data(folder: Path, name: str, images: dict[str, object]) -> str:
    """Writes a table of images, each with a study and a patient of its own, and returns the source."""
    (folder / name).mkdir()
    rows = []
    for i, (path, image) in enumerate(images.items()):
        Image.fromarray(image).save(folder / name / path)
        ids = {"study_id": f"{name}{i}", "patient_id": f"{name}{i}"}
        rows.append({"path": path, "text": "Large effusion." if i % 2 else "No effusion.", **ids,
                     "split": "train" if i < 8 else "test", "Pleural Effusion": i % 2})  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / name / f"{name}.csv", index=False)
    return f"csv={folder / name / f'{name}.csv'}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("audit")


@pytest.fixture(scope="module")
def sources(folder: Path) -> tuple[str, str]:
    """Two data sets: image 3 of the one is image 9, a test image, of the other, re-encoded and inverted."""
    ours = data(folder, "ours", {f"{i}.png": film(i, 200) for i in range(12)})
    theirs = {f"x{i}.jpg": film(100 + i, 200) for i in range(12)} | {"x9.jpg": jpeg(255 - film(3, 200), 60)}
    return ours, data(folder, "theirs", theirs)


@pytest.fixture(scope="module")
def run(folder: Path, sources: tuple[str, str]) -> Path:
    prepared = ["--prepared", str(folder / "p")]
    assert train.run(["--images", sources[0], *SMALL, *prepared, "--output", str(folder / "run")]) == 0
    return folder / "run"


def test_a_planted_copy_is_named(folder: Path, sources: tuple[str, str], capsys) -> None:
    listing = folder / "shared.csv"
    arguments = [sources[0], "--on", sources[1], "--prepared", str(folder / "p"), "--output", str(listing)]
    assert audit.run(arguments) == 1
    found = pd.read_csv(listing)
    assert found[["first", "second"]].to_numpy().tolist() == [["ours/3.png", "theirs/x9.jpg"]]
    assert found["second_patient"].tolist() == ["theirs/theirs9"]
    assert "1 pairs of images" in capsys.readouterr().out


def test_a_run_knows_its_images_without_their_names(run: Path, folder: Path, sources: tuple[str, str], capsys) -> None:
    arguments = [str(run), "--prepared", str(folder / "p")]
    assert audit.run([*arguments, "--on", sources[1], "--split", "test"]) == 1
    assert audit.run([*arguments, "--on", sources[1], "--split", "train"]) == 0
    capsys.readouterr()
    assert audit.run([*arguments, "--on", sources[0]]) == 1
    assert " 7 " in capsys.readouterr().out  # the train split of its own source, whose 8 give one to validation
    assert b"ours" not in (run / "images.safetensors").read_bytes()


def test_an_evaluation_counts_images_that_were_trained_on(run: Path, folder: Path, sources, caplog) -> None:
    arguments = [str(run), "--on", sources[1], "--prepared", str(folder / "p"), "--resamples", "0", "--device", "cpu"]
    assert evaluate.run(arguments) == 0
    assert "1 of the 4 images were trained on" in caplog.text
    result = pd.read_json(run / "evaluation" / "csv-theirs" / "metrics.json", typ="series")
    assert result["images_trained_on"] == 1
    assert result["patients_trained_on"] == 0


def test_excluded_images_are_found_under_other_ids(folder: Path, sources, caplog, monkeypatch) -> None:
    monkeypatch.setattr("medclip.sources.csv.Csv.holds_images_of", ("theirs",))
    arguments = ["--images", sources[0], *SMALL, "--prepared", str(folder / "p"), "--output", str(folder / "without")]
    with caplog.at_level("INFO"):
        assert train.run([*arguments, "--exclude", sources[1]]) == 0
    assert "1 training images are among its own by content" in caplog.text
    assert "leaves out 1 patients" in caplog.text


def test_what_cannot_be_compared_says_why(run: Path, sources) -> None:
    with pytest.raises(ValueError, match="What is compared with what"):
        audit.run([str(run)])
    (run / "images.safetensors").rename(run / "away")
    with pytest.raises(ValueError, match=r"holds no images\.safetensors"):
        audit.run([str(run), "--on", sources[1]])
    (run / "away").rename(run / "images.safetensors")
