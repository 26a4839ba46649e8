from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medclip.runs.settings import TrainConfig
from medclip.training.checkpoints import Checkpoints
from medclip.training.stages import SecondStage
from tests.fixtures import runs

LOCKED = ("--lock-vision", "all")


def checkpoints_of(tmp_path: Path, best_step: int, score: float | None = 0.7) -> Checkpoints:
    checkpoints = Checkpoints(tmp_path, monitor="auroc/mean", every=50)
    checkpoints.best_score, checkpoints.best_step = score, best_step
    return checkpoints


@pytest.mark.parametrize(
    ("stage", "step", "best_step", "due"),
    [(SecondStage(), 900, 50, False), (SecondStage(at=300), 299, 50, False), (SecondStage(at=300), 300, 50, True),
     (SecondStage(patience=2), 149, 50, False), (SecondStage(patience=2), 150, 50, True),
     (SecondStage(at=100, patience=2), 120, 100, True), (SecondStage(patience=2), 250, 200, False)],
)  # fmt: skip
def test_it_begins_after_a_step_or_without_progress(tmp_path, stage, step: int, best_step: int, due: bool) -> None:
    assert stage.is_due(step, checkpoints_of(tmp_path, best_step)) == due
    assert not SecondStage(patience=1).is_due(900, checkpoints_of(tmp_path, 0, score=None))


def weights(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "model" / "model.safetensors")


def test_locked_parts_train_where_validation_stands_still(tmp_path, monkeypatch) -> None:
    scores = {"never": iter([0.5] * 9), "later": iter([0.5, 0.6, 0.6, 0.6, 0.7, 0.8, 0.9])}
    began = {}
    for name, patience in (("never", "0"), ("later", "2")):
        validated = scores[name]
        monkeypatch.setattr("medclip.runs.train.means", lambda _, scores=validated: {"auroc/mean": next(scores)})
        options = (*LOCKED, "--unlock-patience", patience)
        assert runs.train(tmp_path / name, *options, steps=14, evaluate_every=2) == 0
        began[name] = runs.metrics(tmp_path / name).get("second_stage")
    assert began == {"never": None, "later": 8}  # the best was after step 4, and two validations were no better
    assert runs.metrics(tmp_path / "later")["best"]["step"] == 14
    first, second = weights(tmp_path / "never"), weights(tmp_path / "later")
    assert any(n.startswith("vision.backbone") and not torch.equal(first[n], second[n]) for n in first)


def test_patience_needs_validations() -> None:
    with pytest.raises(ValueError, match="--unlock-patience waits for validations"):
        TrainConfig(unlock_patience=2, evaluate_every=0)


SCRIPT = """
import os, sys, torch
from medclip.training.module import TrainingModule
def keep(module):
    torch.save({n: p.detach() for n, p in module.model.named_parameters()}, f"{sys.argv[1]}/{os.environ['RANK']}.pt")
TrainingModule.on_train_end = keep
from medclip.cli.train import run
raise SystemExit(run(sys.argv[2:]))
"""


@pytest.mark.slow
def test_two_processes_stay_one_model_through_both_stages(tmp_path) -> None:
    """Gradients of what is unlocked are exchanged: else each process would train a tower of its own."""
    (tmp_path / "train.py").write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]
    words = runs.flags(tmp_path / "run", *LOCKED, "--unlock-after", "0.5", "--devices", "2", steps=8)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([*launch, str(tmp_path / "train.py"), str(tmp_path), *words], env=environment, check=False,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert runs.metrics(tmp_path / "run")["second_stage"] == 4
    assert runs.train(tmp_path / "locked", *LOCKED, steps=8) == 0
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    rested = weights(tmp_path / "locked")
    assert any(n.startswith("vision.backbone") and not torch.equal(first[n], rested[n]) for n in first)
