from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score

from medclip.cli import classify
from medclip.cli import export as export_command
from medclip.data.images import fit_square
from medclip.inference.abstention import Abstention
from medclip.inference.calibration import Calibration, best_threshold, held_out_skill
from medclip.inference.classifier import ZeroShotClassifier
from medclip.inference.export import export
from medclip.inference.heatmap import heatmaps, overlay, to_original
from medclip.inference.onnx_classifier import OnnxClassifier
from medclip.inference.prompts import Prompts
from medclip.inference.scoring import Directions
from medclip.models import MedCLIPProcessor
from medclip.models.model import build_model
from medclip.models.processor import train_tokenizer
from tests.fixtures.dicom import dicom
from tests.fixtures.onnx import trace_once
from tests.fixtures.picture import picture

PROMPTS = {
    "Edema": Prompts(("edema", "pulmonary edema"), ("no edema",)),
    "Fracture": Prompts(("a fracture",), ("none",)),
    "Sarcoid": Prompts(("sarcoid nodes",)),
}
IMAGES = [np.random.default_rng(i).integers(0, 256, (50 + i, 40), dtype=np.uint8) for i in range(5)]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["pulmonary edema no a fracture none sarcoid nodes"], vocab_size=80)
    built = build_model(vocab_size=len(tokenizer), projection_dim=16).eval()
    return built, MedCLIPProcessor(tokenizer, image_size=32, cache_size=36)


@pytest.fixture
def classifier(model) -> ZeroShotClassifier:
    return ZeroShotClassifier(*model, PROMPTS)


def test_images_and_prompts_go_through_their_towers_once(model, monkeypatch) -> None:
    built, processor = model
    calls = {"images": 0, "texts": 0}
    original = {"images": built.encode_images, "texts": built.encode_texts}

    def counting(side: str):
        def call(first, *args, **kwargs):
            calls[side] += len(first)
            return original[side](first, *args, **kwargs)

        return call

    monkeypatch.setattr(built, "encode_images", counting("images"))
    monkeypatch.setattr(built, "encode_texts", counting("texts"))
    classifier = ZeroShotClassifier(built, processor, PROMPTS)
    classifier(IMAGES)
    classifier.distribution(classifier.embed(IMAGES[:2]), ["Edema", "Sarcoid"])
    assert calls == {"images": 7, "texts": 6}


def test_one_image_of_any_kind_is_one_row(classifier, tmp_path) -> None:
    array = IMAGES[0]
    expected = classifier([array]).to_numpy()
    for one in (array, torch.from_numpy(array), Image.fromarray(array), np.stack([array] * 3, axis=-1)):
        np.testing.assert_allclose(classifier(one).to_numpy(), expected, atol=1e-6)
    stack = np.stack([array] * 5)
    assert classifier(stack, batch_size=3).shape == classifier(stack[..., None], batch_size=4).shape == (5, 3)
    (tmp_path / "bad.png").write_bytes(b"no film")
    with pytest.raises(ValueError, match=r"bad\.png: not readable"):
        classifier([tmp_path / "bad.png"])
    with pytest.raises(ValueError, match="images of type int are not understood"):
        classifier(3)


def test_tensors_and_embeddings_of_images_and_texts(classifier) -> None:
    tensor = classifier(IMAGES[0], return_tensors="pt")
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_allclose(tensor.numpy(), classifier(IMAGES[:1]).to_numpy())
    images, texts = classifier.encode_image(IMAGES), classifier.encode_text("edema", return_tensors="pt")
    assert images.shape == (5, 16)
    assert texts.shape == (1, 16)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-5)
    with pytest.raises(ValueError, match="choose from pt, np"):
        classifier(IMAGES, return_tensors="tf")


def test_an_answer_depends_on_its_image_alone(classifier) -> None:
    together = classifier(IMAGES).to_numpy()
    alone = np.concatenate([classifier([image]).to_numpy() for image in IMAGES])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(classifier(IMAGES[::-1]).to_numpy()[::-1], together, atol=1e-6)
    np.testing.assert_allclose(classifier(IMAGES, batch_size=2).to_numpy(), together, atol=1e-6)


