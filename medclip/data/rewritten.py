"""Sentences rewritten by rule, to train on beside those that people wrote: turned round, or in other words."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from labelers.errors import UserError
from labelers.flips import flips
from labelers.rewordings import rewordings
from medclip.data.labelling import Labelling

logger = logging.getLogger(__name__)

_MOST = 20_000  # sentences that are tried; more teach nothing else
_EACH = 3  # rewordings of one sentence


def with_turned_round(sentences: pd.DataFrame, labelling: Labelling, *, share: float, seed: int) -> pd.DataFrame:
    """Returns a sentence table with train sentences turned round at its end, which are `share` of what is drawn.

    A rewriting (see `labelers.flips`) denies what its sentence claims, or claims what it denies, and is labelled anew:
    the hardest negatives there are. It is drawn as often as its sentence, relative to other rewritings.

    Args:
        sentences: Prepared sentence table.
        labelling: Reads the rewritings.
        share: Between 0 and 1: of the texts drawn, those that are rewritings.
        seed: Seed of the choice, where there are more than 20,000 sentences.

    Raises:
        UserError: No sentence can be turned round.
    """
    rows = _tried(sentences, seed)
    found = flips(sentences["text"].iloc[rows].tolist(), labelling.cutter())
    texts, of = [flip.text for flip in found], rows[[flip.sentence for flip in found]]
    _check("--flips", share, len(found), len(rows))
    states = pd.DataFrame(labelling.of_sentences(texts), columns=list(labelling.load().observations))
    return _with(sentences, states.assign(text=texts), of, share)


def with_reworded(sentences: pd.DataFrame, labelling: Labelling, *, share: float, seed: int) -> pd.DataFrame:
    """Returns a sentence table with rewordings of train sentences at its end, which are `share` of what is drawn.

    A rewording (see `labelers.rewordings`) says the same of every observation, and has the labels of its sentence.

    Args:
        sentences: Prepared sentence table.
        labelling: Reads the rewordings.
        share: Between 0 and 1: of the texts drawn, those that are rewordings.
        seed: Seed of the choice among rewordings, and among sentences where there are more than 20,000.

    Raises:
        UserError: No sentence can be reworded.
    """
    rows, rng = _tried(sentences, seed), np.random.default_rng([seed, 12])
    texts, of, cutter = [], [], labelling.cutter()
    for row in rows:
        found = rewordings(sentences["text"].iloc[row], cutter)
        chosen = rng.permutation(len(found))[:_EACH]
        texts += [found[i] for i in chosen]
        of += [row] * len(chosen)
    _check("--rewordings", share, len(texts), len(rows))
    made = sentences.iloc[of].drop(columns=["count", "split"]).assign(text=texts)
    return _with(sentences, made, np.array(of), share)


def _tried(sentences: pd.DataFrame, seed: int) -> np.ndarray:
    rows = np.flatnonzero(sentences["split"] == "train")
    if len(rows) > _MOST:
        rows = np.sort(np.random.default_rng([seed, 11]).choice(rows, _MOST, replace=False))
    return rows


def _check(option: str, share: float, found: int, tried: int) -> None:
    if not found:
        raise UserError(
            f"{option} {share}: none of {tried} sentences can be rewritten. The rules know English; train without "
            f"{option}."
        )
    logger.info("%s: %d rewritings of %d sentences", option, found, tried)


def _with(sentences: pd.DataFrame, made: pd.DataFrame, of: np.ndarray, share: float) -> pd.DataFrame:
    """Returns the table with what was made of its rows `of`, so often that it is `share` of the train split."""
    train = (sentences["split"] == "train").to_numpy()
    count = sentences["count"].to_numpy(float)[of]
    count *= share / (1 - share) * sentences["count"].to_numpy(float)[train].sum() / count.sum()
    kept = sentences.assign(count=sentences["count"].astype(float))
    made = made.assign(split="train", count=count).drop_duplicates("text")
    return pd.concat([kept, made[~made["text"].isin(kept["text"][train])]], ignore_index=True)
