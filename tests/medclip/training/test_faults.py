"""What a run survives: being told to stop, kills in the middle of writing, damaged files, a full disk, divergence."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from medclip.cli.train import STOPPED
from medclip.encoded import Encoded
from medclip.objectives.semantic_matching import SemanticMatching
from medclip.training.callbacks import EvaluateEvery
from medclip.training.checkpoints import candidates, damage, newest
from medclip.training.health import Diverged, LossWatch, alignment, uniformity
from medclip.training.trainer import DirectIO
from tests.fixtures import runs

Train = Callable[..., int]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def train(home) -> Train:
    def train(name: str, *extra: str) -> int:
        return runs.train(home / name, *extra)

    return train


@pytest.fixture(scope="module")
def whole(home, train) -> Path:
    assert train("whole") == 0
    return home / "whole"


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def at_step(monkeypatch, step: int, act: Callable[[], None]) -> None:
    usual = EvaluateEvery.on_train_batch_end

    def hooked(self, trainer, *rest) -> None:
        usual(self, trainer, *rest)
        if trainer.global_step == step:
            act()

    monkeypatch.setattr(EvaluateEvery, "on_train_batch_end", hooked)


def kill() -> None:
    raise Killed


@pytest.fixture(scope="module")
def cut(home, train) -> Path:
    """A run killed after step 7, to be copied."""
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 7, kill)
        with pytest.raises(Killed):
            train("cut")
    return home / "cut"


@pytest.mark.parametrize("step", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_told_to_stop_it_saves_and_ends_with_its_own_code(home, train, whole, capsys, step: int) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, step, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert train(f"told-{step}") == STOPPED == 75
    assert f"Told to stop after step {step}" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) is before
    saved = torch.load(home / f"told-{step}" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == step
    assert train(f"told-{step}") == 0
    assert signal.getsignal(signal.SIGTERM) is before  # or the next of several runs could not be ended
    assert runs.same(home / f"told-{step}", whole)


def test_interrupted_from_the_keyboard_it_saves_and_gives_the_keyboard_back(home, train, capsys, caplog) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 3, lambda: os.kill(os.getpid(), signal.SIGINT))
        assert train("keyboard") == STOPPED
    assert "Once more to end at once" in caplog.text
    assert "Run the same command again to resume" in capsys.readouterr().out
    assert torch.load(home / "keyboard" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 3
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("nth", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 4, 5, 6, 7, 8))])
def test_a_kill_between_any_two_renamings_loses_nothing(home, train, whole, nth: int) -> None:
    """Checkpoints are written, linked and renamed; the run dies at the n-th of these."""
    done, usual = 0, os.replace

    def replace(*arguments) -> None:
        nonlocal done
        if "checkpoints" in str(arguments[0]):
            done += 1
            if done == nth:
                raise Killed
        usual(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medclip.training.checkpoints.os.replace", replace)
        with pytest.raises(Killed):
            train(f"renaming-{nth}")
    assert train(f"renaming-{nth}") == 0
    assert runs.same(home / f"renaming-{nth}", whole)
    assert not list((home / f"renaming-{nth}" / "checkpoints").glob(".*.part"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


SPOILED: dict[str, Callable[[Path], object]] = {
    "a flipped byte": flip,
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:1000]),
    "empty": lambda path: path.write_bytes(b""),
    "another file": lambda path: path.write_bytes(pickle.dumps({"a": 1})),
    "keys missing": lambda path: torch.save({"state_dict": {}}, path),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_damaged_checkpoint_is_passed_over(tmp_path, cut, how: str) -> None:
    folder = Path(shutil.copytree(cut / "checkpoints", tmp_path / "checkpoints"))
    last = folder / "last.ckpt"
    assert damage(last) is None
    assert newest(folder) == last
    SPOILED[how](last)
    assert damage(last) is not None
    assert newest(folder) == folder / "last.1.ckpt"


def test_a_run_with_a_damaged_checkpoint_resumes_from_the_one_before(home, train, whole, cut, caplog) -> None:
    shutil.copytree(cut, home / "damaged")
    flip(home / "damaged" / "checkpoints" / "last.ckpt")
    with caplog.at_level(logging.INFO, logger="medclip"):
        assert train("damaged") == 0
    assert "is damaged" in caplog.text
    assert "last.1.ckpt" in caplog.text
    assert runs.same(home / "damaged", whole)


def test_when_all_checkpoints_are_damaged_it_begins_again(home, train, whole, cut, caplog) -> None:
    shutil.copytree(cut, home / "all")
    for path in candidates(home / "all" / "checkpoints"):
        path.write_bytes(b"")
    assert newest(home / "all" / "checkpoints") is None
    assert train("all") == 0
    assert caplog.text.count("is damaged") >= 3
    assert runs.same(home / "all", whole)


def test_a_full_disk_is_reported_and_the_run_goes_on_afterwards(home, train, whole) -> None:
    usual, calls = DirectIO.save_checkpoint, 0

    def full(self, state, path, *rest, **more) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        usual(self, state, path, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DirectIO, "save_checkpoint", full)
        with pytest.raises(OSError, match=r"after step 6 could not be .*No space left.*last good one: .*last\.ckpt"):
            train("full")
    assert not list((home / "full" / "checkpoints").glob(".*.part"))
    assert train("full") == 0
    assert runs.same(home / "full", whole)


def test_the_newest_few_are_kept(home, train) -> None:
    assert train("keep", "--keep", "3", "--save-every", "1") == 0
    folder = home / "keep" / "checkpoints"
    steps = {path.name: torch.load(path, weights_only=True)["global_step"] for path in folder.iterdir()}
    assert {name: steps[name] for name in ("last.ckpt", "last.1.ckpt", "last.2.ckpt")} == {
        "last.ckpt": 8, "last.1.ckpt": 7, "last.2.ckpt": 6,
    }  # fmt: skip
    assert set(steps) == {"last.ckpt", "last.1.ckpt", "last.2.ckpt", "best.ckpt"}
    assert steps["best.ckpt"] % 2 == 0


def test_a_run_that_finished_but_for_its_last_file_ends_the_same(home, train, whole) -> None:
    shutil.copytree(whole, home / "end")
    (home / "end" / "metrics.json").unlink()
    assert train("end") == 0
    assert runs.same(home / "end", whole)


def test_a_run_that_was_moved_resumes_in_its_new_folder(home, train, whole, cut) -> None:
    shutil.copytree(cut, home / "moved")
    assert train("moved") == 0
    assert runs.same(home / "moved", whole)


def test_checkpoints_that_cannot_be_trusted_are_not_run(tmp_path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"state_dict": Trap()}, tmp_path / "last.ckpt")
    assert damage(tmp_path / "last.ckpt") is not None
    assert not (tmp_path / "sprung").exists()


def test_a_loss_far_above_its_beginning_stops_the_run(train) -> None:
    forward, calls = SemanticMatching.forward, 0

    def growing(*arguments):
        nonlocal calls
        calls += 1
        return {name: value * (1 + max(0, calls - 20)) for name, value in forward(*arguments).items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SemanticMatching, "forward", growing)
        with pytest.raises(Diverged, match=r"far above where it began.*last good checkpoint: .*last\.ckpt"):
            train("diverged", "--steps", "60", "--evaluate-every", "20")


def test_a_resumed_run_remembers_where_losses_began() -> None:
    whole, cut = LossWatch(), LossWatch()
    for value in [4.0] * 20 + [0.05] * 100:
        assert not whole.has_diverged(value)
    cut.load_state_dict(whole.state_dict())
    assert not any(cut.has_diverged(value) for value in [0.2] * 200)
    fresh = LossWatch()
    fresh.load_state_dict({})
    assert not fresh.has_diverged(1.0)


def test_a_single_peak_is_no_divergence() -> None:
    watch = LossWatch()
    assert not any(watch.has_diverged(value) for value in [4.0] * 30 + [40.0] + [4.0] * 30)
    assert any(watch.has_diverged(value) for value in [20.0] * 200)


def test_alignment_and_uniformity_against_loops() -> None:
    rng = torch.Generator().manual_seed(0)
    x, y = (torch.nn.functional.normalize(torch.randn(5, 4, generator=rng), dim=1) for _ in range(2))
    labels = torch.tensor([[1.0, -1], [-1, 1], [1, 0], [0, 0], [1, 1]])
    other = torch.tensor([[1.0, 0], [0, 0], [0, 1], [1, -1], [1, 1]])
    studies, others = torch.tensor([7, -1, -1, 3, -1]), torch.tensor([-1, 3, -1, -1, 7])
    same = {(0, 0), (2, 0), (4, 0), (1, 2), (4, 2), (0, 3), (4, 4), (3, 1), (0, 4)}
    expected = sum(float((x[i] - y[t]).pow(2).sum()) for i, t in same) / len(same)
    found = alignment(Encoded(x, labels=labels, study_ids=studies), Encoded(y, labels=other, study_ids=others))
    assert float(found) == pytest.approx(expected, abs=1e-5)
    pairs = [float((-2 * (x[i] - x[j]).pow(2).sum()).exp()) for i in range(5) for j in range(5) if i != j]
    assert float(uniformity(x)) == pytest.approx(float(torch.tensor(pairs).mean().log()), abs=1e-5)
    assert torch.isnan(alignment(Encoded(x, labels=labels * 0), Encoded(y, labels=other * 0)))


def test_what_is_watched_is_logged(home, train) -> None:
    assert train("watched", "--steps", "10", "--evaluate-every", "10") == 0
    header = (home / "watched" / "logs" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    for name in ("alignment", "uniformity_images", "uniformity_texts", "gradient_norm", "scale"):
        assert f"train/{name}" in header


def test_a_profile_says_where_the_time_goes(train, capsys) -> None:
    assert train("profile", "--steps", "12", "--evaluate-every", "6", "--step-times") == 0
    said = capsys.readouterr().out
    for part in ("data", "transfer", "forward", "backward", "optimiser", "validation and checkpoints", "The limit:"):
        assert part in said
    assert "mean of 7" in said


def test_images_varied_on_the_device_train_and_resume(home, train) -> None:
    assert train("device", "--augment-on", "device") == 0
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 5, kill)
        with pytest.raises(Killed):
            train("device-cut", "--augment-on", "device")
    assert train("device-cut", "--augment-on", "device") == 0
    assert runs.same(home / "device-cut", home / "device")


def test_loggers_that_cannot_be_had(train, monkeypatch) -> None:
    with pytest.raises(ValueError, match="choose from tensorboard, wandb and mlflow"):
        train("log", "--loggers", "paper")

    def missing(*_, **__) -> None:
        raise ModuleNotFoundError("wandb")

    monkeypatch.setattr("medclip.training.trainer.WandbLogger", missing)
    with pytest.raises(ValueError, match=r"pip install 'medclip-cxr\[wandb\]'"):
        train("log2", "--loggers", "tensorboard,wandb")
