"""What an evaluation fits on the valid split and saves beside the weights, where it is asked to."""

from __future__ import annotations

import logging
from pathlib import Path

from labelers.errors import UserError
from medclip.evaluation.evaluators import EvaluationData
from medclip.inference.abstention import fit_abstention
from medclip.inference.classifier import ZeroShotClassifier
from medclip.inference.embed import embed_images
from medclip.models import MedCLIPModel, MedCLIPProcessor
from medclip.runs.settings import EvaluateConfig

logger = logging.getLogger(__name__)


def calibrate(
    data: EvaluationData, config: EvaluateConfig, folder: Path, model: MedCLIPModel, processor: MedCLIPProcessor
) -> None:
    """Fits probabilities and thresholds on the valid split and saves them beside the weights.

    Raises:
        UserError: The valid split is what is to be reported on, or there is none.
    """
    rows, prompts = data.other("valid"), config.prompts
    if rows.empty:
        raise UserError("--calibrate fits on the valid split, and these images have none.")
    classifier = ZeroShotClassifier(model, processor, prompts, ensemble=config.ensemble)
    embeds = embed_images(model, rows["_key"].tolist(), processor, cache=data.cache)
    states, patients = data.learning_labels(rows, classifier.observations), rows["patient_id"].to_numpy()
    made = classifier.calibrate(embeds, states, prompts=prompts, patients=patients, least=config.least_positives)
    if not made.slope:
        logger.warning("No observation can be calibrated on these images, so no calibration is saved.")
        return
    made.save(folder)
    if config.standardise:
        logger.info("Calibrated are the scores before --standardise, which single observations are ranked by.")
    skill = ", ".join(f"{name} {value:.2f}" for name, value in made.skill.items())
    logger.info(
        "Calibrated %d observations on %d validation images. Skill on patients left out of the fit (0 useless, 1 "
        "perfect): %s", len(made.slope), made.rows, skill,
    )  # fmt: skip


def save_abstention(
    data: EvaluationData, config: EvaluateConfig, folder: Path, model: MedCLIPModel, processor: MedCLIPProcessor
) -> None:
    """Fits when to answer on the valid split and saves it beside the weights.

    Raises:
        UserError: The valid split is what is to be reported on, there is none, or it is too small for the promise.
    """
    rows = data.other("valid")
    if rows.empty:
        raise UserError("--save-abstention fits on the valid split, and these images have none.")
    classifier = ZeroShotClassifier(model, processor, config.prompts, ensemble=config.ensemble)
    scores = classifier.scores(embed_images(model, rows["_key"].tolist(), processor, cache=data.cache))
    names = classifier.observations
    made = fit_abstention(
        scores, data.learning_labels(rows, names), rows["patient_id"].to_numpy(), names, error=config.abstention_error,
        seed=config.seed, prompts=config.prompts, ensemble=config.ensemble,
    )  # fmt: skip
    if not made.lower:
        reasons = "; ".join(f"{name}: {why}" for name, why in made.refused.items())
        raise UserError(f"--save-abstention: too few validation patients for any observation ({reasons}).")
    made.save(folder)
    logger.info(
        "Saved when to answer about %d observations; always unsure about %d", len(made.lower), len(made.refused)
    )
