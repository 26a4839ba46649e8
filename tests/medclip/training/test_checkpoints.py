from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from medclip.training.checkpoints import LOG_EVERY, Checkpoints


def test_processes_ask_each_other_whether_to_stop_now_and_then_only(tmp_path: Path) -> None:
    asked = []

    def reduce(told: bool, all: bool) -> bool:
        asked.append(trainer.global_step)
        return told

    strategy = SimpleNamespace(reduce_boolean_decision=reduce)
    trainer = SimpleNamespace(world_size=2, global_step=0, max_steps=10**6, strategy=strategy)
    checkpoints = Checkpoints(tmp_path, monitor="auroc", every=10**5)
    for step in range(1, 101):
        trainer.global_step = step
        checkpoints.on_train_batch_end(trainer, None, None, None, step)
    assert asked == list(range(LOG_EVERY, 101, LOG_EVERY))
