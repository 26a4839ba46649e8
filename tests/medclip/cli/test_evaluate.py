"""medclip-evaluate with all it can do, on one small run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from labelers.errors import UserError
from medclip.cli import evaluate
from medclip.evaluation.evaluators.fine_tune import FineTune
from medclip.evaluation.evaluators.subgroups import Subgroups
from medclip.inference.abstention import Abstention
from medclip.inference.calibration import Calibration
from tests.fixtures import runs
from tests.fixtures.picture import picture

EVALUATORS = (
    "zero-shot,flip,retrieval,few-shot,linear-probe,fine-tune,grounding,detection,calibration,abstention,subgroups"
)
FIVE = "Atelectasis,Cardiomegaly,Consolidation,Edema,Pleural Effusion"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    options = {"studies": 300, "paired": True, "projection_dim": 8, "steps": 2}
    assert runs.train(folder / "run", **options) == 0
    return folder


def arguments(folder: Path, *more: str) -> list[str]:
    return [
        str(folder / "run"),
        "--on",
        "phantom",
        "--prepared",
        str(folder / "p"),
        "--resamples",
        "0",
        "--device",
        "cpu",
        *more,
    ]


def test_another_evaluation_is_not_overwritten_unasked(folder) -> None:
    first = arguments(folder, "--observations", "Edema", "--output", str(folder / "kept"))
    assert evaluate.run(first) == evaluate.run(first) == 0
    other = arguments(folder, "--observations", "Fracture", "--output", str(folder / "kept"))
    with pytest.raises(ValueError, match=r"holds an evaluation with other settings \(observations\)"):
        evaluate.run(other)
    assert evaluate.run([*other, "--overwrite"]) == 0


def test_other_weights_or_images_are_not_overwritten_unasked(folder, tmp_path) -> None:
    shutil.copytree(folder / "run", tmp_path / "run")
    given = ["--output", str(tmp_path / "found"), "--prepared", str(folder / "p")]
    first = [str(tmp_path / "run"), *arguments(folder, *given)[1:]]
    assert evaluate.run(first) == 0
    saved = json.loads((tmp_path / "found" / "metrics.json").read_text())
    (tmp_path / "found" / "metrics.json").write_text(json.dumps(saved | {"weights": "others", "checksum": "others"}))
    with pytest.raises(ValueError, match="of other images and weights, though with the same settings"):
        evaluate.run(first)
    assert evaluate.run([*first, "--overwrite"]) == 0
    assert json.loads((tmp_path / "found" / "metrics.json").read_text()) == saved | {
        "how": saved["how"] | {"settings": saved["how"]["settings"] | {"overwrite": True}}
    }


def test_the_numbers_of_a_training_are_not_overwritten(folder) -> None:
    before = (folder / "run" / "metrics.json").read_text()
    with pytest.raises(ValueError, match=r"metrics.json is not of an evaluation; is .*run a training run\?"):
        evaluate.run(arguments(folder, "--output", str(folder / "run")))
    assert (folder / "run" / "metrics.json").read_text() == before


@pytest.mark.parametrize(
    "wrong",
    [
        ("--resamples", "-1"), ("--examples", "-1"), ("--shots", "[-1]"), ("--shot-draws", "0"), ("--shares", "[0, 2]"),
        ("--label-draws", "0"), ("--least-positives", "0"), ("--abstention-error", "0.7"), ("--evaluators", ""),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be_are_told(wrong, tmp_path) -> None:
    with pytest.raises(ValueError, match=f"^{wrong[0]}"):
        evaluate.run([str(tmp_path), "--on", "phantom", *wrong])


def test_every_evaluator_at_once(folder, capsys, monkeypatch) -> None:
    monkeypatch.setitem(FineTune.__init__.__kwdefaults__, "least_steps", 3)
    more = ["--texts", "phantom", "--evaluators", EVALUATORS, "--baselines", "supervised", "--examples", "2",
            "--resamples", "20", "--shares", "[0.2, 1.0]", "--label-draws", "2", "--supervised-epochs", "0.2",
            "--shots", "[1, 2]", "--shot-draws", "2",
            "--observations", FIVE, "--output", str(folder / "all")]  # fmt: skip
    assert evaluate.run([*arguments(folder), *more]) == 0
    saved = json.loads((folder / "all" / "metrics.json").read_text())
    assert set(saved["model"]) == set(EVALUATORS.split(","))
    assert set(saved["supervised"]) == {"zero-shot"}
    assert saved["how"]["versions"]["torch"]
    assert saved["how"]["git"] is None or len(saved["how"]["git"]["commit"]) == 40
    found = {name: value for part in saved["model"].values() for name, value in part.items()}
    for name in ("ap/mean", "f1/mean", "draws/accuracy/sd", "auroc/mean/sex=F", "precision@1/image_to_text",
                 "recall@10/text_to_image", "linear-probe/auroc/20%/sd", "fine-tune/auroc/100%", "grounding/pointing",
                 "detection/ap25", "calibration/calibrated", "abstention/promise", "denial/terse/neg/mean",
                 "linear-probe/auroc/20%/chance", "draws/auroc/mean/chance", "draws/auroc/mean/rows",
                 "flip/claimed", "few-shot/anchored/2/sd", "few-shot/knn/all", "subgroups/fnr_gap/sex"):  # fmt: skip
        assert found[name] is not None, name
    page = (folder / "all" / "report.html").read_text()
    for title in (
        "Summary",
        "Flipped sentences",
        "Retrieval",
        "Few-shot",
        "Linear probe",
        "Fine-tuning",
        "Grounding",
        "Detection",
        "Calibration",
        "Subgroups",
        "How to repeat it",
    ):
        assert f">{title}</h2>" in page
    assert page.count("data:image/png") >= 8
    assert "supervised" in capsys.readouterr().out


def test_what_comes_out_holds_no_report_and_no_patient_unless_asked(folder) -> None:
    output = folder / "plain"
    assert evaluate.run([*arguments(folder), "--texts", "phantom", "--evaluators", EVALUATORS.replace("fine-tune,", ""),
                         "--shot-draws", "1",
                         "--shares", "[1.0]", "--observations", FIVE, "--output", str(output)]) == 0  # fmt: skip
    sentences = pd.read_parquet(next((folder / "p").glob("phantom-sentences-*/sentences.parquet")))["text"]
    written = "".join(path.read_text() for path in output.iterdir() if path.suffix in (".csv", ".json", ".html"))
    assert not [text for text in sentences if len(text) > 25 and text in written]
    assert "phantom/0-" not in written
    assert not list(output.glob("*retrieval.png")) and not list(output.glob("*grounding.png"))


def test_a_protocol_shows_published_numbers_and_departures(folder, capsys) -> None:
    assert evaluate.run([*arguments(folder), "--protocol", "medclip-2022", "--output", str(folder / "protocol")]) == 0
    said = capsys.readouterr().out
    assert "no published numbers on phantom" in said
    assert "Not as in medclip-2022: prompts are those of chexpert14" in said
    saved = json.loads((folder / "protocol" / "metrics.json").read_text())
    assert saved["protocol"]["name"] == "medclip-2022"
    assert saved["how"]["settings"]["ensemble"] == "logits"
    assert "draws/accuracy" in saved["model"]["zero-shot"]
    with pytest.raises(ValueError, match="Choose from carzero-2024, chexzero, cxr-lt-2026, denial-2026"):
        evaluate.run([*arguments(folder), "--protocol", "own"])


def test_the_same_evaluation_twice_gives_the_same_numbers(folder) -> None:
    for name in ("first", "second"):
        evaluate.run([*arguments(folder), "--resamples", "20", "--observations", FIVE, "--output", str(folder / name)])
    first, second = (json.loads((folder / name / "metrics.json").read_text()) for name in ("first", "second"))
    assert first["model"] == second["model"]


def test_calibration_is_fitted_on_validation_images_and_kept(folder) -> None:
    with pytest.raises(ValueError, match="Report on another one"):
        evaluate.run([*arguments(folder), "--calibrate", "--split", "valid"])
    more = ["--calibrate", "--save-abstention", "--abstention-error", "0.3", "--least-positives", "5"]
    assert evaluate.run([*arguments(folder), *more]) == 0
    made = Calibration.load(folder / "run" / "model", prompts="chexpert14")
    images = pd.read_parquet(next((folder / "p").glob("phantom-images-*/images.parquet")))
    assert made is not None
    assert made.rows == (images["split"] == "valid").sum()
    assert set(made.threshold) == set(made.slope)
    assert not set(made.threshold) & set(made.refused)
    assert len(made.threshold) + len(made.refused) == 14
    assert set(made.skill) == set(made.slope)
    assert min(made.skill.values()) > 0
    rules = Abstention.load(folder / "run" / "model", prompts="chexpert14")
    assert rules.error == 0.3
    assert len(rules.lower) + len(rules.refused) == 14


def test_severity_scores_of_readers_are_compared(folder) -> None:
    images = pd.read_parquet(next((folder / "p").glob("phantom-images-*/images.parquet")))
    ids = images["image_id"].str.partition("/")[2]
    pd.DataFrame({"image_id": ids, "R1": range(len(ids))}).to_csv(folder / "scores.csv", index=False)
    more = ["--evaluators", "severity", "--severity", str(folder / "scores.csv"), "--severity-readers", "[R1]",
            "--severity-observation", "Edema", "--output", str(folder / "severity")]  # fmt: skip
    assert evaluate.run([*arguments(folder), *more]) == 0
    found = json.loads((folder / "severity" / "metrics.json").read_text())["model"]["severity"]
    assert -1 <= found["severity/spearman/R1"] <= 1
    assert found["severity/spearman/rows"] == (images["split"] == "test").sum()


def test_films_without_labels_have_severity_only(folder) -> None:
    for i in range(12):
        picture(folder / "films" / f"{i}.png", seed=i)
    rows = [f"{i}.png,p{i},test,{i}" for i in range(12)]
    (folder / "films" / "films.csv").write_text("\n".join(["path,patient_id,split,score", *rows]))
    base = [str(folder / "run"), "--on", f"csv={folder / 'films' / 'films.csv'}", "--prepared", str(folder / "p"),
            "--resamples", "0", "--device", "cpu", "--output", str(folder / "graded")]  # fmt: skip
    scored = ["--severity", str(folder / "films" / "films.csv"), "--severity-readers", "[score]"]
    assert evaluate.run([*base, *scored, "--evaluators", "severity"]) == 0
    found = json.loads((folder / "graded" / "metrics.json").read_text())["model"]["severity"]
    assert found["severity/spearman/rows"] == 12
    with pytest.raises(ValueError, match="neither labels nor reports"):
        evaluate.run([*base, *scored, "--evaluators", "severity,zero-shot", "--overwrite"])


def test_what_would_do_harm_is_not_kept(folder, caplog) -> None:
    for file in (folder / "run" / "model").glob("medclip_*bration.json"):
        file.unlink()
    assert evaluate.run([*arguments(folder), "--calibrate", "--least-positives", "1000", "--overwrite"]) == 0
    assert "No observation can be calibrated on these images, so no calibration is saved." in caplog.text
    assert Calibration.load(folder / "run" / "model", prompts="chexpert14") is None
    with pytest.raises(ValueError, match="--save-abstention: too few validation patients for any observation"):
        evaluate.run([*arguments(folder), "--save-abstention", "--abstention-error", "0.0001", "--overwrite"])


def test_a_key_that_yaml_takes_for_true(tmp_path, capsys) -> None:
    (tmp_path / "e.yaml").write_text("on: phantom\n")
    with pytest.raises(SystemExit):
        evaluate.run(["--config", str(tmp_path / "e.yaml")])
    assert 'write "on" in quotes' in capsys.readouterr().err


def test_names_that_the_images_do_not_know(folder) -> None:
    with pytest.raises(ValueError, match=r"know no 'Oedema'.*Did you mean 'Edema'"):
        evaluate.run([*arguments(folder), "--observations", "[Oedema]", "--overwrite"])


def test_what_an_earlier_evaluation_left_is_gone(folder) -> None:
    output = ["--output", str(folder / "again")]
    assert evaluate.run([*arguments(folder), "--texts", "phantom", "--evaluators", "zero-shot,retrieval", *output]) == 0
    assert (folder / "again" / "model-retrieval.csv").exists()
    assert evaluate.run([*arguments(folder), *output, "--overwrite"]) == 0
    assert not (folder / "again" / "model-retrieval.csv").exists()


def test_unseen_observations_that_no_image_knows_are_told(folder) -> None:
    with pytest.raises(ValueError, match=r"know none of Edemas\. Did you mean 'Edema'"):
        evaluate.run(arguments(folder, "--unseen", "Edemas", "--output", str(folder / "unseen")))
    with pytest.raises(ValueError, match=r"--unseen, of --protocol cxr-lt-2026: these images know none of Scoliosis"):
        evaluate.run(arguments(folder, "--protocol", "cxr-lt-2026", "--output", str(folder / "unseen")))


def test_evaluating_nothing_says_what_is_expected(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no model"):
        evaluate.run([str(tmp_path)])
    with pytest.raises(ValueError, match="Which model"):
        evaluate.run([])
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="choose from untrained, supervised"):
        evaluate.run([str(tmp_path), "--on", "phantom", "--baselines", "best"])


def test_every_evaluator_shows_films_and_no_patient(folder) -> None:
    evaluators = "zero-shot,flip,few-shot,linear-probe,calibration,abstention,subgroups,composed,prompt-styles"
    output = folder / "films"
    assert evaluate.run([*arguments(folder), "--texts", "phantom", "--evaluators", evaluators, "--examples", "3",
                         "--shots", "[1]", "--shot-draws", "1", "--shares", "[1.0]", "--observations", FIVE,
                         "--prompt-styles", "report,terse", "--output", str(output)]) == 0  # fmt: skip
    drawn = {path.stem for path in output.glob("model-*_films.png")}
    assert drawn >= {f"model-{name.replace('-', '_')}_films" for name in evaluators.split(",")} - {
        "model-calibration_films",
        "model-abstention_films",
    }  # these refuse observations of so few images
    page = (output / "report.html").read_text()
    assert page.count("<figcaption>Films that were answered most and least certainly") == len(drawn)
    assert "phantom, test split: " in page and "http" not in page.split("How to repeat it")[0]
    patients = pd.read_parquet(next((folder / "p").glob("phantom-images-*/images.parquet")))["patient_id"]
    assert not [name for name in patients if f"{name}<" in page or f" {name} " in page]


def test_several_test_sets_stand_side_by_side(folder, capsys, tmp_path) -> None:
    films = []
    for name in ("one", "two"):
        for i in range(24):
            picture(tmp_path / name / f"{i}.png", seed=i + (name == "two") * 100)
        rows = [f"{name}/{i}.png,{name}{i},{i % 2},{i % 3 == 0:d},test" for i in range(24)]
        films.append(tmp_path / f"{name}.csv")
        films[-1].write_text("\n".join(["path,patient_id,Edema,Fracture,split", *rows]))
    on = ",".join(f"csv={path}" for path in films)
    arguments = [
        str(folder / "run"),
        "--on",
        on,
        "--prepared",
        str(folder / "p"),
        "--resamples",
        "20",
        "--device",
        "cpu",
    ]
    assert evaluate.run([*arguments, "--baselines", "untrained"]) == 0
    said = capsys.readouterr().out
    assert "By test set" in said and "The plain difference stands alone" in said
    saved = json.loads((folder / "run" / "evaluation" / "csv-one+csv-two" / "metrics.json").read_text())
    assert [row["test set"] for row in saved["test_sets"]] == ["csv-one", "csv-two"]
    (row,) = saved["robustness"]
    assert row["effective robustness"] is None and row["reference models"] == "untrained"
    found = saved["model"]["zero-shot"]
    one, two = (found[f"auroc/shared/test_set=csv-{name}"] for name in ("one", "two"))
    assert row["difference"] == pytest.approx(two - one, abs=1e-5)
    assert found["auroc/difference/test_set/csv-two-csv-one/low"] <= two - one
    page = (folder / "run" / "evaluation" / "csv-one+csv-two" / "report.html").read_text()
    assert "By test set</h2>" in page and "The plain difference stands alone" in page
    with pytest.raises(ValueError, match="name several with --on A,B"):
        evaluate.run([*arguments[:2], f"csv={films[0]}", *arguments[3:], "--references", str(folder / "run")])
    with pytest.raises(FileNotFoundError, match="Evaluate that run on the same test sets first"):
        evaluate.run([*arguments, "--references", str(tmp_path / "other"), "--overwrite"])


def test_a_test_set_that_lacks_one_evaluator_is_reported_apart_with_the_others(folder, capsys, tmp_path) -> None:
    for i in range(24):
        picture(tmp_path / f"{i}.png", seed=i)
    rows = [f"{i}.png,{i},{i % 2},{i % 3 == 0:d},{'valid' if i < 12 else 'test'}" for i in range(24)]
    (tmp_path / "films.csv").write_text("\n".join(["path,patient_id,Edema,Fracture,split", *rows]))
    more = ["--on", f"phantom,csv={tmp_path / 'films.csv'}", "--evaluators", "zero-shot,subgroups", "--output",
            str(tmp_path / "out")]  # fmt: skip
    assert evaluate.run([*arguments(folder), *more]) == 0
    saved = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [row["test set"] for row in saved["test_sets"]] == ["phantom", "csv-films"]
    alone = json.loads((tmp_path / "out" / "csv-films" / "metrics.json").read_text())
    assert set(alone["model"]) == {"zero-shot"}
    assert "csv-films: Left out: subgroups. " in capsys.readouterr().out


def test_an_evaluator_that_fails_late_leaves_what_the_others_found(folder, capsys, monkeypatch, tmp_path) -> None:
    def fail(*_: object) -> None:
        raise UserError("no threshold can be chosen.")

    monkeypatch.setattr(Subgroups, "__call__", fail)
    more = ["--evaluators", "zero-shot,subgroups", "--baselines", "untrained", "--output", str(tmp_path / "out")]
    assert evaluate.run([*arguments(folder), *more]) == 0
    assert "Left out: subgroups. no threshold can be chosen." in capsys.readouterr().out
    saved = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert saved["left_out"] == {"subgroups": "no threshold can be chosen."}
    assert set(saved["model"]) == set(saved["untrained"]) == {"zero-shot"}
    assert "Left out: subgroups." in (tmp_path / "out" / "report.html").read_text()
    more[1] = "subgroups"
    with pytest.raises(UserError, match="no threshold"):
        evaluate.run([*arguments(folder), *more, "--overwrite"])


def test_files_that_are_of_no_evaluation_are_kept(folder, tmp_path) -> None:
    (tmp_path / "model-comparison.csv").write_text("mine")
    first = arguments(folder, "--output", str(tmp_path))
    assert evaluate.run(first) == 0
    assert (tmp_path / "model-comparison.csv").read_text() == "mine"


def test_nothing_is_saved_beside_the_model_where_a_name_is_unknown(folder, tmp_path) -> None:
    shutil.copytree(folder / "run", tmp_path / "run", ignore=shutil.ignore_patterns("medclip_abstention.json"))
    more = ["--prepared", str(folder / "p"), "--observations", "Nonsense", "--abstention-error", "0.45", "--output",
            str(tmp_path / "out")]  # fmt: skip
    with pytest.raises(ValueError, match="know no 'Nonsense'"):
        evaluate.run([str(tmp_path / "run"), *arguments(folder)[1:], *more, "--save-abstention"])
    assert not list((tmp_path / "run" / "model").glob("medclip_abstention.json"))


def test_a_setting_that_no_chosen_evaluator_reads_is_told(folder, caplog, tmp_path) -> None:
    caplog.set_level("WARNING", "medclip")
    more = ["--evaluators", "zero-shot", "--shots", "1,2", "--resamples", "5", "--output", str(tmp_path / "out")]
    assert evaluate.run([*arguments(folder), *more]) == 0
    assert "--shots changes nothing: only few-shot reads it, and is not among --evaluators" in caplog.text
    assert "--resamples" not in caplog.text
