from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medclip.evaluation.data_efficiency import (
    Point,
    at_chance,
    chance_of,
    draw,
    needed,
    points_of,
    statement,
    summary,
    tidy,
    verdict,
)


def table() -> pd.DataFrame:
    """Two arms whose curves are known: arm b needs ten times the samples of arm a."""
    found = {}
    for size, a, b in ((100, 0.6, 0.5), (1000, 0.7, 0.6), (10000, 0.8, 0.7)):
        for seed, shift in ((0, -0.01), (1, 0.01)):
            found[Point("a", size, seed)] = {"auroc/mean": a + shift, "auroc/mean/low": a - 0.04, "loss": 1.0}
            found[Point("b", size, seed)] = {"auroc/mean": b + shift, "auroc/mean/low": b - 0.04}
    return tidy(found, ["auroc/mean"])


def test_points_show_a_whole_curve_early() -> None:
    points = points_of(["a", "b"], [20, 10], 2)
    assert [point.name for point in points[:4]] == ["a-10-0", "b-10-0", "a-20-0", "b-20-0"]
    assert len(set(points)) == 8


def test_mean_and_deviation_over_seeds() -> None:
    row = summary(table()).query("arm == 'a' and size == 1000").iloc[0]
    assert row["mean"] == pytest.approx(0.7)
    assert row["sd"] == pytest.approx(np.std([0.69, 0.71], ddof=1))


def test_samples_needed_are_interpolated_on_a_log_scale() -> None:
    sizes, values = np.array([100.0, 1000.0, 10000.0]), np.array([0.6, 0.7, 0.8])
    assert needed(sizes, values, 0.7) == pytest.approx(1000)
    assert needed(sizes, values, 0.65) == pytest.approx(100 * 10**0.5)
    assert needed(sizes, values, 0.5) == 100
    assert needed(sizes, values, 0.9) == float("inf")


def test_the_statement_says_who_needs_how_many() -> None:
    lines = statement(table(), "auroc/mean")
    assert lines == [
        "a reaches b's best auroc/mean of 0.700, at 10,000 samples, with about 1,000: 0.10 times as many.",
        "b does not reach a's best auroc/mean of 0.800, at 10,000 samples; its own best is 0.700.",
    ]


def test_the_figure_has_every_arm_and_the_published_numbers() -> None:
    figure = draw(table(), ["auroc/mean"], published={"auroc/mean": [("GLoRIA, 191K", 191_000, 0.5)]})
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b", "chance"]
    (chance,) = [line for line in axes.lines if line.get_label() == "chance"]
    assert set(chance.get_ydata()) == {0.5}
    assert "chance" not in [line.get_label() for line in draw(table(), ["accuracy"]).axes[0].lines]
    assert [text.get_text() for text in axes.texts] == ["GLoRIA, 191K"]


def test_the_verdict_says_where_an_arm_is_ahead_level_or_behind() -> None:
    runs = {
        ("a", 10): (0.80, 0.82, 0.81), ("a", 20): (0.80, 0.84, 0.82), ("b", 10): (0.70, 0.71, 0.72),
        ("b", 20): (0.83, 0.80, 0.81), ("c", 20): (0.95, 0.96, 0.95), ("c", 10): (0.81,),
    }  # fmt: skip
    rows = [
        (arm, size, seed, "auroc", value) for (arm, size), values in runs.items() for seed, value in enumerate(values)
    ]
    first, second = verdict(pd.DataFrame(rows, columns=["arm", "size", "seed", "metric", "value"]), "auroc")
    assert first == "a against b, auroc: ahead at 10 (+0.100); level at 20 (+0.007)."
    assert second == "a against c, auroc: behind at 20 (-0.133); unknown, with one seed, at 10 (+0.000)."


def runs(arm: str, values: dict[int, tuple[float, ...]], *, low: float = float("nan"), metric: str = "auroc/mean"):
    """Runs of one arm by size, a value for each seed, all with one lower bound."""
    rows = [(arm, size, seed, metric, v, low, 1.0) for size, found in values.items() for seed, v in enumerate(found)]
    return pd.DataFrame(rows, columns=["arm", "size", "seed", "metric", "value", "low", "high"])


def test_nothing_is_claimed_of_an_arm_at_chance() -> None:
    good = runs("good", {50: (0.7,), 200: (0.8,)}, low=0.65)
    guess = runs("guess", {50: (0.48,), 200: (0.515,)}, low=0.47)
    lines = statement(pd.concat([good, guess]), "auroc/mean")
    assert lines == [
        "guess: at 200 samples, where its auroc/mean is best (0.515), its auroc/mean is not shown to be better than "
        "chance (0.500). Nothing is said of how many samples it needs."
    ]
    lines = statement(pd.concat([guess, guess.assign(arm="other")]), "auroc/mean")
    assert len(lines) == 2
    assert not any("times as many" in line or "reach" in line for line in lines)


def test_an_accuracy_of_runs_at_chance_claims_nothing_either() -> None:
    scores = [runs("good", {50: (0.7,)}, low=0.65), runs("guess", {50: (0.51,)}, low=0.45)]
    hits = [runs("good", {50: (0.5,)}, metric="accuracy"), runs("guess", {50: (0.42,)}, metric="accuracy")]
    assert "its auroc/mean is not shown to be better" in statement(pd.concat([*scores, *hits]), "accuracy")[0]
    assert "reaches" in statement(pd.concat(hits), "accuracy")[0]  # nothing tells that one of them guesses


def test_where_both_guess_neither_is_ahead() -> None:
    first = pd.concat([runs("a", {50: (0.49, 0.52)}, low=0.45), runs("a", {200: (0.70, 0.71)}, low=0.66)])
    second = runs("b", {50: (0.47, 0.48), 200: (0.52, 0.53)}, low=0.46)
    (line,) = verdict(pd.concat([first, second]), "auroc/mean")
    assert line == "a against b, auroc/mean: ahead at 200 (+0.180); both at chance at 50."


def test_what_shows_that_runs_are_better_than_chance() -> None:
    assert at_chance(runs("a", {50: (0.6, 0.6)}, low=0.49), 0.5)
    assert not at_chance(runs("a", {50: (0.6, 0.6)}, low=0.51), 0.5)
    assert at_chance(runs("a", {50: (0.3,)}, low=0.25), 0.5)  # worse than chance is no skill
    assert not at_chance(runs("a", {50: (0.60, 0.61, 0.62)}), 0.5)  # by the seeds, where there is no interval
    assert at_chance(runs("a", {50: (0.45, 0.70, 0.60)}), 0.5)
    assert at_chance(runs("a", {50: (0.9,)}), 0.5)  # one run without an interval shows nothing
    assert (chance_of("auroc/Edema"), chance_of("accuracy")) == (0.5, None)