def test_an_observation_does_not_depend_on_the_others(model, classifier) -> None:
    fewer = ZeroShotClassifier(*model, {name: PROMPTS[name] for name in ("Sarcoid", "Edema")})
    np.testing.assert_allclose(fewer(IMAGES)["Edema"], classifier(IMAGES)["Edema"], atol=1e-6)
    turned = ZeroShotClassifier(*model, {"Edema": Prompts(PROMPTS["Edema"].positive[::-1], ("no edema",))})
    np.testing.assert_allclose(turned(IMAGES)["Edema"], classifier(IMAGES)["Edema"], atol=1e-6)


def test_one_of_several_classes_sums_to_one(classifier) -> None:
    shares = classifier.distribution(classifier.embed(IMAGES), ["Edema", "Sarcoid"])
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)


def test_calibration_gives_chances_and_the_best_threshold(classifier, tmp_path, caplog) -> None:
    rng = np.random.default_rng(0)
    embeds = rng.normal(size=(4000, 16)).astype(np.float32)
    embeds /= np.linalg.norm(embeds, axis=1, keepdims=True)
    chances = 1 / (1 + np.exp(-(6 * classifier.scores(embeds)[:, 0] - 1)))
    states = np.full((4000, 3), np.nan)
    states[:, 0] = rng.random(4000) < chances
    states[:3, 1] = 1
    made = classifier.calibrate(embeds, states, prompts="mine")
    assert list(made.slope) == ["Edema"]
    assert set(made.refused) == set(classifier.observations[1:])
    with caplog.at_level("WARNING"):
        turned = classifier.calibrate(embeds, 1 - states, prompts="mine")
    assert not turned.slope
    assert "Edema (its scores do not rise" in caplog.text
    made = classifier.calibrate(embeds, states, prompts="mine")
    assert np.abs(classifier.probabilities(embeds)[:, 0] - chances).max() < 0.06
    assert np.isnan(classifier.probabilities(embeds)[:, 1]).all()
    made.save(tmp_path)
    assert Calibration.load(tmp_path, prompts="mine") == made
    assert Calibration.load(tmp_path, prompts="others") is None
    assert Calibration.load(tmp_path / "elsewhere", prompts="mine") is None


def test_skill_is_told_on_patients_left_out_of_the_fit() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=600)
    patients = np.repeat(np.arange(200), 3)
    chance = 1 / (1 + np.exp(-3 * scores))
    sure = held_out_skill(rng.random(600) < chance, scores, patients)
    best = 1 - np.mean(chance * (1 - chance)) / 0.25  # what the true chances save
    assert sure == pytest.approx(best, abs=0.06)
    assert held_out_skill(rng.random(600) < 0.3, scores, patients) < 0.02
    # The order of the rows does not matter.
    truth = rng.random(600) < chance
    order = rng.permutation(600)
    assert held_out_skill(truth[order], scores[order], patients[order]) == pytest.approx(
        held_out_skill(truth, scores, patients), abs=1e-6
    )


def test_a_calibration_that_would_do_harm_is_refused(classifier, caplog) -> None:
    rng = np.random.default_rng(1)
    embeds = rng.normal(size=(60, 16)).astype(np.float32)
    states = np.full((60, 3), np.nan)
    states[:, 0] = rng.random(60) < 0.5  # nothing the scores know of
    states[:9, 1], states[9:, 1] = 1, 0
    for seed in range(40):  # a curve that happens to rise
        states[:, 0] = np.random.default_rng(seed).random(60) < 0.5
        made = classifier.calibrate(embeds, states)
        if "no better than" in made.refused.get(classifier.observations[0], ""):
            break
    else:
        pytest.fail("no draw of labels gave a rising curve without skill")
    assert "9 positive and 51 negative images, and 10 of each are needed" in made.refused[classifier.observations[1]]
    again = classifier.calibrate(embeds, states, least=9)
    assert "are needed" not in again.refused.get(classifier.observations[1], "")


