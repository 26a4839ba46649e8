"""Recipes on real films: each film is tested by a model that never saw its patient, and recipes are compared by film.

    python benchmarks/out_of_fold.py FILMS.csv --texts openi=FOLDER --arms benchmarks/out-of-fold.yaml

`FILMS.csv` has the columns path, patient_id, view and source, and a column of findings, "Effusion|Mass", as
ChestX-ray14's. Patients are cut into parts; every arm learns from all parts but one and is asked about that one, by
claims, by denials and by both, in the wording of the prompts and as "X" and "no X". So every film counts, and two
recipes are told apart to about .015 AUROC, where a tenth of the films as test split cannot. Printed: mean AUROC over
observations with at least 15 positives; the same within source and view, where what goes with disease by accident
counts least; "opacity" against "normal" by a radiologist, within view, where the table has `rsna_class`; and
differences to the first arm by paired bootstrap over patients, of means over seeds. Arms are settings of
`medclip-train`; with `films: NAME` an arm learns from the films of another source of the table. Resumable: scores of
each part are kept.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

import medclip
from labelers.observations import NO_FINDING
from medclip.data.tables import label_matrix
from medclip.evaluation.bootstrap import Resamples, bootstrap
from medclip.evaluation.denial import terse_prompts
from medclip.evaluation.metrics import auroc
from medclip.inference.prompts import load_prompts, select_prompts
from medclip.runs.settings import TrainConfig
from medclip.sources import find_sources
from medclip.utils.logs import quieten

OPTIONS = {"csv": {"labels_in": "findings", "outside": True}}
LEAST = 15  # positives and negatives


def parts_of(films: pd.DataFrame, folds: int, seed: int) -> np.ndarray:
    """Returns the part (N,) of each film, by patient."""
    patients, member = np.unique(films["patient_id"].astype(str), return_inverse=True)
    return np.random.default_rng(seed).permutation(len(patients))[member] % folds


def write_fold(films: pd.DataFrame, parts: np.ndarray, fold: int, file: Path) -> None:
    """Writes a table whose films of part `fold` are test, a tenth of the other patients valid."""
    patients, member = np.unique(films["patient_id"].astype(str), return_inverse=True)
    valid = np.random.default_rng([fold, 1]).random(len(patients))[member] < 0.1
    split = np.where(parts == fold, "test", np.where(valid, "valid", "train"))
    films.assign(split=split).to_csv(file, index=False)


def scores_of(run: Path, paths: list[str], names: list[str]) -> dict[str, np.ndarray]:
    """Returns (N, O) similarities to positive and to negative prompts in two wordings, by WORDING/SIDE."""
    model, processor = medclip.load_model(run, device="cpu")
    wordings = {"report": select_prompts(load_prompts("chexpert14"), names), "terse": terse_prompts(names)}
    found: dict[str, np.ndarray] = {}
    embeds = None
    for wording, prompts in wordings.items():
        classifier = medclip.ZeroShotClassifier(model, processor, prompts)
        embeds = classifier.embed(paths) if embeds is None else embeds
        found[f"{wording}/pos"] = classifier.positive.similarity(embeds)
        found[f"{wording}/neg"] = classifier.negative.similarity(embeds)
    return found


def train_arm(arm: dict[str, Any], films: pd.DataFrame, fold: Path, output: Path, seed: int, texts: str) -> Path:
    """Trains one arm on one fold and returns its run."""
    settings = dict(arm)
    images = f"csv={fold}"
    if source := settings.pop("films", ""):
        table = fold.with_name(f"{source}.csv")
        films[films["source"] == source].to_csv(table, index=False)
        images, texts = f"csv={table}", f"csv={table}"
    options = OPTIONS | settings.pop("source_options", {})
    settings |= {"images": images, "texts": texts, "source_options": options, "seed": seed, "output": str(output)}
    medclip.train(TrainConfig.from_mapping(settings, origin="arm"), bar=False)
    return output


def ranked(found: dict[str, np.ndarray], ranking: str) -> np.ndarray:
    """Returns scores (N, O) by WORDING/RANKING."""
    wording, how = ranking.split("/")
    positive, negative = found[f"{wording}/pos"], found[f"{wording}/neg"]
    return {"pos": positive, "neg": -negative, "pnc": positive - negative}[how]


def mean_auroc(states: np.ndarray, scores: np.ndarray, columns: list[int], weights: np.ndarray | None) -> np.ndarray:
    """Returns the mean AUROC (B,) over observations `columns`, for resample weights (B, N)."""
    return np.mean([auroc(states[:, j] == 1, scores[:, j], weights) for j in columns], axis=0)


def within(states: np.ndarray, scores: np.ndarray, strata: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Returns the mean AUROC (B,) over strata and observations with enough of both, weighted by positives."""
    total, share = np.zeros(1), np.zeros(1)
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        some = None if weights is None else weights[:, rows]
        for j in range(states.shape[1]):
            truth = states[rows, j] == 1
            count = truth.sum()
            if min(count, (~truth).sum()) >= LEAST:
                found = auroc(truth, scores[rows, j], some)
                known = np.isfinite(found)  # a resample may have no positive of a small stratum
                total, share = total + count * np.where(known, found, 0.0), share + count * known
    return np.atleast_1d(total / share)


