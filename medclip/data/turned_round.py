"""Sentences with one state turned round, to train on beside those that people wrote: the hardest negatives."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from labelers.errors import UserError
from labelers.flips import flips
from medclip.data.labelling import Labelling

logger = logging.getLogger(__name__)

_MOST = 20_000  # sentences that are tried; more teach nothing else


def with_turned_round(sentences: pd.DataFrame, labelling: Labelling, *, share: float, seed: int) -> pd.DataFrame:
    """Returns a sentence table with rewritings of train sentences at its end, which are `share` of what is drawn.

    A rewriting (see `labelers.flips`) denies what its sentence claims, or claims what it denies, and is labelled anew.
    It is drawn as often as its sentence, relative to other rewritings.

    Args:
        sentences: Prepared sentence table.
        labelling: Reads the rewritings.
        share: Between 0 and 1: of the texts drawn, those that are rewritings.
        seed: Seed of the choice, where there are more than 20,000 sentences.

    Raises:
        UserError: No sentence can be turned round.
    """
    rows = np.flatnonzero(sentences["split"] == "train")
    if len(rows) > _MOST:
        rows = np.sort(np.random.default_rng([seed, 11]).choice(rows, _MOST, replace=False))
    found = flips(sentences["text"].iloc[rows].tolist(), labelling.cutter())
    if not found:
        raise UserError(
            f"--flips {share}: none of {len(rows)} sentences can be turned round. The rules know English; train "
            "without --flips."
        )
    texts = [flip.text for flip in found]
    states = pd.DataFrame(labelling.of_sentences(texts), columns=list(labelling.load().observations))
    count = sentences["count"].to_numpy(float)[rows[[flip.sentence for flip in found]]]
    count *= share / (1 - share) * sentences["count"][sentences["split"] == "train"].sum() / count.sum()
    made = pd.DataFrame({"split": "train", "text": texts, "count": count}).join(states)
    logger.info("--flips: %d of %d sentences turned round", len(made), len(rows))
    kept = sentences.assign(count=sentences["count"].astype(float))
    return pd.concat([kept, made.drop_duplicates("text")], ignore_index=True)
