"""What can be told from an image without looking at disease: the floors to show beside any result on real images.

    python benchmarks/shortcut_floors.py runs/real/config.yaml

Logistic regressions on what goes with disease by accident (age, sex, view) and on the border of
the image alone, trained on the train split and scored on the test split, for each observation. A model that does not
beat them has shown nothing. Takes the settings of a run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from labelers.observations import CHEXPERT14
from medclip.data.cache import PixelCache
from medclip.data.preparation import Preparation
from medclip.data.prepare_images import prepare_images
from medclip.data.tables import label_matrix
from medclip.evaluation.bootstrap import bootstrap
from medclip.evaluation.metrics import multilabel
from medclip.sources import find_sources

BORDER = 0.06  # share of the side


def metadata(table: pd.DataFrame) -> np.ndarray:
    frame = pd.DataFrame({"age": table["age"].fillna(table["age"].mean())})
    return np.hstack([frame, pd.get_dummies(table[["sex", "view"]].astype(str))]).astype(float)


def border(pixels: np.ndarray) -> np.ndarray:
    width = max(1, round(BORDER * pixels.shape[1]))
    strips = [pixels[:, :width], pixels[:, -width:], pixels[:, :, :width], pixels[:, :, -width:]]
    return np.hstack([s.reshape(len(s), -1)[:, ::7] for s in strips]).astype(float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--prepared", default="prepared")
    arguments = parser.parse_args()
    config = yaml.safe_load(arguments.config.read_text())
    source = find_sources(config["images"], data_root=config["data_root"], options=config["source_options"])[0]
    made = prepare_images(
        source, Preparation(Path(arguments.prepared), size=config["cache_size"], split_seed=config["split_seed"])
    )
    table = made.images
    pixels = PixelCache(Path(arguments.prepared) / "cache", config["cache_size"]).get(table["_key"].tolist())
    names = [name for name in CHEXPERT14 if name in table.columns]
    states, train, test = label_matrix(table, names), table["split"] == "train", table["split"] == "test"
    resamples = bootstrap(table.loc[test, "patient_id"].to_numpy(), resamples=1000, seed=0)
    for title, features in (("metadata", metadata(table)), ("border", border(pixels))):
        scores = np.zeros((int(test.sum()), len(names)))
        for j in range(len(names)):
            known = train & np.isin(states[:, j], (0.0, 1.0))
            if len(np.unique(states[known, j])) == 2:
                model = make_pipeline(
                    StandardScaler(), LogisticRegression(C=0.01, max_iter=2000, class_weight="balanced")
                )
                scores[:, j] = model.fit(features[known], states[known, j]).decision_function(features[test])
        mean, found = multilabel(states[test], scores, names, resamples=resamples, min_count=5)
        overall = mean["auroc/mean"]
        print(f"{title}: mean {overall.value:.3f} ({overall.low:.3f}-{overall.high:.3f})")
        print(found.round(3).to_string(index=False), "\n")


if __name__ == "__main__":
    main()
