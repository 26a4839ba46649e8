"""medclip-label --findings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from medclip.cli import label


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    texts = ["Small left effusion.", "", "No pneumothorax. Mild scoliosis."]
    path = tmp_path / "r.csv"
    pd.DataFrame({"id": [f"r{i}" for i in range(2400)], "text": [texts[i % 3] for i in range(2400)]}).to_csv(path)
    return path


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_findings_beside_labels(reports: Path, tmp_path: Path) -> None:
    output, findings = tmp_path / "l.csv", tmp_path / "f.jsonl"
    assert label.run([str(reports), "--vocabulary", "cxr50", "--output", str(output), "--findings", str(findings)]) == 0
    assert len(pd.read_csv(output)) == 2400
    found = records(findings)
    assert len(found) == 2400
    assert [(f["id"], f["observation"], f["severity"]) for f in found[:3]] == [
        ("r0", "Pleural Effusion", "mild"),
        ("r2", "Pneumothorax", ""),
        ("r2", "Scoliosis", "mild"),
    ]


def test_findings_alone(reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    findings = tmp_path / "f.ndjson"
    assert label.run([str(reports), "--findings", str(findings), "--findings-format", "fhir"]) == 0
    shown = capsys.readouterr().out
    assert "2400 reports" in shown
    assert "effusion." not in shown
    assert [r["resourceType"] for r in records(findings)] == ["Bundle"] * 2400
    assert not list(tmp_path.glob("*.part*"))


def test_workers_and_a_kill_do_not_change_the_findings(
    reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def arguments(name: str, *more: str) -> list[str]:
        return [str(reports), "--findings", str(tmp_path / f"{name}.jsonl"), *more]

    label.run(arguments("one"))
    label.run(arguments("two", "--workers", "2"))
    usual, done = label.run_jobs, []

    def killed(*job: object, **options: object) -> Iterator[object]:
        for result in usual(*job, **options):
            if len(done) == 2:
                raise MemoryError
            done.append(result)
            yield result

    with monkeypatch.context() as patched:
        patched.setattr(label, "run_jobs", killed)
        with pytest.raises(MemoryError):
            label.run(arguments("cut"))
    label.run(arguments("cut"))
    one, two, cut = ((tmp_path / f"{name}.jsonl").read_bytes() for name in ("one", "two", "cut"))
    assert one == two == cut


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--findings", "f.csv"], "Name a .jsonl or .ndjson file"),
        (["--findings", "f.jsonl", "--findings-format", "xml"], "no format 'xml' for findings"),
        (["--findings", "f.jsonl", "--sentences", "s.csv"], "--sentences needs --output"),
    ],
)
def test_wrong_options_are_refused(reports: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        label.run([str(reports), *arguments])