def test_the_best_threshold_is_that_of_a_full_search() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.integers(0, 12, 80) / 11
    truth = rng.random(80) < probabilities
    best = max(np.unique(probabilities), key=lambda t: f1_score(truth, probabilities >= t))
    found = best_threshold(truth, probabilities)
    assert f1_score(truth, probabilities >= found) == pytest.approx(f1_score(truth, probabilities >= best))


@pytest.mark.parametrize("shape", [(80, 40), (40, 80), (60, 60)])
def test_a_heatmap_is_where_the_patch_is(shape: tuple[int, int]) -> None:
    """A square that is hot in one patch is hot there in the original, too."""
    _, geometry = fit_square(np.zeros(shape, np.uint8), 32)
    row, column = round(shape[0] * 0.7), round(shape[1] * 0.3)
    hot = np.zeros((32, 32), np.float32)
    y, x = int(row * geometry.scale + geometry.top), int(column * geometry.scale + geometry.left)
    hot[y, x] = 1
    found = to_original(hot, geometry, size=32)
    assert found.shape == shape
    peak = np.unravel_index(found.argmax(), shape)
    assert abs(peak[0] - row) <= 2 / geometry.scale
    assert abs(peak[1] - column) <= 2 / geometry.scale
    assert overlay(np.full(shape, 9, np.uint8), found).shape == (*shape, 3)


def test_heatmaps_are_cosines_of_patches(model) -> None:
    built, processor = model
    with torch.no_grad():
        encoded = built.encode_images(processor.images(IMAGES[:2]), local=True)
    text = np.eye(16, dtype=np.float32)[:1]
    found = heatmaps(encoded, text)
    assert found.shape == (2, 1, *encoded.grid)
    patch = encoded.local[1, 0].numpy()
    assert found[1, 0, 0, 0] == pytest.approx(patch[0] / np.linalg.norm(patch), abs=1e-6)
    with pytest.raises(ValueError, match="local=True"):
        heatmaps(built.encode_images(processor.images(IMAGES[:1])), text)


@pytest.fixture(scope="module", autouse=True)
def traced_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        trace_once(patch)
        yield


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export(*model, folder)
    return folder


@pytest.mark.slow
def test_an_export_says_what_the_model_says(model, exported) -> None:
    theirs, ours = ZeroShotClassifier(*model), OnnxClassifier(exported)
    np.testing.assert_allclose(ours.embed(IMAGES), theirs.embed(IMAGES), atol=1e-5)
    np.testing.assert_allclose(ours.probabilities(ours.embed(IMAGES[:1])), theirs(IMAGES[:1]), atol=1e-5)
    other = OnnxClassifier(exported, PROMPTS)
    theirs = ZeroShotClassifier(*model, PROMPTS)
    np.testing.assert_allclose(other.positive.vectors, theirs.positive.vectors, atol=1e-5)


@pytest.mark.parametrize("ensemble", ["logits", "max"])
def test_a_calibration_belongs_to_the_scores_it_was_fitted_on(model, ensemble: str, tmp_path) -> None:
    classifier = ZeroShotClassifier(*model, PROMPTS, ensemble=ensemble)
    embeds = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    embeds /= np.linalg.norm(embeds, axis=1, keepdims=True)
    scores = classifier.scores(embeds)
    made = classifier.calibrate(embeds, (scores > np.median(scores, axis=0)).astype(float), prompts="mine")
    assert made.ensemble == ensemble
    again = ZeroShotClassifier(*model, PROMPTS, calibration=made)  # takes the ensemble of its calibration
    np.testing.assert_array_equal(again.probabilities(embeds), classifier.probabilities(embeds))
    with pytest.raises(ValueError, match=f"ensemble {ensemble}, not embeddings"):
        ZeroShotClassifier(*model, PROMPTS, ensemble="embeddings", calibration=made)


