from __future__ import annotations

import math
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from medclip.encoded import Encoded
from medclip.models import MedCLIPConfig, MedCLIPModel, MedCLIPProcessor
from medclip.models.locking import lock
from medclip.objectives.clip import Clip
from medclip.objectives.moco import Moco
from medclip.objectives.semantic_matching import SemanticMatching
from medclip.training.callbacks import EvaluateEvery
from medclip.training.gradient_cache import encode_in_parts
from medclip.training.module import TrainingModule, follow, long_and_short
from medclip.training.step_module import NotFinite, Optimisation, warmup_cosine
from tests.fixtures import runs


def train(output: Path, *extra: str) -> Path:
    assert runs.train(output, *extra, batch_texts=12, steps=6) == 0
    return output


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """The prepared folder of all runs here."""
    return tmp_path_factory.mktemp("prepared")


@pytest.fixture
def command(tmp_path, prepared):
    return lambda name, *extra: train(tmp_path / name, "--prepared", str(prepared), *extra)


@pytest.fixture(scope="module")
def first(tmp_path_factory, prepared) -> Path:
    """A run with the settings of `command`, to be compared with or copied."""
    return train(tmp_path_factory.mktemp("runs") / "first", "--prepared", str(prepared))


def test_a_run_leaves_everything_it_promises_and_repeats_itself(first, command) -> None:
    assert {"model", "checkpoints", "logs", "config.yaml", "metrics.json"} <= {path.name for path in first.iterdir()}
    assert runs.same(first, command("second"))
    assert runs.metrics(first)["steps"] == 6
    card = (first / "model" / "README.md").read_text()
    assert re.search(r"- phantom: \d\d", card)
    assert "rules/chexpert14" in card
    assert "| auroc/mean |" in card
    assert "not a medical device" in card.lower()
    model, processor = MedCLIPModel.from_pretrained(first / "model"), MedCLIPProcessor.from_pretrained(first / "model")
    assert model.get_text_features(**processor.texts(["No effusion."])).shape == (1, 16)


def test_a_finished_run_is_not_repeated_and_another_is_not_overwritten(first, command, tmp_path, capsys) -> None:
    output = Path(shutil.copytree(first, tmp_path / "one"))
    before = (output / "metrics.json").stat().st_mtime_ns
    command("one")
    assert "complete" in capsys.readouterr().out
    assert (output / "metrics.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"other settings \(learning_rate\)"):
        command("one", "--learning-rate", "0.1")
    command("one", "--learning-rate", "0.1", "--steps", "1", "--overwrite")
    assert (output / "metrics.json").stat().st_mtime_ns != before


def test_a_loss_that_is_no_number_stops_at_once(command, monkeypatch) -> None:
    forward = SemanticMatching.forward
    monkeypatch.setattr(SemanticMatching, "forward", lambda *a: {k: v * float("nan") for k, v in forward(*a).items()})
    with pytest.raises(NotFinite, match=r"not finite at step 0 .*Lower --learning-rate"):
        command("nan")


def test_resuming_from_nothing_says_so(command) -> None:
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        command("x", "--resume", "nowhere.ckpt")


def test_the_schedule_rises_falls_and_ends_at_zero() -> None:
    values = [warmup_cosine(step, steps=100, warmup=0.1) for step in range(101)]
    assert values[0] == pytest.approx(0.1)
    assert values[9] == values[10] == 1.0
    assert values[55] == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.5)))
    assert values[100] == pytest.approx(0.0)


def test_vectors_and_the_scale_are_not_decayed() -> None:
    from tests.medclip.models.test_models import TINY_RESNET, tiny

    module = TrainingModule(
        tiny(TINY_RESNET), SemanticMatching(), optimisation=Optimisation(1e-3, 0.1, 0.1, 10, 1.0), seed=0
    )
    module._trainer = SimpleNamespace(precision_plugin=None)
    decayed, kept = module.configure_optimizers()["optimizer"].param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert any(p is module.model.logit_scale for p in kept["params"])


