"""Zero-shot classification: every image encoded once, beside once for every class, as the official classifier does.

    PYTHONPATH=. python benchmarks/zero_shot_speed.py [IMAGES]

ResNet-50 at 224 pixels and a text tower of BERT-base size, both untrained. Five classes of ten prompts, and 14
observations with positive and negative prompts. All in one run, on the CPU.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from labelers.observations import CHEXPERT5
from medclip.inference.classifier import ZeroShotClassifier
from medclip.inference.export import export
from medclip.inference.onnx_classifier import OnnxClassifier
from medclip.inference.prompts import Prompts, load_prompts
from medclip.models import MedCLIPConfig, MedCLIPModel, MedCLIPProcessor
from medclip.models.processor import train_tokenizer
from medclip.sources.phantom.radiograph import draw_radiograph

BATCH = 16
FIVE = {name: Prompts(tuple(f"{name} number {i}" for i in range(10))) for name in CHEXPERT5}


def build() -> tuple[MedCLIPModel, MedCLIPProcessor]:
    torch.manual_seed(0)
    texts = [text for entry in (*FIVE.values(), *load_prompts("chexpert14").values()) for text in entry.positive]
    tokenizer = train_tokenizer(texts)
    config = MedCLIPConfig(
        vision_config={"model_type": "torchvision", "architecture": "resnet50"},
        text_config={"model_type": "bert", "vocab_size": len(tokenizer)},
    )
    return MedCLIPModel(config).eval(), MedCLIPProcessor(tokenizer, image_size=224)


def count_images(model: MedCLIPModel) -> dict[str, int]:
    """Counts the images that go through the tower from now on."""
    seen = {"images": 0}
    model.vision.register_forward_hook(lambda module, args, output: seen.update(images=seen["images"] + len(args[0])))
    return seen


def once_a_class(
    model: MedCLIPModel, processor: MedCLIPProcessor, images: list[np.ndarray], prompts: dict[str, Prompts]
) -> Tensor:
    """The way of the official classifier: for each class, the whole model on the images and the class's prompts."""
    rows = []
    for start in range(0, len(images), BATCH):
        pixels = processor.images(images[start : start + BATCH])
        columns = []
        for entry in prompts.values():
            for side in filter(None, (entry.positive, entry.negative)):
                output = model(pixel_values=pixels, **processor.texts(side))
                columns.append(output.logits_per_image.mean(dim=1))
        rows.append(torch.stack(columns, dim=1))
    return torch.cat(rows)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    model, processor = build()
    images = [draw_radiograph(0, i, size=256) for i in range(count)]
    seen = count_images(model)
    print(f"{count} images, {torch.get_num_threads()} threads{'':20} seconds  images/s  through the tower")

    def told(name: str, work: object) -> float:
        seen["images"] = 0
        start = time.perf_counter()
        with torch.inference_mode():
            work()  # type: ignore[operator]
        seconds = time.perf_counter() - start
        print(f"{name:46} {seconds:7.2f} {count / seconds:9.1f} {seen['images'] or '':>10}", flush=True)
        return seconds

    for title, prompts in (
        ("5 classes x 10 prompts", FIVE),
        ("14 observations, both sides", load_prompts("chexpert14")),
    ):
        slow = told(f"{title}: once a class", lambda prompts=prompts: once_a_class(model, processor, images, prompts))
        fast = told(
            f"{title}: ours, prompts included",
            lambda prompts=prompts: ZeroShotClassifier(model, processor, prompts)(images, batch_size=BATCH),
        )
        print(f"{'':46} {slow / fast:6.1f} times as fast")
    classifier = ZeroShotClassifier(model, processor)
    classifier(images[:BATCH])
    told("images alone, eager", lambda: classifier(images, batch_size=BATCH))
    expected = classifier.embed(images)
    compiled = torch.compile(model.vision)
    model.encode_images = lambda pixels, local=False: compiled(pixels, local=local)  # type: ignore[method-assign]
    with torch.inference_mode():
        classifier(images[:BATCH])
    told("images alone, compiled", lambda: classifier(images, batch_size=BATCH))
    del model.encode_images
    for name, int8 in (("ONNX", False), ("ONNX, int8 matrix products", True)):
        with tempfile.TemporaryDirectory() as folder:
            export(model, processor, Path(folder), int8=int8)
            exported = OnnxClassifier(folder, threads=torch.get_num_threads())
            exported.embed(images[:BATCH])
            told(f"images alone, {name}", lambda exported=exported: exported.embed(images, batch_size=BATCH))
            off = np.abs(exported.embed(images) - expected).max()
            cosine = (exported.positive.centres() * classifier.positive.centres()).sum(axis=1).min()
            text = Path(folder, "text.onnx").stat().st_size / 1e6
            start = time.perf_counter()
            ours = exported.embed_texts([p for entry in FIVE.values() for p in entry.positive])
            seconds = time.perf_counter() - start
            theirs = np.stack([model.get_text_features(**processor.texts([p])).detach().numpy()[0]
                               for entry in FIVE.values() for p in entry.positive])  # fmt: skip
            alike = (ours * theirs).sum(axis=1).min()
            print(
                f"{'':8} images differ by {off:.1e}; texts: cosine with eager {alike:.5f}, {50 / seconds:.0f} a "
                f"second, text.onnx {text:.0f} MB; prompts {cosine:.5f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
