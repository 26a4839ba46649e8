"""The GPU's benchmark runs on a CPU, so that it cannot fail on the day."""

from __future__ import annotations

import json

import pytest

from benchmarks import gpu


@pytest.mark.slow
def test_every_part_of_the_gpu_benchmark_runs(tmp_path) -> None:
    found = gpu.main(["--tiny", "--output", str(tmp_path / "gpu.json")])
    assert {row["part"] for row in found["rows"]} == {
        "training", "zero-shot", "augmentation", "gradient caching", "GLoRIA's local loss", "trainer", "loaders"
    }  # fmt: skip
    assert not [row for row in found["rows"] if "failed" in row and not row.get("compiled")]
    assert not found["skipped"]
    assert json.loads((tmp_path / "gpu.json").read_text())["rows"] == found["rows"]
    assert (tmp_path / "gpu.md").read_text().count("\n|") == len(found["rows"]) + 2


def test_a_part_that_fails_says_so_and_time_is_kept(capsys) -> None:
    def broken() -> dict[str, object]:
        raise RuntimeError("CUDA out of memory")

    assert gpu.attempt(broken) == {"failed": "RuntimeError: CUDA out of memory"}
    assert gpu.measure(tiny=True, minutes=0)["skipped"]
