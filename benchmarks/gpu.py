"""Everything one wants to know from a GPU, in about ten minutes: as JSON, and as a table for the docs.

    python benchmarks/gpu.py --output gpu.json
    python benchmarks/gpu.py --tiny                 a minute on a CPU: the same parts at sizes that say nothing

Images a second and the share of the card's arithmetic (ResNet-50, Swin-T, text as large as Bio_ClinicalBERT; batch 100
to 512; bfloat16; memory formats; compiled or not), augmentation on host and device, gradient caching up to 4,096,
zero-shot, GLoRIA's local loss beside a loop, what the trainer costs, and how fast loaders are. A part that fails says
so, and the others go on; parts are skipped once --minutes are over.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gloria_attention import without_copies
from benchmarks.step_time import SWIN_TINY, Clock, by_trainer, make_batches, peak, synchronise
from medclip.data.gpu_transforms import DeviceAugmentation
from medclip.data.transforms import Augmentation, apply, train_pipeline
from medclip.encoded import Encoded
from medclip.models import MedCLIPConfig, MedCLIPModel
from medclip.models.config import TINY_TEXT, TINY_VISION
from medclip.objectives.gloria import local_similarity
from medclip.objectives.semantic_matching import SemanticMatching
from medclip.training.gradient_cache import encode_in_parts

Row = dict[str, Any]
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TOWERS = {"resnet50": {"model_type": "torchvision", "architecture": "resnet50"}, "swin-tiny": SWIN_TINY}
BERT = {"model_type": "bert", "vocab_size": 28996}


class Sizes:
    """How large everything is.

    Args:
        tiny: Whether only that everything runs is to be shown.
    """

    def __init__(self, *, tiny: bool) -> None:
        self.tiny = tiny
        self.image, self.length, self.steps = (32, 8, 2) if tiny else (224, 77, 12)
        self.batches = (4, 8) if tiny else (100, 256, 512)
        self.towers = {"tiny": TINY_VISION} if tiny else TOWERS
        self.text = TINY_TEXT | {"vocab_size": 28996} if tiny else BERT
        self.cached = (8, 16) if tiny else (1024, 4096)
        self.part = 4 if tiny else 256

    def model(self, vision: dict[str, Any]) -> MedCLIPModel:
        """Returns a new model on the device, in training mode."""
        torch.manual_seed(0)
        config = vision | ({"image_size": self.image} if vision.get("model_type") == "swin" else {})
        return MedCLIPModel(MedCLIPConfig(config, self.text, projection_dim=512)).to(DEVICE).train()


def autocast() -> Any:
    """Returns bfloat16 on a GPU, nothing on a CPU."""
    return torch.autocast("cuda", dtype=torch.bfloat16) if DEVICE.type == "cuda" else nullcontext()


def timed(work: Callable[[], object], *, repeats: int, warm: int = 2) -> tuple[float, float]:
    """Returns seconds a call, and the largest GPU memory in GiB."""
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(warm):
        work()
    synchronise(DEVICE)
    begun = time.perf_counter()
    for _ in range(repeats):
        work()
    synchronise(DEVICE)
    seconds = (time.perf_counter() - begun) / repeats
    return seconds, torch.cuda.max_memory_allocated() / 2**30 if DEVICE.type == "cuda" else float("nan")


def training(sizes: Sizes) -> Iterator[Row]:
    """Steps of forward, objective, backward and update; what of the card's arithmetic they use."""
    most = peak()
    for name, vision in sizes.towers.items():
        for batch in sizes.batches:
            for channels_last, compiled in ((False, False), (True, False), (True, True)):
                if (compiled or not channels_last) and batch != sizes.batches[0]:
                    continue
                row = {"part": "training", "tower": name, "batch": batch, "channels last": channels_last,
                       "compiled": compiled}  # fmt: skip
                yield row | attempt(
                    lambda v=vision, b=batch, c=channels_last, k=compiled: _steps(sizes, v, b, c, k, most)
                )