def test_similarities_are_those_of_a_loop_over_prompts() -> None:
    rng = np.random.default_rng(0)
    embeds = {
        name: vector / np.linalg.norm(vector) for name, vector in zip("abcd", rng.normal(size=(4, 8)), strict=True)
    }
    images, entries = rng.normal(size=(5, 8)), [("a", "b"), (), ("c", "d", "a")]
    loops = {"logits": np.mean, "max": np.max}
    for ensemble, of in loops.items():
        found = Directions.of(entries, embeds, dim=8, ensemble=ensemble).similarity(images)
        for i, image in enumerate(images):
            for j, entry in enumerate(entries):
                expected = of([image @ embeds[text] for text in entry]) if entry else 0
                assert found[i, j] == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_an_export_keeps_ensemble_and_calibration(model, tmp_path) -> None:
    classifier = ZeroShotClassifier(*model, ensemble="max")
    rng = np.random.default_rng(0)
    embeds = classifier.embed(IMAGES)
    embeds = np.concatenate([embeds, rng.normal(size=(60, embeds.shape[1])).astype(np.float32)])
    scores = classifier.scores(embeds)
    states = (scores > np.median(scores, axis=0)).astype(float)
    made = classifier.calibrate(embeds, states, prompts="chexpert14")
    export(*model, tmp_path, calibration=made)
    np.testing.assert_allclose(
        OnnxClassifier(tmp_path).probabilities(embeds), classifier.probabilities(embeds), atol=1e-5
    )


@pytest.mark.slow
def test_an_export_knows_when_not_to_answer(saved, tmp_path, capsys) -> None:
    picture(tmp_path / "a.png", seed=0)
    Abstention(0.1, {"Edema": -9.0}, {"Edema": -9.0}, {}, "chexpert14").save(saved)
    export_command.run([str(saved), "--output", str(tmp_path / "e")])
    capsys.readouterr()
    classify.run([str(tmp_path / "e"), str(tmp_path / "a.png"), "--abstain", "--format", "json"])
    answers = json.loads(capsys.readouterr().out)[0]
    assert (answers["Edema (answer)"], answers["Fracture (answer)"]) == ("present", "unsure")


@pytest.mark.slow
def test_an_export_in_eight_bits_is_close(model, tmp_path) -> None:
    export(*model, tmp_path, int8=True)
    cosines = (OnnxClassifier(tmp_path).embed(IMAGES) * ZeroShotClassifier(*model).embed(IMAGES)).sum(axis=1)
    assert cosines.min() > 0.95


@pytest.mark.slow
def test_an_export_runs_without_torch(exported, tmp_path) -> None:
    picture(tmp_path / "a.png", seed=0)
    code = ("import sys; from medclip.cli.classify import run; "
            f"run([{str(exported)!r}, {str(tmp_path / 'a.png')!r}, '--format', 'json']); "
            "assert not {'torch', 'transformers', 'albumentations'} & set(sys.modules)")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)[0]["path"].endswith("a.png")