class Measures:
    """What is measured of pooled scores, with the same resamples for all arms."""

    def __init__(self, films: pd.DataFrame, states: np.ndarray, names: list[str], resamples: int) -> None:
        self.films, self.states, self.names = films, states, names
        counts = [(int((column == 1).sum()), int((column == 0).sum())) for column in states.T]
        self.columns = [j for j, of in enumerate(counts) if min(of) >= LEAST and names[j] != NO_FINDING]
        self.resamples = bootstrap(films["patient_id"].astype(str).to_numpy(), resamples=resamples, seed=0)
        self.strata = (films["source"] + " " + films["view"].fillna("?")).to_numpy()

    def __call__(self, scores: dict[str, np.ndarray], weights: np.ndarray | None) -> dict[str, np.ndarray]:
        found = {
            ranking: mean_auroc(self.states, ranked(scores, ranking), self.columns, weights)
            for ranking in ("report/pnc", "report/pos", "report/neg", "terse/pnc", "terse/pos", "terse/neg")
        }
        found["within source and view"] = within(
            self.states[:, self.columns], ranked(scores, "report/pnc")[:, self.columns], self.strata, weights
        )
        if "rsna_class" in self.films:
            found["opacity, radiologist"] = self._rsna(ranked(scores, "report/pnc"), weights)
        return found

    def _rsna(self, scores: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        reading = self.films["rsna_class"].to_numpy()
        known = np.isin(reading, ("Lung Opacity", "Normal"))
        truth = (reading == "Lung Opacity")[:, None].astype(float)
        rows = np.flatnonzero(known)
        column = scores[:, [self.names.index("Lung Opacity")]]
        views = self.films["view"].fillna("?").to_numpy()[rows]
        return within(truth[rows], column[rows], views, None if weights is None else weights[:, rows])


def summary(name: str, arms: dict[str, list[dict[str, np.ndarray]]], measures: Measures) -> list[dict[str, Any]]:
    """Returns rows of values and differences to the first arm, means over seeds, with 95 % intervals over patients."""
    first = next(iter(arms))
    drawn = {arm: _over_seeds(seeds, measures, measures.resamples) for arm, seeds in arms.items()}
    values = {arm: _over_seeds(seeds, measures, None) for arm, seeds in arms.items()}
    rows = []
    for arm, seeds in arms.items():
        single = [measures(scores, None) for scores in seeds]
        for measure, value in values[arm].items():
            low, high = np.quantile(drawn[arm][measure], [0.025, 0.975])
            difference = drawn[arm][measure] - drawn[first][measure]
            less, more = np.quantile(difference, [0.025, 0.975])
            deviation = np.std([float(one[measure].mean()) for one in single], ddof=1) if len(seeds) > 1 else np.nan
            rows.append(
                {"data": name, "arm": arm, "seeds": len(seeds), "measure": measure, "value": value.item(), "low": low,
                 "high": high, "deviation": deviation, "to_first": (value - values[first][measure]).item(),
                 "to_first_low": less, "to_first_high": more}
            )  # fmt: skip
    return rows


def _over_seeds(
    seeds: list[dict[str, np.ndarray]], measures: Measures, resamples: Resamples | None
) -> dict[str, np.ndarray]:
    """Returns each measure, averaged over seeds: one value, or one for each resample."""
    blocks = [None] if resamples is None else list(resamples.blocks())
    parts = [[measures(scores, weights) for scores in seeds] for weights in blocks]
    names = parts[0][0]
    return {name: np.concatenate([np.mean([np.atleast_1d(one[name]) for one in part], axis=0) for part in parts])
            for name in names}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path, help="table of films")
    parser.add_argument("--texts", required=True, help="source of reports, NAME=PATH")
    parser.add_argument("--arms", type=Path, required=True, help="YAML with recipe and arms")
    parser.add_argument("--only", default="", help="names of arms, separated by semicolons")
    parser.add_argument("--source", default="nih", help="prefix of the sources of the table that are tested")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=Path("runs/out-of-fold"))
    arguments = parser.parse_args()
    quieten()
    logging.getLogger("medclip").setLevel(logging.ERROR)
    told = yaml.safe_load(arguments.arms.read_text())
    chosen = [name.strip() for name in arguments.only.split(";") if name.strip()] or list(told["arms"])
    everything = pd.read_csv(arguments.films, dtype={"patient_id": str})
    everything["path"] = [str((arguments.films.parent / path).resolve()) for path in everything["path"]]
    films = everything[everything["source"].str.startswith(arguments.source)].reset_index(drop=True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    parts = parts_of(films, arguments.folds, 0)
    for fold in range(arguments.folds):
        write_fold(films, parts, fold, arguments.output / f"fold-{fold}.csv")
    labelled = find_sources(f"csv={arguments.output / 'fold-0.csv'}", data_root=None, options=OPTIONS)[0].images()
    assert labelled is not None
    labelled = labelled.set_index("path").loc[films["path"]].reset_index()
    names = [name for name in load_prompts("chexpert14") if name in labelled and name != NO_FINDING]
    states = label_matrix(labelled, names)
    measures = Measures(films, states, names, arguments.resamples)
    arms: dict[str, list[dict[str, np.ndarray]]] = {}
    for seed in range(arguments.seeds):
        for name in chosen:
            arm = told["recipe"] | (told["arms"][name] or {})
            pooled = _pooled(name, arm, seed, films, everything, parts, names, arguments)
            arms.setdefault(name, []).append(pooled)
            value = measures(pooled, None)
            print(name, seed, {key: round(one.item(), 4) for key, one in value.items()}, flush=True)
    table = pd.DataFrame(summary(arguments.arms.stem, arms, measures)).round(4)
    table.to_csv(arguments.output / "table.csv", index=False)
    print(json.dumps({"observations": [names[j] for j in measures.columns], "films": len(films)}))
    print(table.to_string(index=False))


def _pooled(
    name: str, arm: dict[str, Any], seed: int, films: pd.DataFrame, everything: pd.DataFrame, parts: np.ndarray,
    names: list[str], arguments: argparse.Namespace,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Returns the scores of all films by the models that did not see their patients."""
    pooled: dict[str, np.ndarray] = {}
    for fold in range(arguments.folds):
        kept = arguments.output / f"{name}-{seed}-{fold}.npz"
        rows = np.flatnonzero(parts == fold)
        if not kept.is_file():
            run = arguments.output / "run"
            shutil.rmtree(run, ignore_errors=True)
            train_arm(arm, everything, (arguments.output / f"fold-{fold}.csv").resolve(), run, seed, arguments.texts)
            found = scores_of(run, films["path"].iloc[rows].tolist(), names)
            part = kept.with_suffix(".part.npz")
            np.savez(part, allow_pickle=False, **found)
            part.replace(kept)
        for key, value in np.load(kept).items():
            pooled.setdefault(key, np.zeros((len(films), len(names)), dtype=np.float32))[rows] = value
    return pooled


if __name__ == "__main__":
    main()