def _steps(sizes: Sizes, vision: dict[str, Any], batch: int, channels_last: bool, compiled: bool, most: float) -> Row:
    model, objective = sizes.model(vision), SemanticMatching(similarity="claims", target_temperature=0.1).to(DEVICE)
    if channels_last:
        model.vision.to(memory_format=torch.channels_last)
    if compiled:
        backend = "eager" if sizes.tiny else "inductor"  # on a CPU, compiling takes minutes and shows nothing
        model.vision.backbone.compile(backend=backend)
        model.text.backbone.compile(backend=backend)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    made = make_batches(1, batch, sizes.image, sizes.length)[0].each(lambda tensor: tensor.to(DEVICE))
    pixels = made.pixel_values.expand(-1, 3, -1, -1)
    pixels = pixels.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)

    def step() -> None:
        with autocast():
            images = Encoded(model.encode_images(pixels).embeds, labels=made.image_labels)
            texts = Encoded(model.encode_texts(made.input_ids, made.attention_mask).embeds, labels=made.text_labels)
            loss = objective(images, texts, model.scale())["loss"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    flops = 0
    if not compiled:
        with FlopCounterMode(display=False) as counter:
            step()
        flops = counter.get_total_flops()
    seconds, memory = timed(step, repeats=sizes.steps, warm=3)
    used = {"share of peak": flops / seconds / most} if flops else {}
    return {"images a second": batch / seconds, "ms": 1000 * seconds, "GiB": memory} | used


def augmentation(sizes: Sizes) -> Iterator[Row]:
    """Augmented images a second, on the host in one process and on the device."""
    squares = np.random.default_rng(0).integers(0, 255, (sizes.batches[-1], 256, 256), dtype=np.uint8)
    pipeline = train_pipeline(sizes.image, Augmentation())
    on_device = DeviceAugmentation(sizes.image, Augmentation())
    pixels = torch.from_numpy(squares)[:, None].to(DEVICE)
    for where, work in (
        ("host, one process", lambda: apply(pipeline, squares, seed=0)),
        ("device", lambda: on_device(pixels, seed=0)),
    ):
        yield {"part": "augmentation", "where": where} | attempt(
            lambda w=work: {"images a second": len(squares) / timed(w, repeats=3, warm=1)[0]}
        )


def gradient_caching(sizes: Sizes) -> Iterator[Row]:
    """Large batches, encoded in parts."""
    name, vision = next(iter(sizes.towers.items()))
    for batch in sizes.cached:

        def work(batch: int = batch) -> Row:
            model, objective = sizes.model(vision), SemanticMatching().to(DEVICE)
            made = make_batches(1, batch, sizes.image, sizes.length)[0].each(lambda tensor: tensor.to(DEVICE))

            def step() -> None:
                with autocast():
                    pixels = made.pixel_values.expand(-1, 3, -1, -1)
                    images = encode_in_parts(model.encode_images, pixels, size=sizes.part, model=model)
                    texts = encode_in_parts(
                        model.encode_texts, made.input_ids, made.attention_mask, size=sizes.part, model=model
                    )
                    images, texts = (
                        Encoded(images.embeds, labels=made.image_labels), Encoded(texts.embeds, labels=made.text_labels)
                    )  # fmt: skip
                    loss = objective(images, texts, model.scale())["loss"]
                model.zero_grad(set_to_none=True)
                loss.backward()

            seconds, memory = timed(step, repeats=2, warm=1)
            return {"images a second": batch / seconds, "ms": 1000 * seconds, "GiB": memory}

        yield {"part": "gradient caching", "tower": name, "batch": batch, "encoded at once": sizes.part} | attempt(work)


def zero_shot(sizes: Sizes) -> Iterator[Row]:
    """Images encoded a second, without gradients."""
    for name, vision in sizes.towers.items():

        def work(vision: dict[str, Any] = vision) -> Row:
            model = sizes.model(vision).eval()
            model.vision.to(memory_format=torch.channels_last)
            batch = sizes.batches[-1]
            pixels = torch.randn(batch, 1, sizes.image, sizes.image, device=DEVICE)
            with torch.inference_mode(), autocast():
                seconds, memory = timed(lambda: model.encode_images(pixels), repeats=sizes.steps)
            return {"images a second": batch / seconds, "GiB": memory}

        yield {"part": "zero-shot", "tower": name, "batch": sizes.batches[-1]} | attempt(work)


def local_loss(sizes: Sizes) -> Iterator[Row]:
    """GLoRIA's local similarity, all texts at once and in a careful loop, forward and backward."""
    batch, regions, words = (4, 9, 6) if sizes.tiny else (48, 361, 30)
    generator = torch.Generator().manual_seed(0)
    image = (torch.randn(batch, regions, 768, generator=generator) * 0.3).to(DEVICE).requires_grad_()
    text = (torch.randn(batch, words, 768, generator=generator) * 0.3).to(DEVICE).requires_grad_()
    mask = (torch.arange(words) < torch.randint(3, words + 1, (batch,), generator=generator)[:, None]).to(DEVICE)
    ways = {
        "all at once": lambda: local_similarity(image, text, mask),
        "loop": lambda: without_copies(image, text, mask),
    }
    for way, similarity in ways.items():

        def work(similarity: Callable[[], torch.Tensor] = similarity) -> Row:
            seconds, memory = timed(lambda: similarity().sum().backward(), repeats=3, warm=1)
            return {"ms": 1000 * seconds, "GiB": memory}

        yield {"part": "GLoRIA's local loss", "way": way, "batch": batch} | attempt(work)


def trainer(sizes: Sizes) -> Iterator[Row]:
    """A step by the trainer, with everything it does beside arithmetic."""
    options = argparse.Namespace(
        vision="small" if sizes.tiny else "torchvision:resnet50",
        text="small" if sizes.tiny else "base",
        size=sizes.image,
    )

    def work() -> Row:
        batches = make_batches(2, sizes.batches[0], sizes.image, sizes.length)
        clock = by_trainer(options, batches, Clock(2), sizes.steps + 2)
        return {
            "ms": 1000 * clock.seconds / clock.steps,
            "images a second": sizes.batches[0] * clock.steps / clock.seconds,
        }

    yield {"part": "trainer", "tower": options.vision, "batch": sizes.batches[0]} | attempt(work)


def loaders(sizes: Sizes) -> Iterator[Row]:
    """Batches of cached synthetic images by loader processes, augmented."""
    import medclip

    for workers in (0, 2) if sizes.tiny else (2, 8, 16):

        def work(workers: int = workers) -> Row:
            with tempfile.TemporaryDirectory() as folder:
                studies = 60 if sizes.tiny else 2000
                config = medclip.TrainConfig(
                    images="phantom", texts="phantom", source_options={"phantom": {"studies": studies, "size": 64}},
                    image_size=sizes.image, cache_size=256 if not sizes.tiny else 32, prepared=f"{folder}/p", steps=4,
                    batch_images=sizes.batches[0], batch_texts=sizes.batches[0], output=f"{folder}/run", loggers="",
                    vision="tiny", text="tiny", evaluate_every=0, workers=workers, step_times=True, max_length=32,
                )  # fmt: skip
                profile = medclip.train(config, bar=False).profile
                assert profile is not None
                waits = {part: milliseconds for part, milliseconds, _ in profile.rows()}
                return {"ms waited for data": waits["data"]}

        yield {"part": "loaders", "workers": workers, "batch": sizes.batches[0]} | attempt(work)


def attempt(work: Callable[[], Row]) -> Row:
    """Returns what `work` found, or why it found nothing."""
    try:
        return work()
    except Exception as error:  # whatever fails, the rest is measured
        return {"failed": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]}
    finally:
        if DEVICE.type == "cuda":
            torch.cuda.empty_cache()


