from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from functools import partial

import pandas as pd
import pytest

from medclip.cli import label
from tests.fixtures import layouts

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


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_attributes_are_columns_of_their_own(tmp_path, kind: str) -> None:
    (tmp_path / "r.txt").write_text("Large left pleural effusion. No pneumothorax.")
    output = tmp_path / f"labels.{kind}"
    assert label.run([str(tmp_path / "r.txt"), "--output", str(output), "--attributes", "side, size"]) == 0
    row = (pd.read_csv if kind == "csv" else pd.read_parquet)(output).iloc[0]
    names = ["Pleural Effusion (left)", "Pleural Effusion (right)", "Pleural Effusion (large)"]
    assert row[names].tolist() == [1, 0, 1]
    assert row.filter(like="Pneumothorax (").isna().all()


def test_labels_of_a_folder_and_of_stdin(tmp_path, capsys, monkeypatch) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "s1.txt").write_text("FINDINGS: No effusion.")
    assert label.run([str(tmp_path / "in"), "--output", str(tmp_path / "l.csv"), "--workers", "2"]) == 0
    assert pd.read_csv(tmp_path / "l.csv")["id"].tolist() == ["s1"]
    assert "effusion." not in capsys.readouterr().out
    report = "FINDINGS: No evidence of\npleural effusion. The heart\nis enlarged.\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(report))
    assert label.run(["-"]) == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert table[["id", "Cardiomegaly", "Pleural Effusion"]].to_numpy().tolist() == [["stdin", 1, 0]]
    monkeypatch.setattr(sys, "stdin", io.StringIO("No effusion.\n\nEdema.\n"))
    assert label.run(["-", "--lines"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("line3,")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv"], "There is no nowhere.csv"),
        (["r.csv", "--text-column", "finding"], "Did you mean 'findings'"),
        (["r.csv", "--id-column", "uid"], "no column 'uid'"),
        (["r.doc"], r"r\.doc is no .*\.csv"),
        (["r.csv", "--labeler", "chexbert"], "checkpoint was not found"),
        (["r.csv", "--labeler", "chexbert", "--attributes", "side"], "belongs to the rules"),
        (["r.csv", "--attributes", "colour"], "choose from side, size"),
        (["r.csv", "--sentences", "s.csv"], "needs --output"),
        (["r.csv", "--output", "l.xlsx"], r"l\.xlsx: labels are written to \.csv or \.parquet"),
        (["r.csv", "--explain", "--output", "l.csv"], r"l\.csv: explanations are written to \.html or \.json"),
        (["r.csv", "--score", "r.csv"], "shares 2 ids"),
        (["empty"], "no .txt files"),
    ],
)
def test_labelling_says_what_is_wrong(tmp_path, monkeypatch, arguments: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    REPORTS.to_csv("r.csv", index=False)
    (tmp_path / "r.doc").write_text("{}")
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
    usual, done = label.run_jobs, []

    def counted(*job: object, until: int, **options: object) -> Iterator[object]:
        for result in usual(*job, **options):
            if len(done) == until:
                raise MemoryError
            done.append(result)
            yield result

    monkeypatch.setattr(label, "run_jobs", partial(counted, until=2))
    with pytest.raises(MemoryError):
        label.run(arguments("cut"))
    with (tmp_path / f"cut.{kind}.part").open("a") as part:
        part.write("half a li")  # what a kill in the middle of a write leaves
    assert not (tmp_path / f"cut.{kind}").exists()
    monkeypatch.setattr(label, "run_jobs", partial(counted, until=99))
    assert label.run(arguments("cut")) == 0
    assert len(done) == 4  # of the four chunks, the first two were not labelled again
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


@pytest.mark.parametrize("more", [[], ["--explain"], ["--score", "r.csv"]])
def test_reports_in_another_language_are_refused(tmp_path, monkeypatch, more: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"id": ["a"], "text": ["Kein Pneumothorax. Keine Pneumonie, kein Erguss."]}).to_csv(
        "r.csv", index=False
    )
    with pytest.raises(ValueError, match=r"r\.csv: the reports look German, .* would take denials for findings"):
        label.run(["r.csv", *more])


def test_a_source_is_found_and_told_its_options(tmp_path, capsys) -> None:
    pd.DataFrame({"Nr": ["a"], "Said": ["No effusion."]}).to_csv(tmp_path / "r.csv", index=False)
    options = "{csv: {columns: {study_id: Nr, text: Said}}}"
    assert label.run([f"csv={tmp_path / 'r.csv'}", "--source-options", options]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("a,")
    layouts.openi(tmp_path / "data" / "openi")
    assert label.run(["openi", "--data-root", str(tmp_path / "data")]) == 0


def test_empty_reports_are_counted(tmp_path, caplog) -> None:
    many(2500).to_csv(tmp_path / "r.csv", index=False)
    assert label.run([str(tmp_path / "r.csv"), "--output", str(tmp_path / "l.csv")]) == 0
    assert "625 of 2500 reports are empty, and so are their labels" in caplog.text


def test_a_terminal_without_reports_is_not_waited_for(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("No effusion."))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    with pytest.raises(ValueError, match="Which reports"):
        label.run(["--vocabulary", "nih14"])
    assert label.run(["-"]) == 0


def test_explanations(tmp_path, capsys) -> None:
    (tmp_path / "report.txt").write_text("The heart is enlarged.")
    assert label.run(["--explain", str(tmp_path / "report.txt")]) == 0
    assert "Cardiomegaly" in capsys.readouterr().out
    assert label.run(["--explain", str(tmp_path / "report.txt"), "--output", str(tmp_path / "page.html")]) == 0
    assert "<mark" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(("kind", "shown"), [("html", 50), ("json", 1)])
def test_explanations_of_many_reports_say_how_many_are_left_out(tmp_path, capsys, kind: str, shown: int) -> None:
    many(70).to_csv(tmp_path / "r.csv", index=False)
    output = tmp_path / f"page.{kind}"
    assert label.run(["--explain", str(tmp_path / "r.csv"), "--output", str(output)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"explains {shown} of 70 reports; {70 - shown} are left out. All of them, as records: --findings" in said
    assert output.read_text().count("<h2>") == (shown if kind == "html" else 0)
    (tmp_path / "none.csv").write_text("id,text\n")
    with pytest.raises(ValueError, match="no reports to explain"):
        label.run(["--explain", str(tmp_path / "none.csv"), "--output", str(output)])
