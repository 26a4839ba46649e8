"""The benchmark of full size, at a small one."""

from __future__ import annotations

import re
import sys

import pytest

from benchmarks import full_size
from benchmarks.full_size_data import sentence


def test_sentences_differ() -> None:
    assert len({sentence(i) for i in range(20_000)}) == 20_000


@pytest.mark.slow
def test_every_measurement_runs(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", [
        "full_size.py", str(tmp_path), "--films", "600", "--sentences", "2000", "--side", "32", "--batches", "12",
    ])  # fmt: skip
    full_size.main()
    said = capsys.readouterr().out
    for what, _, _ in full_size.MEASUREMENTS.values():
        assert re.search(rf"^{re.escape(what)} +\d+\.\d\d s .* MiB", said, re.MULTILINE), what
    assert "the next batch is the same as uninterrupted" in said
    assert "right: True" in said
    assert "first step: main process" in said
    monkeypatch.setattr(sys, "argv", ["full_size.py", str(tmp_path), "--films", "700"])
    with pytest.raises(SystemExit, match="Name another folder"):
        full_size.main()