PARTS = (training, zero_shot, augmentation, gradient_caching, local_loss, trainer, loaders)


def _rows(part: Callable[[Sizes], Iterator[Row]], sizes: Sizes) -> Iterator[Row]:
    """Yields the rows of a part; what fails before its first row is a row too."""
    try:
        yield from part(sizes)
    except Exception as error:
        yield {"part": part.__name__, "failed": f"{type(error).__name__}: {error}"[:200]}


def measure(*, tiny: bool, minutes: float) -> dict[str, Any]:
    """Returns the machine and the rows of all parts that there was time for."""
    begun, rows, skipped = time.perf_counter(), [], []
    for part in PARTS:
        if time.perf_counter() - begun > 60 * minutes:
            skipped.append(part.__name__)
            continue
        for row in _rows(part, Sizes(tiny=tiny)):
            rows.append({key: round(v, 4) if isinstance(v, float) else v for key, v in row.items()})
            print(", ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    card = torch.cuda.get_device_name() if DEVICE.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda, "python": platform.python_version()}
    return {"machine": card, "versions": versions, "peak TFLOP/s": peak() / 1e12, "rows": rows, "skipped": skipped}


def as_table(found: dict[str, Any]) -> str:
    """Returns the rows as a Markdown table: what was measured, images a second, milliseconds, memory, share of peak."""
    numbers = ("images a second", "ms", "GiB", "share of peak", "ms waited for data", "failed")
    lines = ["| measured | " + " | ".join(numbers) + " |", "| --- " * (len(numbers) + 1) + "|"]
    for row in found["rows"]:
        what = ", ".join(f"{k} {v}" if k != "part" else str(v) for k, v in row.items() if k not in numbers)
        lines.append(f"| {what} | " + " | ".join(_cell(row.get(name)) for name in numbers) + " |")
    return f"{found['machine']}, {found['versions']['torch']}\n\n" + "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return "" if value is None or value != value else f"{value:,.3g}" if isinstance(value, float) else str(value)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--output", default="gpu.json")
    options = parser.parse_args(argv)
    found = measure(tiny=options.tiny, minutes=options.minutes)
    Path(options.output).write_text(json.dumps(found, indent=2) + "\n")
    table = as_table(found)
    Path(options.output).with_suffix(".md").write_text(table)
    print(table)
    return found


if __name__ == "__main__":
    main()
