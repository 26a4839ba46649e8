"""Trains on a table of your own, with columns path (images), text (reports) and patient_id, and evaluates the result.

    python examples/train_on_your_table.py hospital.csv runs/hospital

Without label columns, images get the labels of their reports. Small towers and few steps: change the settings below.
"""

from __future__ import annotations

import sys
from pathlib import Path

import medclip


def main(table: str, output: str, *, steps: int = 500, image_size: int = 128) -> float:
    """Returns the mean AUROC on the test patients."""
    config = medclip.TrainConfig(
        images=f"csv={table}", texts=f"csv={table}", output=output, prepared=str(Path(output).parent / "prepared"),
        steps=steps, evaluate_every=max(1, steps // 5), image_size=image_size, cache_size=image_size,
        projection_dim=128, learning_rate=1e-3, objective_options={"similarity": "claims", "target_temperature": 0.1},
    )  # fmt: skip
    medclip.train(config)
    settings = medclip.EvaluateConfig(model=output, on=f"csv={table}", prepared=config.prepared)
    results, folder = medclip.evaluate(settings)
    print(f"To read: {folder / 'report.html'}")
    return results.metrics()["auroc/mean"].value


if __name__ == "__main__":
    print(f"mean AUROC {main(*sys.argv[1:3]):.3f}")
