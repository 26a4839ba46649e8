"""Zero-shot classification: what is in an image is what its embedding is nearest to among prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medclip.inference.calibration import Calibration
from medclip.inference.embed import embed_images, embed_texts
from medclip.inference.heatmap import text_maps
from medclip.inference.prompts import Prompts, load_prompts
from medclip.inference.scoring import Directions, PromptScores

if TYPE_CHECKING:
    from medclip.models import MedCLIPModel, MedCLIPProcessor


class ZeroShotClassifier(PromptScores):
    """Answers about images by prompts, which are encoded once; each image is encoded once, whatever is asked.

    Args:
        model: Model in evaluation mode.
        processor: Its processor.
        prompts: A prompt set by name, a YAML file, or prompts by observation. Any observations, not only the 14.
        ensemble: What several prompts come to: "embeddings", "logits" or "max"; by default what the calibration was
            fitted with, or "embeddings".
        calibration: Calibration that makes scores probabilities; see `calibrate`.

    Examples:
        >>> import medclip
        >>> import numpy as np
        >>> model, processor = medclip.load_model("runs/mine", device="cpu")
        >>> classifier = medclip.ZeroShotClassifier(model, processor, "chexpert14")
        >>> answers = classifier([np.zeros((64, 48), dtype=np.uint8)])  # or paths, of DICOM too
        >>> answers.shape
        (1, 14)
    """

    def __init__(
        self,
        model: MedCLIPModel,
        processor: MedCLIPProcessor,
        prompts: str | Path | dict[str, Prompts] = "chexpert14",
        *,
        ensemble: str = "",
        calibration: Calibration | None = None,
    ) -> None:
        self.model, self.processor = model, processor
        self.prompts = prompts if isinstance(prompts, dict) else load_prompts(prompts)
        ensemble = ensemble or (calibration.ensemble if calibration else "embeddings")
        positive, negative = (
            prompt_directions(
                model, processor, [getattr(entry, side) for entry in self.prompts.values()], ensemble=ensemble
            )
            for side in ("positive", "negative")
        )
        scale = float(model.scale().detach())
        super().__init__(
            list(self.prompts),
            positive,
            negative,
            scale=scale,
            ensemble=ensemble,
            calibration=calibration,
            dicom=processor.dicom,
            cache_size=processor.cache_size,
        )

    def embed(self, images: Sequence[np.ndarray | str | Path], *, batch_size: int = 64) -> np.ndarray:
        """See `PromptScores`."""
        return embed_images(self.model, images, self.processor, batch_size=batch_size)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """See `PromptScores`."""
        return embed_texts(self.model, texts, self.processor)

    def locate(
        self, images: Sequence[np.ndarray | str | Path], names: Sequence[str] = (), *, kind: str = "evidence"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns of one batch of images embeddings (I, D), and where each observation is, (I, N, rows, columns).

        Args:
            images: Grey uint8 arrays or files.
            names: N observations; by default all.
            kind: See `medclip.inference.heatmap.text_maps`.
        """
        rows = [self.observations.index(name) for name in names or self.observations]
        positive, negative = self.positive.centres()[rows], self.negative.centres()[rows]
        return next(text_maps(self.model, [self.processor.images(images)], positive, negative, kind=kind))


def prompt_directions(
    model: MedCLIPModel,
    processor: MedCLIPProcessor,
    prompts: Sequence[tuple[str, ...]],
    *,
    ensemble: str = "embeddings",
) -> Directions:
    """Returns the directions of O tuples of prompts; every different prompt is encoded once."""
    texts = list(dict.fromkeys(text for entry in prompts for text in entry))
    embeds = dict(zip(texts, embed_texts(model, texts, processor), strict=True))
    return Directions.of(prompts, embeds, dim=model.config.projection_dim, ensemble=ensemble)
