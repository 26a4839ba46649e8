"""What a training run leaves behind: the best model, its numbers, and where its time went."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medclip.cli.console import print_table

if TYPE_CHECKING:
    from medclip.data.prepare import Prepared
    from medclip.models import MedCLIPProcessor
    from medclip.settings import TrainConfig
    from medclip.training.callbacks import Profile
    from medclip.training.checkpoints import Checkpoints

logger = logging.getLogger(__name__)


def show_profile(profile: Profile, config: TrainConfig) -> None:
    """Prints where the time of a step goes, and what limits it."""
    rows = [[part, f"{milliseconds:.1f}", f"{share:.0%}"] for part, milliseconds, share in profile.rows()]
    title = f"A step of {config.batch_images} images and {config.batch_texts} texts, mean of {profile.steps}"
    print_table(title, ["part", "ms", "share"], rows)
    whole = sum(milliseconds for _, milliseconds, _ in profile.rows())
    if profile.steps:
        slowest = max(profile.rows(), key=lambda row: row[1])[0]
        hint = {
            "data": "raise --workers", "transfer": "raise --workers, or look at the machine's memory",
            "validation and checkpoints": "raise --evaluate-every",
        }.get(slowest, "this is the model's own work")  # fmt: skip
        print(f"{1000 * config.batch_images / whole:,.0f} images a second. The limit: {slowest}; {hint}.")


def means(metrics: dict[str, float]) -> dict[str, float]:
    """Returns the metrics worth a curve: those that are defined, without intervals."""
    return {
        name: value
        for name, value in metrics.items()
        if value == value and not name.endswith(("/low", "/high", "/rows"))
    }


def finish(
    output: Path,
    module: Any,
    checkpoints: Checkpoints,
    processor: MedCLIPProcessor,
    steps: int,
    sides: list[Prepared],
    trained: set[str],
) -> None:
    """Saves the best model by validation, and what is known of the run."""
    import torch

    from medclip.models.locking import merge_lora
    from medclip.utils.io import write_atomically

    score = math.nan if checkpoints.best_score is None else checkpoints.best_score
    if checkpoints.best_score is None:
        logger.warning("%s is not defined on so few images; the model of the last step is kept", checkpoints.monitor)
    saved = torch.load(checkpoints.best, map_location="cpu", weights_only=True)
    weights = {
        name.removeprefix("model."): value for name, value in saved["state_dict"].items() if name.startswith("model.")
    }
    module.model.load_state_dict(weights)
    merge_lora(module.model)
    module.model.eval().float().save_pretrained(output / "model")
    processor.save_pretrained(output / "model")
    metrics = {
        "steps": steps,
        "best": {"step": saved["global_step"], checkpoints.monitor: None if math.isnan(score) else round(score, 6)},
        "last": checkpoints.logged,
        "sources": [side.manifest for side in sides],
    }
    write_atomically(output / "patients.txt", lambda path: path.write_text("\n".join(sorted(trained))))
    text = json.dumps(metrics, indent=2)
    write_atomically(output / "metrics.json", lambda path: path.write_text(text))
    print(
        f"Best {checkpoints.monitor} {score:.4f} at step {saved['global_step']}. Model: {output / 'model'}. "
        f"Next: medclip-evaluate {output} --on NAME=PATH"
    )