def tiny_module(objective: torch.nn.Module, **config: float) -> TrainingModule:
    from tests.medclip.models.test_models import TINY_RESNET, tiny

    model = tiny(TINY_RESNET)
    for name, value in config.items():
        setattr(model.config, name, value)
    return TrainingModule(model, objective, optimisation=Optimisation(1e-3, 0.1, 0.1, 10, 1.0), seed=0)


def test_momentum_towers_train_as_their_originals_and_keep_their_own_statistics() -> None:
    module = tiny_module(Moco(queue=4))
    lock(module.model.text.backbone, "all")
    module.train()
    norms = [m for m in module.momentum.vision.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert all(norm.training for norm in norms)
    assert not module.momentum.text.backbone.training
    with torch.no_grad():
        module.momentum.encode_images(torch.rand(4, 3, 32, 32))
    after = [norm.running_mean.clone() for norm in norms]
    assert any(float(mean.abs().sum()) for mean in after)
    follow(module.momentum, module.model, 0.5)
    assert all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, after, strict=True))
    assert not any(m.training for m in module.eval().momentum.modules())


def test_the_scale_comes_back_from_its_bound() -> None:
    module = tiny_module(Clip(), logit_scale_max=math.log(100.0))
    scale = module.model.logit_scale
    scale.data.fill_(math.log(100.0) - 1e-3)
    optimizer = torch.optim.SGD([scale], lr=0.01)
    for direction in (-1.0, 1.0):  # beyond the bound, then back
        for _ in range(5):
            optimizer.zero_grad()
            (direction * module.model.scale()).backward()
            optimizer.step()
            module.model.clamp_scale()
        assert scale.detach().exp() <= 100.001
    assert scale.detach().exp() < 99


def test_a_queue_is_shorter_than_the_data(caplog) -> None:
    objective = Moco(queue=100)
    objective.begin(dim=4, prevalence=torch.zeros(3), images=40)
    assert objective.text_queue.shape == (39, 4)
    assert "shortened to 39" in caplog.text


def test_a_projection_that_would_learn_nothing_is_refused(command) -> None:
    with pytest.raises(ValueError, match="--vision-local shared"):
        command(
            "filip", "--objective", "filip", "--vision-local", "last", "--source-options", runs.phantom(paired=True)
        )


def test_towers_are_checked_before_data_are_prepared(command, tmp_path) -> None:
    for extra, message in (
        (("--max-length", "140"), "128 positions"),
        (("--vision", "torchvision:shufflenet_v2_x0_5"), "map"),
    ):
        with pytest.raises(ValueError, match=message):
            command("long", *extra, "--prepared", str(tmp_path / "p"))
    assert not (tmp_path / "p").exists()


def test_a_validation_is_logged_once(command) -> None:
    logged = pd.read_csv(
        command("logged", "--steps", "24", "--evaluate-every", "12") / "logs" / "version_0" / "metrics.csv"
    )
    assert logged.loc[logged["valid/auroc/mean"].notna(), "step"].tolist() == [12, 24]


