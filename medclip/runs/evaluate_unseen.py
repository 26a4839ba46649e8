"""Which observations of an evaluation its model was not trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from medclip.data.tables import observations_of
from medclip.evaluation.evaluators import EvaluationData


def unseen_observations(data: EvaluationData, given: Sequence[str], folder: Path) -> list[str]:
    """Returns the observations of the images that the model was not trained on; none where that cannot be told.

    Args:
        data: The images.
        given: What somebody named; by default all that the training run did not learn from.
        folder: The model folder, beside which the run tells what it learned from.
    """
    if given:
        return [name for name in observations_of(data.images) if name in given]
    saved = folder.parent / "metrics.json"
    learned = json.loads(saved.read_text()).get("observations") if saved.is_file() else None
    return [name for name in data.observations() if name not in learned] if learned else []