def test_what_is_no_export_says_so(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no medclip_export"):
        OnnxClassifier(tmp_path)


@pytest.fixture
def saved(model, tmp_path) -> Path:
    built, processor = model
    built.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_files_folders_and_dicom_are_classified(saved, tmp_path, capsys) -> None:
    picture(tmp_path / "images" / "a.png", seed=0)
    dicom(tmp_path / "images" / "b.dcm", np.arange(1280).reshape(40, 32))
    (tmp_path / "images" / "c.png").write_bytes(b"")
    arguments = [str(saved), str(tmp_path / "images"), str(tmp_path / "nowhere.png"), "--device", "cpu"]
    assert classify.run([*arguments, "--format", "csv", "--output", str(tmp_path / "answers.csv")]) == 1
    table = pd.read_csv(tmp_path / "answers.csv")
    assert [Path(p).name for p in table["path"]] == ["a.png", "b.dcm", "c.png", "nowhere.png"]
    assert table["error"].tolist()[2:] == ["the file is empty", "No such file or directory"]
    assert table["Edema"].notna().tolist() == [True, True, False, False]
    assert f"{tmp_path / 'answers.csv'}: 2 images, 14 observations" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match=r"There is no .*x\.png, nor any other of the 2"):
        classify.run([str(saved), str(tmp_path / "x.png"), str(tmp_path / "y.png")])
    for output, asked in (("answers.xlsx", "table"), ("answers", "table"), ("answers.csv", "json")):
        with pytest.raises(ValueError, match=rf"--output {output}.*answers are written to \.csv or \.json"):
            classify.run([*arguments, "--format", asked, "--output", output])
    classify.run([*arguments[:2], "--device", "cpu", "--classes", "[Edema, Fracture]"])
    assert "Fracture" in capsys.readouterr().out
    classify.run([*arguments[:2], "--device", "cpu", "--heatmap", str(tmp_path / "maps"), "--show", "[Edema]"])
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == ["a-Edema.png", "b-Edema.png"]
    classify.run([*arguments, "--html", str(tmp_path / "answers.html")])
    page = (tmp_path / "answers.html").read_text()
    assert page.count("<figure>") == 2
    assert "where the film is most like" in page
    assert "most like No Finding" not in page
    assert "the file is empty" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_calibration_can_be_left_aside_and_what_it_lacks_is_said(saved, model, tmp_path, capsys) -> None:
    picture(tmp_path / "a.png", seed=0)
    Calibration({"Edema": 2.0}, {"Edema": 0.0}, {"Edema": 0.5}, 40, "chexpert14").save(saved)
    arguments = [str(saved), str(tmp_path / "a.png"), "--device", "cpu", "--format", "json"]
    classify.run(arguments)
    said = capsys.readouterr()
    assert set(json.loads(said.out)[0]) == {"path", "Edema"}
    assert "Not calibrated, so without a probability: No Finding, " in said.err
    classify.run([*arguments, "--no-calibration"])
    said = capsys.readouterr()
    plain = json.loads(said.out)[0]
    assert len(plain) == 15
    assert plain["Edema"] == pytest.approx(ZeroShotClassifier(*model)(tmp_path / "a.png")["Edema"].iloc[0], abs=1e-5)
    assert "Not calibrated" not in said.err


def test_answers_are_given_only_where_rules_allow(saved, tmp_path, capsys) -> None:
    picture(tmp_path / "a.png", seed=0)
    arguments = [str(saved), str(tmp_path / "a.png"), "--device", "cpu", "--abstain"]
    with pytest.raises(ValueError, match=r"holds no medclip_abstention.json. Fit them .* --save-abstention"):
        classify.run(arguments)
    low, high = {"Edema": -9.0, "Fracture": 9.0, "Pneumonia": 9.0}, {"Edema": -9.0, "Fracture": 9.0, "Pneumonia": -9.0}
    Abstention(0.1, low, high, {}, "chexpert14").save(saved)
    classify.run([*arguments, "--format", "csv"])
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    answers = {name: table[f"{name} (answer)"][0] for name in ("Edema", "Fracture", "Pneumonia", "Atelectasis")}
    assert answers == {"Edema": "present", "Fracture": "absent", "Pneumonia": "unsure", "Atelectasis": "unsure"}
    classify.run(arguments)
    shown = capsys.readouterr().out
    assert "Answers, where there is one" in shown
    with pytest.raises(ValueError, match="--classes about exactly one"):
        classify.run([*arguments, "--classes", "[Edema, Fracture]"])
    with pytest.raises(ValueError, match="belong to prompts chexpert14, not chexzero"):
        classify.run([*arguments, "--prompts", "chexzero"])
    Abstention(0.1, low, high, {}, "chexpert14", "max").save(saved)
    with pytest.raises(ValueError, match="scores of ensemble max, not embeddings"):
        classify.run(arguments)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--classes", "[Croup]"], "no prompts for Croup"),
        (["--classes", "[Flu]"], "no prompts for Flu"),
        ([], "Which model"),
    ],
)
def test_wrong_questions_are_explained(saved, tmp_path, extra: list[str], message: str) -> None:
    picture(tmp_path / "a.png", seed=0)
    files = [str(tmp_path / "a.png")] if extra else []
    with pytest.raises(ValueError, match=message):
        classify.run([str(saved), *files, *extra, "--device", "cpu"])


