"""What is covered on films, and what is left as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labelers.errors import UserError
from medclip.data.cleaning import Cleaning
from medclip.data.preprocessing import Preprocessing
from medclip.data.samplers import site_weights
from medclip.runs.settings import TrainConfig
from medclip.runs.train import train
from medclip.sources.phantom.radiograph import draw_radiograph
from medclip.sources.phantom.shortcut import marked

FILMS = np.stack([draw_radiograph(0, number, size=64) for number in range(24)])


def test_a_letter_in_the_corner_is_covered_and_the_rest_of_the_film_is_left_alone() -> None:
    clean = Cleaning(markers=True)
    bare, lettered = clean(FILMS), clean(np.stack([marked(film, "marker") for film in FILMS]))
    corner = np.s_[:, :14, :14]
    assert (lettered[corner].max(axis=(1, 2)) < 255).all()
    assert np.abs(lettered.astype(int) - bare)[corner].mean() < 6  # the letters are 255 on a background of about 50
    assert (bare[:, 16:48, 16:48] == FILMS[:, 16:48, 16:48]).all()
    assert (bare != FILMS).mean() < 0.01


def test_a_border_is_covered_with_what_is_inside() -> None:
    framed = np.stack([marked(film, "border") for film in FILMS])
    clean = Cleaning(border=0.06)
    np.testing.assert_array_equal(clean(framed), clean(FILMS))
    assert len(np.unique(clean(FILMS)[0, :3])) == 1


def test_corners_are_covered_with_what_is_between_them() -> None:
    lettered = np.stack([marked(film, "marker") for film in FILMS])
    clean = Cleaning(corners=0.2)
    np.testing.assert_array_equal(clean(lettered), clean(FILMS))
    assert (clean(FILMS)[:, 13:51, 13:51] == FILMS[:, 13:51, 13:51]).all()
    assert len(np.unique(clean(FILMS)[0, -13:, -13:])) == 1


def test_the_argument_is_left_as_it_is() -> None:
    films = np.stack([marked(film, "marker") for film in FILMS])
    before = films.copy()
    assert (Cleaning(0.08, markers=True)(films) != before).any()
    np.testing.assert_array_equal(films, before)


def test_a_share_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="is at least 0"):
        Preprocessing(64, 64, border=0.5)
    with pytest.raises(UserError, match="--mask-corners is a share of each side"):
        TrainConfig(images="phantom", mask_corners=0.5)


def test_a_run_cleans_at_inference_as_in_training(tmp_path: Path) -> None:
    import medclip

    config = TrainConfig(
        images="phantom", source_options={"phantom": {"studies": 120, "size": 32}}, vision="tiny", text="tiny",
        cache_size=32, image_size=32, batch_images=8, batch_texts=8, steps=2, evaluate_every=1, workers=0,
        output=str(tmp_path / "run"), prepared=str(tmp_path / "prepared"), mask_border=0.1, mask_corners=0.2,
        remove_markers=True,
        loggers="",
    )  # fmt: skip
    train(config, bar=False)
    _, processor = medclip.load_model(tmp_path / "run", device="cpu")
    assert processor.preprocessing.cleaning == Cleaning(0.1, corners=0.2, markers=True)
    framed = [marked(draw_radiograph(0, 0, size=32), "border")]
    plain = [draw_radiograph(0, 0, size=32)]
    np.testing.assert_array_equal(processor.images(framed).numpy(), processor.images(plain).numpy())


def test_weights_by_site_make_states_and_site_independent() -> None:
    rng = np.random.default_rng(0)
    states = (rng.random((4000, 3)) < 0.4).astype(float)
    sites = np.where(rng.random(4000) < np.where(states[:, 0] == 1, 0.9, 0.2), "a", "b")
    weights = site_weights(sites, states, power=1.0)

    def prevalence(site: str, weights: np.ndarray) -> float:
        return float(np.average(states[:, 0][sites == site], weights=weights[sites == site]))

    assert prevalence("a", np.ones(4000)) - prevalence("b", np.ones(4000)) > 0.5
    assert abs(prevalence("a", weights) - prevalence("b", weights)) < 0.03
    np.testing.assert_array_equal(site_weights(sites, states, power=0.0), np.ones(4000))
    np.testing.assert_array_equal(site_weights(np.full(4000, "a"), states, power=1.0), np.ones(4000))
