"""Memory and time of a training step against batch size, with and without gradient caching.

    python benchmarks/gradient_caching.py

ResNet-50 at 96 pixels and a small text tower, semantic matching, forward and backward, on the CPU.
"""

from __future__ import annotations

import torch

from benchmarks.measure import cost
from medclip.models.model import build_model
from medclip.objectives.clip import Clip
from medclip.training.gradient_cache import encode_in_parts


def inputs(batch: int, size: int) -> tuple[object, ...]:
    torch.manual_seed(0)
    model = build_model(vision="torchvision:resnet50", vocab_size=100)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    pixels, tokens = torch.randn(batch, 3, 96, 96), torch.randint(0, 100, (batch, 16))
    model.encode_images(pixels[:2])  # start the threads before memory is looked at
    return model, pixels, tokens, size


def work(model, pixels, tokens, size: int) -> None:
    images = encode_in_parts(model.encode_images, pixels, size=size, model=model)
    texts = encode_in_parts(model.encode_texts, tokens, torch.ones_like(tokens), size=size, model=model)
    Clip()(images, texts, model.scale())["loss"].backward()


def main() -> None:
    print(f"{'batch':>5} {'all at once':>22} {'32 at a time':>22}")
    for batch in (32, 64, 128, 256):
        cells = [cost(inputs, work, batch, size, repeats=1) for size in (0, 32)]
        print(f"{batch:5} " + " ".join(f"{c.seconds:9.2f} s {c.mebibytes:6.0f} MiB" for c in cells), flush=True)


if __name__ == "__main__":
    main()