@pytest.mark.slow
def test_an_export_answers_with_its_own_prompts(model, tmp_path, capsys) -> None:
    (tmp_path / "mine.yaml").write_text("Sarcoid: [sarcoid nodes]\nEdema: {positive: [edema], negative: [no edema]}\n")
    export(*model, tmp_path / "e", prompts=str(tmp_path / "mine.yaml"))
    picture(tmp_path / "a.png", seed=0)
    assert classify.run([str(tmp_path / "e"), str(tmp_path / "a.png"), "--format", "json"]) == 0
    assert set(json.loads(capsys.readouterr().out)[0]) == {"path", "Sarcoid", "Edema"}


def test_numbers_of_positive_prompts_alone_are_said_to_be_no_chances(saved, tmp_path, caplog) -> None:
    picture(tmp_path / "a.png", seed=0)
    (tmp_path / "p.yaml").write_text("Pacemaker: [A pacemaker.]\nEdema: {positive: [Edema.], negative: [No edema.]}\n")
    arguments = [str(saved), str(tmp_path / "a.png"), "--device", "cpu", "--prompts", str(tmp_path / "p.yaml")]
    classify.run(arguments)
    assert "Of Pacemaker there are positive prompts only, so their numbers are no chances" in caplog.text
    caplog.clear()
    classify.run([*arguments, "--classes", "Pacemaker,Edema"])
    assert "positive prompts only" not in caplog.text


def test_a_jpeg_that_is_decoded_small_is_drawn_at_its_size(saved, tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (600, 480), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg")
    arguments = [str(saved), str(tmp_path / "a.jpg"), "--device", "cpu", "--show", "Edema"]
    assert classify.run([*arguments, "--heatmap", str(tmp_path / "maps"), "--html", str(tmp_path / "a.html")]) == 0
    with Image.open(tmp_path / "maps" / "a-Edema.png") as drawn:
        assert drawn.width > 480
        assert drawn.height > 600
    page = (tmp_path / "a.html").read_text().partition("data:image/png;base64,")[2].partition('"')[0]
    with Image.open(io.BytesIO(base64.b64decode(page))) as shown:
        assert shown.height == 320
        assert shown.width > 2 * 256 + 6  # the film, the map, and the bar of its colours


def test_without_being_asked_no_heatmap_shows_that_there_is_nothing(saved, tmp_path, monkeypatch) -> None:
    picture(tmp_path / "a.png", seed=0)
    usual = ZeroShotClassifier.probabilities

    def normal(self: ZeroShotClassifier, embeds: np.ndarray) -> np.ndarray:
        found = usual(self, embeds)
        found[:, self.observations.index("No Finding")] = 1.0
        return found

    monkeypatch.setattr(ZeroShotClassifier, "probabilities", normal)
    arguments = [str(saved), str(tmp_path / "a.png"), "--device", "cpu", "--heatmap", str(tmp_path / "maps")]
    classify.run(arguments)
    (drawn,) = (tmp_path / "maps").iterdir()
    assert "No_Finding" not in drawn.name
    classify.run([*arguments, "--show", "No Finding"])
    assert (tmp_path / "maps" / "a-No_Finding.png").is_file()


def test_files_are_read_as_the_model_was_trained(model, tmp_path) -> None:
    built, usual = model
    processor = MedCLIPProcessor(usual.tokenizer, image_size=usual.image_size, dicom="mimic-cxr-jpg")
    built.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    dicom(tmp_path / "b.dcm", np.arange(1280).reshape(40, 32) ** 2 // 400)
    arguments = [str(tmp_path / "model"), str(tmp_path / "b.dcm"), "--device", "cpu", "--format", "csv"]
    classify.run([*arguments, "--output", str(tmp_path / "a.csv"), "--batch-size", "1"])
    answers = ZeroShotClassifier(built, processor)(tmp_path / "b.dcm")
    assert answers.index.tolist() == [str(tmp_path / "b.dcm")]
    expected = answers["Edema"].iloc[0]
    assert pd.read_csv(tmp_path / "a.csv")["Edema"][0] == pytest.approx(expected, abs=1e-5)
