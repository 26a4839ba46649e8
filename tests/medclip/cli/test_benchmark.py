from __future__ import annotations

import pandas as pd
import pytest

from medclip.cli import benchmark
from medclip.runs.benchmark import plan_benchmark
from medclip.runs.settings import BenchmarkConfig
from tests.fixtures import layouts, layouts_new, runs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    output = tmp_path_factory.mktemp("benchmark") / "run"
    assert runs.train(output, "--steps", "2", "--evaluate-every", "1") == 0
    return output


def test_every_protocol_whose_data_are_there(run, tmp_path, capsys) -> None:
    root = layouts.nih(tmp_path / "data" / "CXR8", patients=40)
    (root / "test_list.txt").write_text("".join(f"{i:08d}_00{j}.png\n" for i in range(9, 41) for j in (0, 1)))
    arguments = [str(run), "--data-root", str(tmp_path / "data"), "--prepared", str(tmp_path / "p"),
                 "--resamples", "20", "--device", "cpu", "--protocols", "carzero-2024,denial-2026"]  # fmt: skip
    assert benchmark.run([*arguments, "--list"]) == 0
    assert capsys.readouterr().out.count("there") == 2
    assert benchmark.run(arguments) == 0
    printed = capsys.readouterr().out
    assert "Left out: carzero-2024 on openi" in printed
    assert "CARZero" in printed
    table = pd.read_csv(run / "benchmark" / "benchmark.csv")
    assert set(table["protocol"]) == {"carzero-2024", "denial-2026"}
    assert set(table["test set"]) == {"nih"}
    assert {"denial/report/pos/mean", "denial/report/neg/mean", "auroc/mean"} == set(table["metric"])
    assert (table["patients trained on"] == 0).all()
    page = (run / "benchmark" / "benchmark.html").read_text()
    assert "quoted from" in page or "are from the papers" in page
    before = (run / "benchmark" / "carzero-2024-nih" / "metrics.json").stat().st_mtime_ns
    assert benchmark.run(arguments) == 0
    assert (run / "benchmark" / "carzero-2024-nih" / "metrics.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="other resamples"):
        benchmark.run([*arguments, "--resamples", "30"])
    assert "None" not in page


def test_nothing_there_and_names_that_belong_to_no_protocol(run, tmp_path) -> None:
    with pytest.raises(ValueError, match="None of the test sets is there"):
        benchmark.run([str(run), "--data-root", str(tmp_path)])
    with pytest.raises(ValueError, match="no protocol has published numbers on phantom"):
        plan_benchmark(BenchmarkConfig(model=str(run), test_sets="phantom"))
    with pytest.raises(FileNotFoundError, match="nih"):
        plan_benchmark(BenchmarkConfig(model=str(run), test_sets="nih", data_root=str(tmp_path)))


def test_open_test_sets_in_one_command(run, tmp_path, capsys) -> None:
    layouts.nih(tmp_path / "CXR8")
    layouts.openi(tmp_path / "openi")
    layouts_new.chestx_det10(tmp_path / "chestx-det10")
    config = ["--config", "benchmarks/open.yaml", "--data-root", str(tmp_path), "--list"]
    assert benchmark.run([str(run), *config]) == 0
    printed = capsys.readouterr().out
    assert printed.count("there") == 5
    assert all(name in printed for name in ("nih", "openi", "chestx-det10"))
