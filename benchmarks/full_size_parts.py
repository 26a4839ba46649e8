"""What `benchmarks/full_size.py` measures, each on data that are prepared where it needs them."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.full_size_data import FullSize

BATCH = 64
#: What is measured with fewer than all films, by name.
TEST_IMAGES, RESAMPLES, WIDTH = 25_000, 1000, 512


def status(process: int | str, name: str, file: str = "status") -> float:
    """Returns a number of /proc/PROCESS/FILE in MiB; several of a name are added up."""
    text = Path(f"/proc/{process}/{file}").read_text()
    return sum(map(int, re.findall(rf"^{name}\w*:\s+(\d+)", text, re.MULTILINE))) / 1024


class Clock:
    """What a measurement tells: it starts the clock once what it needs is there."""

    def __init__(self) -> None:
        self.took = self.cpu = 0.0
        self.start()

    def start(self) -> None:
        self.begun, self._used = time.perf_counter(), cpu_seconds()

    def stop(self) -> None:
        self.took, self.cpu = time.perf_counter() - self.begun, cpu_seconds() - self._used


def cpu_seconds() -> float:
    """Returns the CPU time of this process, of its loading processes, and of those that ended."""
    loading = [Path(f"/proc/{child.pid}/stat").read_text().split() for child in multiprocessing.active_children()]
    ticks = sum(int(words[13]) + int(words[14]) for words in loading)
    return sum(os.times()[:4]) + ticks / os.sysconf("SC_CLK_TCK")


def read_tables(full: FullSize, clock: Clock) -> str:
    source = sources(full)
    clock.start()
    images, texts = source[0].images(), source[1].texts()
    clock.stop()
    return f"{len(images):,} films, {len(texts):,} reports"


def split(full: FullSize, clock: Clock) -> str:
    from medclip.data.prepared import declared_of, with_splits

    both = sources(full)
    tables = both[0].images(), both[1].texts()
    clock.start()
    declared = declared_of(both)
    made = [with_splits(table, source, 0, declared)[0] for table, source in zip(tables, both, strict=True)]
    clock.stop()
    return f"{(made[0]['split'] == 'train').sum():,} films to train on"


def prepare_sentences(full: FullSize, clock: Clock) -> str:
    from medclip.data.preparation import Preparation
    from medclip.data.prepare_texts import prepare_texts

    for old in full.prepared.glob("csv-sentences-*"):
        shutil.rmtree(old)
    clock.start()
    made = prepare_texts(sources(full)[1], Preparation(full.prepared, full.side))
    clock.stop()
    return f"{len(made.sentences):,} different sentences, said {len(made.occurrences):,} times"


def look(full: FullSize, clock: Clock) -> str:
    clock.start()
    tables = tables_of(full)
    clock.stop()
    return f"{sum(map(len, tables.images)):,} films in the cache"


def build(full: FullSize, clock: Clock) -> str:
    tables = tables_of(full)
    clock.start()
    made = batches_of(full, tables)
    clock.stop()
    return f"{len(made.images.keys):,} films and {made.texts.drawn:,} sentences to draw from"


def first_batch(full: FullSize, clock: Clock) -> str:
    made = batches_of(full, tables_of(full))
    clock.start()
    made(0, 1)[0]
    clock.stop()
    return ""


def batches(full: FullSize, clock: Clock, workers: int) -> str:
    from medclip.data.loader import step_loader

    steps = batches_of(full, tables_of(full))(0, 1)
    before = private("self")
    clock.start()
    loader = iter(step_loader(steps, start=0, stop=full.batches + 8 * workers, workers=workers, pin_memory=False))
    for _ in range(full.batches):
        next(loader)
    clock.stop()
    rate = f"{full.batches / clock.took:.1f} a second, {full.batches / clock.cpu:.1f} a second of CPU"
    said = f"{full.batches:,} of {BATCH} + {BATCH}: {rate}, {descriptors('self')} descriptors"
    children = multiprocessing.active_children()
    if not children:
        alone = augmentation_rate(full)
        return f"{said}; augmentation alone {alone:.1f} a second of CPU; grew by {private('self') - before:.0f} MiB"
    held = [private(child.pid) for child in children]
    files = max(descriptors(child.pid) for child in children)
    return f"{said}; a worker's private memory at most {max(held):.0f} MiB, its descriptors {files}"


def augmentation_rate(full: FullSize) -> float:
    """Returns batches a second of CPU of the augmentation alone, on films that lie in memory."""
    from medclip.data.transforms import Augmentation, apply, train_pipeline

    pipeline = train_pipeline(full.side, Augmentation())
    squares = np.random.default_rng(0).integers(0, 256, (BATCH, full.side, full.side), dtype=np.uint8)
    begun = cpu_seconds()
    for step in range(full.batches // 4):
        apply(pipeline, squares, seed=step)
    return full.batches // 4 / (cpu_seconds() - begun)


def resume(full: FullSize, clock: Clock) -> str:
    import torch

    from medclip.data.loader import step_loader

    made, middle = batches_of(full, tables_of(full)), 123_456
    wanted = made(0, 1)[middle + 1]
    clock.start()
    loader = iter(step_loader(made(0, 1), start=middle, stop=middle + 9, workers=1, pin_memory=False))
    next(loader)
    clock.stop()
    found = next(loader)
    same = all(torch.equal(value, getattr(wanted, name)) for name, value in vars(found).items() if value is not None)
    return f"at step {middle:,}; the next batch is {'the same' if same else 'ANOTHER'} as uninterrupted"


def evaluation_tables(full: FullSize, clock: Clock) -> str:
    import pandas as pd

    from medclip.data.cache import PixelCache
    from medclip.data.prepared import together
    from medclip.evaluation.evaluators import EvaluationData
    from medclip.evaluation.evaluators.zero_shot import ZeroShot

    clock.start()
    made = prepared_of(full)
    images = pd.concat([one.images for one in made if one.images is not None], ignore_index=True)
    sentences, occurrences = together([one for one in made if one.sentences is not None])
    cache = PixelCache(full.prepared / "cache", full.side)
    data = EvaluationData(images, cache, sentences=sentences, occurrences=occurrences)
    ZeroShot(data)
    clock.stop()
    return f"{len(data.rows()):,} films to report on"


def intervals(full: FullSize, clock: Clock) -> str:
    from medclip.evaluation.bootstrap import bootstrap, mean_sampled, sample
    from medclip.evaluation.metrics import auroc

    images, rng = min(TEST_IMAGES, full.films), np.random.default_rng(0)
    truth = rng.random((images, 14)) < 0.1
    scores = (truth + rng.standard_normal(truth.shape)).astype(np.float32)
    patients = rng.integers(0, images // 9, images)
    clock.start()
    drawn = bootstrap(patients, resamples=RESAMPLES, seed=0)
    found = [sample(lambda weights, j=j: auroc(truth[:, j], scores[:, j], weights), drawn) for j in range(14)]
    mean = mean_sampled(found).metric()
    clock.stop()
    return (
        f"{images:,} films x 14, {RESAMPLES:,} resamples: mean AUROC {mean.value:.4f} ({mean.low:.4f}-{mean.high:.4f})"
    )


def index(full: FullSize, clock: Clock) -> str:
    from medclip.inference.index import Index

    path, rng = full.folder / "index.safetensors", np.random.default_rng(0)
    embeds = rng.standard_normal((full.sentences, WIDTH), dtype=np.float32)
    embeds /= np.linalg.norm(embeds, axis=1, keepdims=True)
    names = [f"sentence {i}" for i in range(full.sentences)]
    clock.start()
    Index(embeds, names).save(path)
    loaded = Index.load(path)
    built = time.perf_counter() - clock.begun
    _, rows = loaded.search(embeds[:100], k=10)
    clock.stop()
    path.unlink()
    right = (rows[:, 0] == np.arange(100)).all()
    said = f"{full.sentences:,} x {WIDTH}: saved and read in {built:.1f} s"
    return f"{said}, 100 questions in {clock.took - built:.2f} s; right: {right}"


def fingerprints(full: FullSize, clock: Clock) -> str:
    from medclip.data.cache import PixelCache

    for old in (full.prepared / "cache").rglob("*.fingerprints"):
        old.unlink()
    cache = PixelCache(full.prepared / "cache", full.side)
    keys = prepared_of(full)[0].images["_key"].tolist()
    clock.start()
    cache.fingerprints(keys)
    clock.stop()
    begun = time.perf_counter()
    cache.fingerprints(keys)
    return f"read again in {time.perf_counter() - begun:.1f} s"


def start(full: FullSize, clock: Clock) -> str:
    """Runs medclip-train as a user does, and looks when it makes its first step."""
    output = full.folder / "run"
    shutil.rmtree(output, ignore_errors=True)
    words = [
        "--images",
        f"csv={full.images}",
        "--texts",
        f"csv={full.texts}",
        "--prepared",
        str(full.prepared),
        "--source-options",
        "{csv: {population: full}}",
        "--cache-size",
        str(full.side),
        "--image-size",
        str(full.side),
        "--output",
        str(output),
        "--workers",
        "2",
        "--steps",
        "100000",
        "--accelerator",
        "cpu",
        "--vision",
        "tiny",
        "--text",
        "tiny",
        "--batch-images",
        "8",
        "--batch-texts",
        "8",
        "--threads",
        "1",
    ]
    clock.start()
    process = subprocess.Popen([sys.executable, "-c", _TRAIN, *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = next((line for line in process.stdout if line.startswith("first step")), "")
    process.wait()
    clock.stop()
    shutil.rmtree(output, ignore_errors=True)
    if not said:
        raise SystemExit("medclip-train made no step; what it said stands above.")
    return said.strip()


_TRAIN = """
import os, sys
from benchmarks.full_size_parts import descriptors, private, status
from medclip.training.module import TrainingModule
from multiprocessing import active_children

