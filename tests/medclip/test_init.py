from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import medclip
from tests.fixtures import runs


def test_importing_is_light_and_every_public_name_is_there() -> None:
    code = "import sys, medclip; dir(medclip); medclip.TrainConfig(images='phantom'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    assert all(getattr(medclip, name) is not None for name in medclip.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = medclip.trian


def test_training_and_evaluating_from_python(tmp_path: Path) -> None:
    base = {name.replace("-", "_"): value for name, value in runs.TINY.items()}
    numbers = {name: int(value) for name, value in base.items() if value.isdigit()}
    config = medclip.TrainConfig(
        images="phantom", source_options={"phantom": {"studies": 120, "size": 32}}, output=str(tmp_path / "run"),
        prepared=str(tmp_path / "p"), learning_rate=1e-3, accelerator="cpu", **numbers,
    )  # fmt: skip
    run = medclip.train(config, bar=False)
    assert run.metrics["steps"] == 8
    settings = medclip.EvaluateConfig(
        model=str(tmp_path / "run"), on="phantom", prepared=str(tmp_path / "p"), resamples=0, prompt_draws=0
    )
    results, folder = medclip.evaluate(settings)
    assert 0 <= results.metrics()["auroc/mean"].value <= 1
    assert (folder / "report.html").is_file()


def test_nothing_tells_people_to_install_somebody_elses_package() -> None:
    root = Path(__file__).parents[2]
    files = [path for part in ("medclip", "labelers", "docs", "examples") for path in (root / part).rglob("*")]
    files += [root / "README.md", root / "pyproject.toml", root / "CONTRIBUTING.md"]
    texts = {
        path: path.read_text(encoding="utf-8") for path in files if path.suffix in (".py", ".md", ".toml", ".yaml")
    }
    wrong = ("install medclip", "install 'medclip[", 'install "medclip[', "medclip[dicom")
    assert [(path.name, words) for path, text in texts.items() for words in wrong if words in text] == []
