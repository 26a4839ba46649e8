"""A shortcut certificate: how far each method falls where a mark that went with disease in training goes against it.

    python benchmarks/shortcut_certificate.py --output runs/shortcut

Synthetic films; in training 95 % of films with a lung opacity bear a mark (a letter, a border, a darker exposure) and
5 % of those without. In the test the mark says nothing, so that one test holds both: films where the mark is as in
training, and films where it is the other way round. Printed, and drawn: AUROC of Lung Opacity in the two, for semantic
matching without pairs, `clip` with whole reports and a classifier, each without and with what this package has against
it: `--remove-markers`, `--mask-corners`, `--mask-border`, `--balance-sites`. Resumable.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

import medclip
from medclip.data.cache import PixelCache
from medclip.data.tables import label_matrix
from medclip.evaluation.bootstrap import bootstrap, sample
from medclip.evaluation.metrics import auroc
from medclip.inference.prompts import load_prompts, select_prompts
from medclip.models.towers import VisionTower
from medclip.objectives import Objective
from medclip.runs.settings import TrainConfig
from medclip.runs.train_data import find_train_sources, prepare_train_data
from medclip.runs.train_model import new_model
from medclip.training.supervised import LabelledImages, SupervisedSettings, predict, train_tower
from medclip.utils.logs import quieten

OBSERVATION = "Lung Opacity"
AGAINST: dict[str, dict[str, dict[str, Any]]] = {
    "marker": {"letters covered": {"remove_markers": True}, "corners covered": {"mask_corners": 0.2}},
    "border": {"border covered": {"mask_border": 0.08}, "balanced by site": {"balance_sites": 1.0}},
    "exposure": {"balanced by site": {"balance_sites": 1.0}},
}
ARMS: dict[str, dict[str, Any]] = {
    "semantic matching": {
        "objective_options": {"similarity": "claims", "target_temperature": 0.1}, "learning_rate": 2e-3, "pairs": 0.0,
    },
    "clip, whole reports": {"objective": "clip", "pair_text": "report", "learning_rate": 2e-3},
    "classifier": {"learning_rate": 4e-3, "batch_images": 32},
}  # fmt: skip


def settings_of(arm: str, kind: str, against: dict[str, Any], arguments: argparse.Namespace) -> TrainConfig:
    recipe = yaml.safe_load(Path("benchmarks/phantom-tiny.yaml").read_text())
    mark = {"observation": OBSERVATION, "kind": kind, "train": 0.95, "test": 0.5}
    source = {"studies": arguments.studies, "size": 64, "seed": 2, "paired": True, "shortcut": mark}
    recipe |= {"source_options": {"phantom": source}, "steps": arguments.steps, "evaluate_every": arguments.steps // 2}
    recipe |= {"prepared": str(arguments.output / "prepared"), "output": str(arguments.output / "run")}
    return TrainConfig.from_mapping(recipe | ARMS[arm] | against | {"overwrite": True}, origin=arm)


def scores_of(arm: str, config: TrainConfig, test: pd.DataFrame) -> np.ndarray:
    """Returns the scores (N,) of the observation on the test films, by a newly trained model."""
    cache = PixelCache(Path(config.prepared) / "cache", config.cache_size)
    if arm == "classifier":
        return _classified(config, test, cache)
    medclip.train(config, bar=False)
    model, processor = medclip.load_model(config.output, device="cpu")
    prompts = select_prompts(load_prompts("chexpert14"), [OBSERVATION])
    classifier = medclip.ZeroShotClassifier(model, processor, prompts)
    return classifier.scores(classifier.embed(list(cache.get(test["_key"].tolist()))))[:, 0]


def _classified(config: TrainConfig, test: pd.DataFrame, cache: PixelCache) -> np.ndarray:
    torch.manual_seed(config.seed)
    tables = prepare_train_data(config, find_train_sources(config))
    images = pd.concat(tables.images)
    model, processor = new_model(config, tables.sentences, Objective())
    tower = VisionTower(model.config.vision_config, projection_dim=1, pooling=config.vision_pooling)
    sides = [
        LabelledImages(part["_key"].tolist(), label_matrix(part, [OBSERVATION]).astype(np.float32))
        for part in (images[images["split"] == "train"], images[images["split"] == "valid"])
    ]
    how = SupervisedSettings(
        config.steps, config.evaluate_every, config.seed, config.batch_images, config.learning_rate,
    )  # fmt: skip

    def score(states: np.ndarray, scores: np.ndarray) -> float:
        known = np.isin(states[:, 0], (0, 1))
        return float(auroc(states[known, 0] == 1, scores[known, 0], None).item())

    train_tower(tower, *sides, cache=cache, processor=processor, settings=how, score=score)
    return predict(tower, test["_key"].tolist(), cache, processor)[:, 0]


def measured(scores: np.ndarray, test: pd.DataFrame) -> dict[str, float]:
    """Returns AUROC where the mark is as in training, where it is the other way round, and over both."""
    truth, marked = test[OBSERVATION].to_numpy() == 1, test["path"].str.contains("marker|border|exposure").to_numpy()
    patients = test["patient_id"].to_numpy()
    found: dict[str, float] = {}
    for name, rows in (
        ("as in training", truth == marked), ("the other way round", truth != marked), ("all", truth == truth)
    ):  # fmt: skip
        drawn = bootstrap(patients[rows], resamples=1000, seed=0)
        metric = sample(partial(auroc, truth[rows], scores[rows]), drawn).metric()
        found |= {name: metric.value, f"{name}/low": metric.low, f"{name}/high": metric.high, f"{name}/n": rows.sum()}
    return {name: round(float(value), 4) for name, value in found.items()}


def draw(table: pd.DataFrame, file: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kinds = list(AGAINST)
    figure = Figure(figsize=(14, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, kind in zip(np.atleast_1d(figure.subplots(1, len(kinds), sharex=True)), kinds, strict=True):
        rows = table[table["mark"] == kind].iloc[::-1].reset_index(drop=True)
        for i, row in rows.iterrows():
            axes.plot([row["the other way round"], row["as in training"]], [i, i], color="0.75", zorder=1)
        for name, colour in (("as in training", "tab:blue"), ("the other way round", "tab:red")):
            low, high = rows[name] - rows[f"{name}/low"], rows[f"{name}/high"] - rows[name]
            axes.errorbar(rows[name], rows.index, xerr=[low, high], fmt="o", color=colour, label=f"mark {name}")
        axes.set_yticks(rows.index, rows["arm"] + ", " + rows["against"])
        axes.axvline(0.5, color="0.5", linewidth=0.8)
        axes.set(title=f"a {kind}" if kind != "exposure" else "a darker exposure", xlabel=f"AUROC of {OBSERVATION}")
        axes.grid(axis="x", alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=5000)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--output", type=Path, default=Path("runs/shortcut"))
    arguments = parser.parse_args()
    quieten()
    torch.set_num_threads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for kind, against in AGAINST.items():
        test = None
        for arm in ARMS:
            for name, change in {"as it is": {}, **against}.items():
                if arm == "classifier" and "balance_sites" in change:
                    continue  # it draws its own batches
                kept = arguments.output / f"{kind}-{arm}-{name}.json"
                if not kept.is_file():
                    config = settings_of(arm, kind, change, arguments)
                    if test is None:
                        images = pd.concat(prepare_train_data(config, find_train_sources(config)).images)
                        test = images[images["split"] == "test"].reset_index(drop=True)
                    part = kept.with_suffix(".part")
                    part.write_text(json.dumps(measured(scores_of(arm, config, test), test)))
                    part.replace(kept)
                rows.append({"mark": kind, "arm": arm, "against": name, **json.loads(kept.read_text())})
                print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(arguments.output / "certificate.csv", index=False)
    draw(table, arguments.output / "certificate.png")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
