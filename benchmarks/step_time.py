"""Where a training step goes, how much of the machine's arithmetic it uses, and what the trainer costs on top.

    python benchmarks/step_time.py                                          small towers, a minute on a CPU
    python benchmarks/step_time.py --vision torchvision:resnet50 --text base --size 224 --batch 8 --steps 6
    python benchmarks/step_time.py --vision swin --text base --size 224 --batch 256 --steps 60      on a GPU

Batches lie ready in memory for both loops, so this is arithmetic and bookkeeping; data is benchmarks/data_path.py.
The bare loop does what training must: transfer, forward, objective, backward, clipping, update, schedule.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.flop_counter import FlopCounterMode

from medclip.data.loader import Batch
from medclip.models import MedCLIPConfig, MedCLIPModel
from medclip.models.model import build_model
from medclip.objectives.semantic_matching import SemanticMatching
from medclip.training.callbacks import Profile
from medclip.training.checkpoints import Checkpoints
from medclip.training.module import TrainingModule
from medclip.training.step_module import Optimisation
from medclip.training.trainer import Machine, Plan, StepData, fit

SWIN_TINY = {"model_type": "swin", "embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]}
BERT_BASE = {"model_type": "bert", "vocab_size": 28996}


def make_model(vision: str, text: str, size: int) -> MedCLIPModel:
    torch.manual_seed(0)
    model = build_model(vision=vision if vision != "swin" else "small", vocab_size=28996, projection_dim=512)
    config = model.config.to_dict()
    if vision == "swin":
        config["vision_config"] = SWIN_TINY | {"image_size": size}
    if text == "base":
        config["text_config"] = BERT_BASE
    return MedCLIPModel(MedCLIPConfig.from_dict(config))


def make_batches(count: int, batch: int, size: int, length: int) -> list[Batch]:
    made = []
    for i in range(count):
        rng = torch.Generator().manual_seed(i)
        labels = torch.randint(0, 2, (2, batch, 14), generator=rng).float()
        ids = torch.randint(5, 28000, (batch, length), generator=rng)
        pixels, rows = torch.randn(batch, 1, size, size, generator=rng), torch.arange(batch)
        made.append(
            Batch(
                pixel_values=pixels, input_ids=ids, attention_mask=torch.ones_like(ids), text_rows=rows,
                image_labels=labels[0], text_labels=labels[1], image_studies=rows - batch, text_studies=rows - batch,
                text_ids=rows,
            )
        )  # fmt: skip
    return made


class Ready:
    """Steps that lie ready in memory."""

    def __init__(self, batches: list[Batch]) -> None:
        self._batches = batches

    def __getitem__(self, step: int) -> Batch:
        return self._batches[step % len(self._batches)]


class Clock(Callback):
    """The time of the steps after the first few."""

    def __init__(self, skip: int) -> None:
        self._skip, self.seconds, self.steps = skip, 0.0, 0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == self._skip - 1:
            synchronise(pl_module.device)
            self._since = time.perf_counter()
        if batch_idx >= self._skip and trainer.global_step == trainer.max_steps:
            synchronise(pl_module.device)
            self.seconds, self.steps = time.perf_counter() - self._since, batch_idx - self._skip + 1


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def module_of(options: argparse.Namespace, o: Optimisation) -> TrainingModule:
    model = make_model(options.vision, options.text, options.size)
    return TrainingModule(model, SemanticMatching(), optimisation=o, seed=0)


def by_trainer(options: argparse.Namespace, batches: list[Batch], callback: Any, steps: int) -> Any:
    o = Optimisation(1e-4, 1e-4, 0.1, steps, 1.0)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        plan = Plan(
            steps=steps, output=output, evaluate=lambda model: {}, every=10**9, callbacks=[callback], bar=False,
            checkpoints=Checkpoints(output / "checkpoints", monitor="none", every=10**9),
        )  # fmt: skip
        data = StepData(lambda rank, world: Ready(batches), steps=steps, workers=0)
        fit(module_of(options, o), data, plan, Machine(devices=1))
    return callback


def bare(options: argparse.Namespace, batches: list[Batch], steps: int) -> tuple[float, int]:
    """Returns seconds a step of a plain loop, and the floating-point operations of a step."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = module_of(options, Optimisation(1e-4, 1e-4, 0.1, steps, 1.0))
    model = module.model.to(device).train()
    model.vision.to(memory_format=torch.channels_last)
    configured = module.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    objective, half = SemanticMatching().to(device), device.type == "cuda"

    def step(batch: Batch) -> None:
        batch = batch.each(lambda tensor: tensor.to(device, non_blocking=True))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            pixels = batch.pixel_values.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
            images = model.encode_images(pixels)
            texts = model.encode_texts(batch.input_ids, batch.attention_mask).take(batch.text_rows)
            images = type(images)(images.embeds, labels=batch.image_labels, study_ids=batch.image_studies)
            texts = type(texts)(texts.embeds, labels=batch.text_labels, study_ids=batch.text_studies)
            loss = objective(images, texts, model.scale())["loss"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()

    with FlopCounterMode(display=False) as counter:
        step(batches[0])
    for i in range(2):
        step(batches[i % len(batches)])
    synchronise(device)
    begun = time.perf_counter()
    for i in range(steps):
        step(batches[i % len(batches)])
    synchronise(device)
    return (time.perf_counter() - begun) / steps, counter.get_total_flops()


def peak() -> float:
    """Returns the operations a second of a large matrix product, in the precision of training."""
    on_gpu = torch.cuda.is_available()
    side = 8192 if on_gpu else 2048
    a = torch.randn(side, side, device="cuda" if on_gpu else "cpu", dtype=torch.bfloat16 if on_gpu else torch.float32)
    best = 0.0
    for _ in range(5):
        synchronise(a.device)
        begun = time.perf_counter()
        a @ a
        synchronise(a.device)
        best = max(best, 2 * side**3 / (time.perf_counter() - begun))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vision", default="small", help="small, swin, or torchvision:ARCHITECTURE")
    parser.add_argument("--text", default="small", help="small, or base: as large as Bio_ClinicalBERT")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    batches = make_batches(4, options.batch, options.size, options.length)
    plain, trained = [], []
    for _ in range(options.rounds):  # in turn, so that both meet the same machine
        seconds, flops = bare(options, batches, options.steps)
        plain.append(seconds)
        clock = by_trainer(options, batches, Clock(2), options.steps + 2)
        trained.append(clock.seconds / clock.steps)
    profile = by_trainer(options, batches, Profile(skip=2), options.steps + 2)
    most, seconds, bare_seconds = peak(), min(trained), min(plain)
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    rate, used = options.batch / seconds, flops / seconds
    print(f"{options.vision} at {options.size}, text {options.text}, {options.batch} + {options.batch} a step, {where}")
    print(f"bare loop {1000 * bare_seconds:.1f} ms, trainer {1000 * seconds:.1f} ms: {seconds / bare_seconds - 1:+.1%}")
    print(f"{rate:,.0f} images a second; {flops / 1e9:,.0f} GFLOP a step")
    print(f"{used / 1e12:.3f} TFLOP/s of {most / 1e12:.3f} that a matrix product reaches: {used / most:.0%}")
    for part, milliseconds, share in profile.rows():
        print(f"  {part:<28} {milliseconds:>9.2f} ms {share:>5.0%}")


if __name__ == "__main__":
    main()