def step_gradients(size: int) -> tuple[torch.Tensor, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Returns loss, gradients and buffers of a step with `size` inputs encoded at once, dropout included."""
    torch.manual_seed(0)
    text = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 16, "vocab_size": 20, "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0}  # fmt: skip
    vision = {"model_type": "vit", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
              "intermediate_size": 16, "image_size": 16, "patch_size": 8, "hidden_dropout_prob": 0.0}  # fmt: skip
    model = MedCLIPModel(MedCLIPConfig(vision_config=vision, text_config=text, projection_dim=8)).train().double()
    pixels, tokens = torch.randn(6, 3, 16, 16).double(), torch.randint(0, 20, (6, 5))
    images = encode_in_parts(model.encode_images, pixels, size=size, model=model)
    texts = encode_in_parts(model.encode_texts, tokens, torch.ones_like(tokens), size=size, model=model)
    loss = Clip()(images, texts, model.scale())["loss"]
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in model.named_parameters()}, dict(model.named_buffers())


@pytest.mark.parametrize("size", [1, 4, 6])
def test_encoding_in_parts_changes_no_gradient(size: int) -> None:
    whole, parts = step_gradients(0), step_gradients(size)
    torch.testing.assert_close(parts, whole)


def test_batch_normalisation_counts_each_part_once() -> None:
    torch.manual_seed(0)
    tower = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Dropout()
    )

    def encode(pixels: torch.Tensor) -> Encoded:
        return Encoded(tower(pixels))

    encoded = encode_in_parts(encode, torch.randn(6, 1, 5, 5), size=2, model=tower)
    before = tower[1].running_mean.clone()
    encoded.embeds.sum().backward()
    assert int(tower[1].num_batches_tracked) == 3
    assert torch.equal(tower[1].running_mean, before)


@pytest.mark.parametrize(
    ("objective", "extra"),
    [("moco", ()), ("clip", ("--pair-text", "report", "--encode-batch", "5")),
     ("clip", ("--pair-by", "labels", "--blank", "source")), ("clip", ("--pair-text", "prompts", "--vision", "tiny")),
     ("semantic-matching", ("--pair-text", "report", "--pairs", "0.5", "--objective-options", "{pair_loss: 0.5}")),
     *(pytest.param(*case, marks=pytest.mark.slow) for case in
       (("gloria", ("--vision-local", "previous")), ("convirt", ("--projection", "mlp", "--lock-text", "1")),
        ("filip", ("--lock-vision", "all"))))],
)  # fmt: skip
def test_paired_objectives_train_and_resume(command, objective: str, extra: tuple[str, ...], monkeypatch) -> None:
    arguments = (
        "--objective",
        objective,
        *extra,
        "--steps",
        "4",
        "--source-options",
        "{phantom: {studies: 120, size: 32, paired: true}}",
    )
    whole = command("whole", *arguments)
    calls = {"count": 0}
    original = EvaluateEvery.on_train_batch_end

    def broken(self, *args):
        original(self, *args)
        calls["count"] += 1
        if calls["count"] == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(EvaluateEvery, "on_train_batch_end", broken)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        command("killed", *arguments)
    monkeypatch.undo()
    assert runs.same(whole, command("killed", *arguments))


def test_locked_parts_keep_their_weights(command) -> None:
    options = ("--source-options", "{phantom: {studies: 120, size: 32}}", "--lock-vision", "all", "--lock-text", "1")
    options += ("--evaluate-every", "9")
    short, long = command("short", "--steps", "2", *options), command("long", *options)
    a, b = (load_file(output / "model" / "model.safetensors") for output in (short, long))
    for name, value in a.items():
        locked = name.startswith(("vision.backbone", "text.backbone.embeddings", "text.backbone.encoder.layer.0"))
        if value.is_floating_point() and "pooler" not in name:
            assert torch.equal(value, b[name]) == locked, name


def test_a_limit_takes_fewer_images(command, caplog) -> None:
    with caplog.at_level("INFO"):
        command("few", "--limit", "40", "--steps", "1")
    assert any("Training on 40 images" in message or "Training on 41 images" in message for message in caplog.messages)


def test_pairs_that_cannot_be_end_at_once(command) -> None:
    with pytest.raises(ValueError, match=r"(?s)clip needs images and reports of the same studies.*--texts openi"):
        command("none", "--objective", "clip")


def test_locked_parts_can_train_later(command) -> None:
    options = ("--lock-vision", "all", "--evaluate-every", "9")
    never, later = command("never", *options), command("later", *options, "--unlock-after", "0.5")
    a, b = (load_file(output / "model" / "model.safetensors") for output in (never, later))
    changed = [n for n in a if n.startswith("vision.backbone") and a[n].ndim > 1 and not torch.equal(a[n], b[n])]
    assert changed


def test_low_rank_additions_end_up_in_the_weights(command) -> None:
    options = ("--lora-text", "2", "--lock-vision", "all", "--evaluate-every", "9")
    short, long = command("short", *options, "--steps", "1"), command("long", *options)
    a, b = (load_file(output / "model" / "model.safetensors") for output in (short, long))
    assert a.keys() == b.keys()
    assert not any("lora" in name for name in a)
    name = next(n for n in a if n.startswith("text.backbone.encoder") and n.endswith("weight") and a[n].ndim == 2)
    change = (a[name] - b[name]).double()
    assert 0 < torch.linalg.matrix_rank(change, tol=1e-6) <= 4
    MedCLIPModel.from_pretrained(long / "model")


PLAIN = ("--augmentation", "{crop: 1.0, jitter: 0.0, rotate: 0.0, shift: 0.0, scale: [1.0, 1.0]}")


def test_features_kept_of_locked_towers_train_the_same_model(command) -> None:
    arguments = ("--lock-vision", "all", "--lock-text", "all", "--steps", "6", "--evaluate-every", "3", *PLAIN)
    each, once = command("each", *arguments), command("once", *arguments, "--cache-features", "1")
    saved = [MedCLIPModel.from_pretrained(folder / "model").state_dict() for folder in (each, once)]
    for name, value in saved[0].items():
        torch.testing.assert_close(saved[1][name], value, rtol=1e-4, atol=1e-5)
    scores = [runs.metrics(folder)["best"]["auroc/mean"] for folder in (each, once)]
    assert scores[0] == pytest.approx(scores[1], abs=0.01)


def test_augmented_views_train_and_resume(command, monkeypatch) -> None:
    arguments = ("--lock-vision", "all", "--steps", "4", "--cache-features", "3", "--seed", "1")
    first = command("views", *arguments)
    again = command("again", *arguments)
    saved = [MedCLIPModel.from_pretrained(folder / "model").state_dict() for folder in (first, again)]
    assert all(torch.equal(value, saved[1][name]) for name, value in saved[0].items())


@pytest.mark.parametrize(
    ("extra", "message"),
    [((), "--lock-vision all"), (("--lock-vision", "all", "--unlock-after", "0.5"), "does not change"),
     (("--lock-vision", "all", "--augment-on", "device"), "--augment-on device"),
     (("--lock-vision", "all", "--objective", "filip", "--source-options", "{phantom: {paired: true}}"), "patches")],
)  # fmt: skip
def test_features_are_kept_of_locked_towers_only(command, extra: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        command("none", "--cache-features", "1", *extra)


def test_long_and_short_texts_are_encoded_apart() -> None:
    lengths = torch.tensor([40, 5, 6, 38, 5])
    (short, length), (long, longest) = long_and_short(lengths)
    assert (sorted(short.tolist()), length, sorted(long.tolist()), longest) == ([1, 2, 4], 6, [0, 3], 40)
    assert long_and_short(torch.tensor([7, 8, 7, 8])) is None
    assert long_and_short(torch.tensor([7])) is None


def test_masking_what_is_unknown_needs_denials_that_are_told_from_silence(command) -> None:
    with pytest.raises(ValueError, match="unknown: mask needs label vectors that tell silence from denial"):
        command("none", "--objective-options", "{unknown: mask}", "--negative", "absent")


@pytest.mark.parametrize("option", ["pair_weight", "pair_loss"])
def test_a_weight_of_pairs_needs_pairs(command, option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} has no effect without pairs"):
        command("none", "--objective-options", f"{{{option}: 0.5}}")


def test_a_loss_of_pairs_leaves_texts_to_match(command) -> None:
    with pytest.raises(ValueError, match="leaves no text for semantic matching"):
        command("none", "--objective-options", "{pair_loss: 0.5}", "--pairs", "1")


def test_without_validation_the_last_model_is_kept(tmp_path, caplog) -> None:
    assert runs.train(tmp_path / "blind", evaluate_every=0, steps=3) == 0
    left = runs.metrics(tmp_path / "blind")
    assert left["best"]["step"] == left["steps"] == 3
    assert "not defined" not in caplog.text
    assert {path.name for path in (tmp_path / "blind" / "checkpoints").iterdir()} == {"last.ckpt"}
