"""Training on features of locked towers, computed once, beside the same training that computes them at each step.

    python benchmarks/cached_features.py [STUDIES] [STEPS]

Prints steps a second of both, their ratio, what computing the features takes, and the validation AUROC of both, which
are the same: without augmentation the features are what the towers would make at each step.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from pathlib import Path

import medclip


def main(studies: int = 3000, steps: int = 200) -> None:
    """Trains twice in a temporary folder and compares."""
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as temporary:
        found = {}
        for name, views in (("each step", 0), ("once, first run", 1), ("once, second run", 1)):
            config = medclip.TrainConfig(
                images="phantom", texts="phantom", source_options={"phantom": {"studies": studies, "size": 64}},
                image_size=64, cache_size=64, max_length=64, projection_dim=128, vision="torchvision:resnet18",
                lock_vision="all", lock_text="all", cache_features=views, steps=steps, evaluate_every=steps // 2,
                augmentation={"crop": 1.0, "jitter": 0.0, "rotate": 0.0, "shift": 0.0, "scale": (1.0, 1.0)},
                learning_rate=1e-3, workers=0, threads=1, loggers="", prepared=f"{temporary}/prepared",
                output=str(Path(temporary) / name), accelerator="cpu",
            )  # fmt: skip
            medclip.train(medclip.TrainConfig(**vars(config) | {"steps": 1, "output": f"{temporary}/warm {views}"}),
                          bar=False) if name == "each step" else None  # fmt: skip
            start = time.perf_counter()
            metrics = medclip.train(config, bar=False).metrics
            found[name] = time.perf_counter() - start, metrics["best"]["auroc/mean"]
    for name, (seconds, score) in found.items():
        print(f"{name:18} {seconds:7.1f} s  {steps / seconds:7.1f} steps a second in all  AUROC {score:.4f}")
    slow, fast = found["each step"][0], found["once, second run"][0]
    print(f"ratio {slow / fast:.1f}; the features themselves take {found['once, first run'][0] - fast:.1f} s once")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