def first(self, outputs, batch, batch_idx):
    held = [round(private(child.pid)) for child in active_children()]
    said = f"first step: main process {status('self', 'VmHWM'):.0f} MiB at most, {status('self', 'VmRSS'):.0f} then"
    print(f"{said}, {descriptors('self')} descriptors; workers' private MiB {held}", flush=True)
    [child.kill() for child in active_children()]
    os._exit(0)

TrainingModule.on_train_batch_end = first
from medclip.cli.train import main
sys.exit(main())
"""


def private(process: int | str) -> float:
    """Returns the memory in MiB that a process shares with no other."""
    return status(process, "Private_", "smaps_rollup")


def descriptors(process: int | str) -> int:
    """Returns the number of files that a process has open."""
    return len(os.listdir(f"/proc/{process}/fd"))


def config_of(full: FullSize) -> Any:
    from medclip.runs.settings import TrainConfig

    return TrainConfig(
        images=f"csv={full.images}", texts=f"csv={full.texts}", source_options={"csv": {"population": "full"}},
        prepared=str(full.prepared), cache_size=full.side, image_size=full.side, batch_images=BATCH, batch_texts=BATCH,
        output=str(full.folder / "run"),
    )  # fmt: skip


def sources(full: FullSize) -> list[Any]:
    from medclip.runs.train_data import find_train_sources

    found = find_train_sources(config_of(full))
    return [*found.images, *found.texts]


def prepared_of(full: FullSize) -> list[Any]:
    from medclip.data.preparation import Preparation
    from medclip.runs.prepare import prepare_sources

    both = sources(full)
    return prepare_sources(both[:1], both[1:], Preparation(full.prepared, full.side))


def tables_of(full: FullSize) -> Any:
    from medclip.runs.train_data import find_train_sources, prepare_train_data

    config = config_of(full)
    return prepare_train_data(config, find_train_sources(config))


def batches_of(full: FullSize, tables: Any) -> Any:
    from labelers.observations import LabelPolicy
    from medclip.data.cache import PixelCache
    from medclip.data.transforms import Augmentation
    from medclip.inference.prompts import load_prompts
    from medclip.objectives.semantic_matching import SemanticMatching
    from medclip.runs.train_batches import Parts, batches_of
    from medclip.runs.train_model import new_model

    config = config_of(full)
    policy = LabelPolicy(uncertain=config.uncertain, negative=config.negative)
    parts = Parts(SemanticMatching(), policy, Augmentation(), load_prompts(config.prompts))
    _, processor = new_model(config, tables.sentences, parts.objective)
    cache = PixelCache(full.prepared / "cache", full.side)
    return batches_of(config, parts, tables, cache, processor)
