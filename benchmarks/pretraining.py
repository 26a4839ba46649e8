"""What training by images alone gains: methods x data sizes, by a probe and zero-shot after matching, on one seed.

    python benchmarks/pretraining.py                                      the phantom, drawn at 64 pixels
    python benchmarks/pretraining.py --films FILMS.csv --texts openi=FOLDER     real films and unpaired reports besides

Every tower learns from the same images for as many steps; "none" is the tower as it is made. Then it is asked twice.
Probe: a logistic regression on its features, with 1, 10 and 100 % of the labels. Zero-shot: `medclip-train` from it,
the same recipe for all, with as many images and reports as `--sizes` says. `FILMS.csv` has columns path, patient_id and
findings ("Effusion|Mass", as ChestX-ray14's). Resumable: towers, runs and rows of the CSV that are done are kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import medclip
from medclip.data.cache import PixelCache
from medclip.data.subsets import limit_images
from medclip.evaluation.bootstrap import Metric
from medclip.evaluation.evaluators import EvaluationData
from medclip.evaluation.evaluators.linear_probe import LinearProbe
from medclip.evaluation.evaluators.zero_shot import ZeroShot
from medclip.inference.prompts import load_prompts
from medclip.models.model import build_model
from medclip.models.processor import MedCLIPProcessor, train_tokenizer
from medclip.utils.io import write_atomically
from medclip.utils.logs import quieten, start_logging

#: Arms: the tower that is started from, and the method; None leaves it as it is made.
ARMS = {
    "none": ("tiny", None), "rotation": ("tiny", "rotation"), "simclr": ("tiny", "simclr"),
    "mocov2": ("tiny", "mocov2"), "mocov3": ("tiny", "mocov3"), "dino": ("tiny", "dino"),
    "none, ViT": ("small-vit", None), "simclr, ViT": ("small-vit", "simclr"), "mae, ViT": ("small-vit", "mae"),
}  # fmt: skip
SIDE = 64


def domain(args: argparse.Namespace, name: str) -> dict[str, Any]:
    """Returns the settings of the data."""
    shared = {"cache_size": SIDE, "prepared": str(args.output / "prepared"), "workers": 0}
    if name == "phantom":
        options = {"phantom": {"studies": args.studies, "size": SIDE, "paired": True}}
        return shared | {"images": "phantom", "texts": "phantom", "source_options": options}
    options = {"csv": {"labels_in": "findings", "outside": True}}
    return shared | {"images": f"csv={args.films}", "texts": args.texts, "source_options": options}


def tower_of(args: argparse.Namespace, data: dict[str, Any], where: str, arm: str) -> str:
    """Returns the tower of an arm, trained by images alone unless it is done or not to be."""
    vision, method = ARMS[arm]
    if method is None:
        return vision
    settings = {name: value for name, value in data.items() if name != "texts"}
    config = medclip.PretrainConfig(
        **settings, method=method, vision=vision, image_size=SIDE, batch_images=64, steps=args.steps, threads=1,
        learning_rate=1e-3, loggers="", accelerator="cpu", output=str(args.output / where / folder(arm) / "tower"),
    )  # fmt: skip
    return str(medclip.pretrain(config, bar=False).tower)


def folder(arm: str) -> str:
    return arm.replace(", ", "-").lower()


def images_of(data: dict[str, Any]) -> EvaluationData:
    """Returns the prepared images of all splits."""
    settings = {name: value for name, value in data.items() if name != "texts"}
    made = medclip.prepare(medclip.PrepareConfig(**settings | {"workers": 1}))
    tables = [one.images for one in made if one.images is not None]
    return EvaluationData(pd.concat(tables, ignore_index=True), PixelCache(Path(data["prepared"]) / "cache", SIDE))


def probe(images: EvaluationData, tower: str, limit: int) -> dict[str, Metric]:
    """Returns the AUROC of probes on the features of a tower, by share of the labels of `limit` images."""
    images = replace(images, images=limit_images([images.images], limit=limit, seed=0)[0])
    torch.manual_seed(0)
    model = build_model(vision=tower, vocab_size=300, image_size=SIDE, projection_dim=64).eval()
    processor = MedCLIPProcessor(train_tokenizer(["no effusion"] * 9, vocab_size=300), image_size=SIDE, cache_size=SIDE)
    found = LinearProbe(images, label_draws=3, resamples=200)(model, processor).metrics
    return {f"probe, {name.rpartition('/')[2]} of labels": m for name, m in found.items() if "/auroc/" in name}


def zero_shot(
    args: argparse.Namespace, images: EvaluationData, data: dict[str, Any], tower: str, size: int, run: Path
) -> Metric:
    """Returns the mean AUROC of zero-shot answers after matching with `size` images and reports."""
    config = medclip.TrainConfig(
        **data, vision=tower, text="tiny", image_size=SIDE, projection_dim=128, batch_images=64, batch_texts=64,
        limit=size, steps=args.match_steps, learning_rate=1e-3, evaluate_every=0, threads=1, loggers="", max_length=96,
        objective_options={"similarity": "claims", "target_temperature": 0.1}, accelerator="cpu", output=str(run),
        augmentation={"crop": 1.0, "flip": 0.0, "jitter": 0.15, "rotate": 0.0, "shift": 0.0, "scale": [1.0, 1.0]},
    )  # fmt: skip
    medclip.train(config, bar=False)
    model, processor = medclip.load_model(run, device="cpu")
    return ZeroShot(images, prompts=load_prompts("chexpert14"), resamples=200)(model, processor).metrics["auroc/mean"]


def measured(args: argparse.Namespace, where: str, done: set[tuple[str, ...]]) -> Iterator[dict[str, object]]:
    """Yields a row for each number that is not there yet."""
    data = domain(args, where)
    images = images_of(data)
    train = int((images.images["split"] == "train").sum())
    for arm in args.arms:
        tower = tower_of(args, data, where, arm)
        row = {"data": where, "arm": arm, "seed": 0, "train_images": train, "steps": args.steps if ARMS[arm][1] else 0,
               "match_steps": args.match_steps, "probe_images": args.probe_images}  # fmt: skip
        if (where, arm, "probe, 100% of labels") not in done:
            for what, metric in probe(images, tower, args.probe_images).items():
                yield row | {"what": what} | numbers(metric)
        for size in [size for size in args.sizes if size <= train] or [train]:
            what = f"zero-shot, {size:,} images"
            if (where, arm, what) not in done:
                run = args.output / where / folder(arm) / f"matched-{size}"
                yield row | {"what": what} | numbers(zero_shot(args, images, data, tower, size, run))


def numbers(metric: Metric) -> dict[str, object]:
    return {name: round(float(getattr(metric, name)), 4) for name in ("value", "low", "high")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", help="table of real films")
    parser.add_argument("--texts", default="", help="reports for the real films, NAME=PATH")
    parser.add_argument("--only-films", action="store_true", help="leave the phantom out")
    parser.add_argument("--arms", type=lambda text: text.split("; "), default=list(ARMS), help="separated by '; '")
    parser.add_argument(
        "--sizes", type=lambda text: [int(size) for size in text.split(",")], default=[500, 2000, 10000]
    )
    parser.add_argument("--studies", type=int, default=14000, help="studies of the phantom")
    parser.add_argument("--steps", type=int, default=1000, help="of training by images alone")
    parser.add_argument("--match-steps", type=int, default=400, help="of matching")
    parser.add_argument("--probe-images", type=int, default=4000, help="labelled images that probes have at 100 %%")
    parser.add_argument("--output", type=Path, default=Path("runs/pretraining"))
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/pretraining.csv"))
    args = parser.parse_args()
    start_logging()
    quieten()
    rows = pd.read_csv(args.csv).to_dict("records") if args.csv.is_file() else []
    done = {(row["data"], row["arm"], row["what"]) for row in rows}
    domains = ([] if args.only_films else ["phantom"]) + (["films"] if args.films else [])
    for where in domains:
        for row in measured(args, where, done):
            rows.append(row)
            write_atomically(args.csv, partial(pd.DataFrame(rows).to_csv, index=False))
            print(*(f"{name} {value}" for name, value in row.items()), sep=", ", flush=True)
    print(
        pd.DataFrame(rows)
        .pivot_table(index=["data", "arm"], columns="what", values="value", sort=False)
        .round(3)
        .to_string()
    )


if __name__ == "__main__":
    main()
