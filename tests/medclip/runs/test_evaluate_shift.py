from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medclip.evaluation.bootstrap import Metric, Sampled
from medclip.evaluation.evaluators import Result
from medclip.evaluation.report import Results
from medclip.runs.evaluate_output import names_of_test_sets
from medclip.runs.evaluate_shift import check_references, robustness

ONE, TWO = "auroc/shared/test_set=one", "auroc/shared/test_set=two"


def results(**others: tuple[float, float]) -> Results:
    drawn = np.array([0.88, 0.9, 0.92])
    model = Result({}, sampled={ONE: Sampled(0.9, drawn), TWO: Sampled(0.85, drawn - 0.05)})
    found = {("model", "zero-shot"): model}
    found |= {(who, "zero-shot"): Result({ONE: Metric(a), TWO: Metric(b)}) for who, (a, b) in others.items()}
    return Results(found, {"checksum": "same"}, {}, [], None, (), ("one", "two"))


def reference(folder: Path, one: float, two: float, *, checksum: str = "same") -> str:
    path = folder / "evaluation" / "one+two" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"checksum": checksum, "model": {"zero-shot": {ONE: one, TWO: two}}}))
    return str(folder)


def test_runs_and_baselines_are_what_the_line_is_fitted_to(tmp_path) -> None:
    runs = [reference(tmp_path / "a", 0.7, 0.7), reference(tmp_path / "b", 0.8, 0.8)]
    check_references(runs, folder="one+two", several=2)
    (row,) = robustness(results(untrained=(0.5, 0.5)), runs, folder="one+two").to_dict("records")
    assert row["test set"] == "two" and row["in distribution"] == "one"
    assert row["expected"] == pytest.approx(0.9)  # the others do not fall at all
    assert row["effective robustness"] == pytest.approx(-0.05) and row["difference"] == pytest.approx(-0.05)
    assert row["effective robustness_low"] == pytest.approx(-0.05, abs=1e-3)
    (alone,) = robustness(results(), runs, folder="one+two").to_dict("records")
    assert np.isnan(alone["effective robustness"]) and alone["difference"] == pytest.approx(-0.05)


def test_references_on_other_images_are_refused(tmp_path) -> None:
    other = reference(tmp_path / "a", 0.7, 0.7, checksum="another")
    with pytest.raises(ValueError, match="is about other images"):
        robustness(results(), [other], folder="one+two")
    with pytest.raises(FileNotFoundError, match="Evaluate that run on the same test sets first"):
        check_references([other], folder="two+one", several=2)
    with pytest.raises(ValueError, match="name several with --on A,B"):
        check_references([other], folder="one", several=1)


def test_test_sets_have_names_of_their_own() -> None:
    on = "nih=/data/CXR8, csv=a/films.csv,csv=b/films.csv"
    assert names_of_test_sets(on) == ["nih", "csv-films", "csv-films-2"]
