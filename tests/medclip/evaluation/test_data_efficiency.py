from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medclip.evaluation.data_efficiency import (
    Point,
    at_chance,
    chance_of,
    draw,
    factor,
    needed,
    points_of,
    rising,
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
    (line,) = statement(table(), "auroc/mean")
    assert line.startswith(
        "a has auroc/mean 0.700 with about 1,000 samples, b with about 10,000: 10 times as many (95 % interval "
    )


def curve(arm: str, shift: float, *, error: float, seeds: int = 3) -> pd.DataFrame:
    """An arm whose metric rises by .1 with every tenfold size, and reaches .6 at `shift` times 100."""
    rng = np.random.default_rng(len(arm))
    rows = [
        (arm, size, seed, "auroc/mean", value + rng.normal(0, error), value - 1.96 * error, value + 1.96 * error)
        for size in (100, 1000, 10000)
        for seed in range(seeds)
        for value in [0.6 + 0.1 * np.log10(size / shift / 100)]
    ]
    return pd.DataFrame(rows, columns=["arm", "size", "seed", "metric", "value", "low", "high"])


@pytest.mark.parametrize("times", [1.0, 4.0, 0.25])
def test_the_factor_is_that_of_the_curves(times: float) -> None:
    """Over many made-up experiments the interval covers the true factor, and more often than 95 %, as it says."""
    found = factor(curve("a", 1.0, error=0.0), curve("bb", times, error=0.0), draws=10)
    assert found.theirs / found.mine == pytest.approx(times, rel=1e-6)
    assert (found.low, found.high) == (pytest.approx(times, rel=1e-6), pytest.approx(times, rel=1e-6))
    noisy = factor(curve("a", 1.0, error=0.01), curve("bb", times, error=0.01), draws=500)
    assert noisy.low < times < noisy.high
    wider = factor(curve("a", 1.0, error=0.03), curve("bb", times, error=0.03), draws=500)
    assert wider.high / wider.low > noisy.high / noisy.low > 1.3


def test_a_factor_is_not_read_beyond_the_sizes() -> None:
    found = factor(curve("a", 1.0, error=0.0), curve("bb", 1e4, error=0.0), draws=10)
    assert found.mine_bounded
    assert found.mine == 100
    (line,) = statement(pd.concat([curve("a", 1.0, error=0.0), curve("bb", 50, error=0.0)]), "auroc/mean")
    assert "a has auroc/mean 0.630 with about 200 samples, bb with about 10,000: 50 times" in line


def test_one_run_without_an_interval_gives_a_factor_without_one() -> None:
    rows = [
        curve(arm, shift, error=0.0, seeds=1).assign(low=np.nan, high=np.nan) for arm, shift in (("a", 1), ("b", 4))
    ]
    assert np.isnan(factor(*rows).low)


def test_curves_are_fitted_as_rising() -> None:
    np.testing.assert_allclose(rising(np.array([0.5, 0.7, 0.6, 0.8])), [0.5, 0.65, 0.65, 0.8])


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
    assert not any("times as many" in line for line in lines)


def test_an_accuracy_of_runs_at_chance_claims_nothing_either() -> None:
    scores = [runs("good", {50: (0.7,)}, low=0.65), runs("guess", {50: (0.51,)}, low=0.45)]
    hits = [runs("good", {50: (0.5,)}, metric="accuracy"), runs("guess", {50: (0.42,)}, metric="accuracy")]
    assert "its auroc/mean is not shown to be better" in statement(pd.concat([*scores, *hits]), "accuracy")[0]
    more = [part.assign(size=200, value=part["value"] + 0.1) for part in hits]
    assert "times as many" in statement(pd.concat([*hits, *more]), "accuracy")[0]  # nothing tells that one guesses


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
