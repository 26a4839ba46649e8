"""The two sides of training, images and texts, from prepared tables to what can be drawn, and which belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from labelers.errors import UserError
from labelers.observations import NO_FINDING, LabelPolicy
from medclip.data.cache import PixelCache
from medclip.data.samplers import balance_weights, source_weights
from medclip.data.tables import label_matrix

#: What becomes of texts that only deny.
DENIALS = ("as-is", "no-finding", "skip")
#: What can be the partner of an image.
PAIR_TEXTS = ("sentence", "report")


@dataclass(frozen=True)
class Pairs:
    """Which texts belong to which study: those of study number s are `texts[starts[s]:starts[s + 1]]`."""

    starts: np.ndarray
    texts: np.ndarray

    def count(self, studies: np.ndarray) -> np.ndarray:
        """Returns how many texts each of `studies` has."""
        return self.starts[studies + 1] - self.starts[studies]

    def pick(self, studies: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Returns one text of each study, for `draws` in [0, 1); every study must have one."""
        return self.texts[self.starts[studies] + (draws * self.count(studies)).astype(np.int64)]


@dataclass(frozen=True)
class ImageSide:
    """The images to train on, ready to be drawn.

    Attributes:
        keys: (N,) cache keys.
        labels: (N, O) label vectors.
        studies: (N,) study numbers.
        cache: where the pixels are.
        weights: (N,) or None for laps.
    """

    keys: np.ndarray
    labels: np.ndarray
    studies: np.ndarray
    cache: PixelCache
    weights: np.ndarray | None = None


@dataclass(frozen=True)
class TextSide:
    """The texts to train on, tokenized, ready to be drawn.

    Attributes:
        tokens: (M,) one array of token ids each; the first N are drawn on their own, all of them as partners.
        labels: (M, O) label vectors.
        pad_token_id: fills short rows.
        drawn: N.
        ids: (M,) integers; equal ones are the same text.
        weights: (N,) or None for laps.
        words: (M,) for each token the number of its word or -1, where the objective needs words.
        pairs: which texts belong to which study, where studies have both images and texts.
    """

    tokens: list[np.ndarray]
    labels: np.ndarray
    pad_token_id: int
    drawn: int
    ids: np.ndarray
    weights: np.ndarray | None = None
    words: list[np.ndarray] | None = None
    pairs: Pairs | None = None


def image_side(
    tables: Sequence[pd.DataFrame],
    *,
    observations: Sequence[str],
    policy: LabelPolicy,
    cache: PixelCache,
    study_numbers: dict[str, int],
    wanted: Sequence[float] | None = None,
    balance: float = 0.0,
) -> ImageSide:
    """Returns the train split of image tables as one side.

    Args:
        tables: prepared image tables, one for each source.
        observations: the columns of label vectors.
        policy: from states to label vectors.
        cache: holds the pixels of all of them.
        study_numbers: a number for each study id; new ones are added.
        wanted: relative weight of each source; None draws every image equally often.
        balance: see `balance_weights`.

    Raises:
        UserError: no image is in the train split.
    """
    parts = [table[table["split"] == "train"] for table in tables]
    table = pd.concat(parts, ignore_index=True)
    if table.empty:
        raise UserError("None of the images is in the train split.")
    states = label_matrix(table, observations)
    return ImageSide(
        keys=table["_key"].to_numpy(dtype=object),
        labels=policy(states),
        studies=_numbers(table["study_id"], study_numbers),
        cache=cache,
        weights=_weights([len(part) for part in parts], states, wanted, balance),
    )


def text_side(
    tables: Sequence[pd.DataFrame],
    occurrences: Sequence[pd.DataFrame],
    *,
    tokenizer: Any,
    max_length: int,
    observations: Sequence[str],
    policy: LabelPolicy,
    study_numbers: dict[str, int],
    wanted: Sequence[float] | None = None,
    balance: float = 0.0,
    repeats: float = 1.0,
    words: bool = False,
    pair_text: str = "sentence",
    denials: str = "as-is",
) -> TextSide:
    """Returns the train split of sentence tables as one side; sentences that speak of nothing are left out.

    Args:
        tables: prepared sentence tables, one for each source.
        occurrences: for each of them, which study says which row of it.
        tokenizer: of the text tower.
        max_length: tokens kept of a text.
        observations: the columns of label vectors.
        policy: from states to label vectors.
        study_numbers: the number of each study that has images.
        wanted: relative weight of each source; None draws every sentence equally often.
        balance: see `balance_weights`.
        repeats: 0 draws every different sentence equally often, 1 as often as reports say it.
        words: whether to note which tokens are pieces of which word.
        pair_text: what is the partner of an image: a "sentence" of its report, or all of them, the "report".
        denials: what becomes of texts that only deny: "as-is", positive for No Finding ("no-finding"), or left out
            ("skip").

    Raises:
        UserError: no sentence is left, or `pair_text` or `denials` is unknown.
    """
    if denials not in DENIALS:
        raise UserError(f"denials {denials!r} is none of {', '.join(DENIALS)}.")
    if pair_text not in PAIR_TEXTS:
        raise UserError(f"pair_text {pair_text!r} is none of {', '.join(PAIR_TEXTS)}.")
    parts, said, offset = [], [], 0
    for table, occurrence in zip(tables, occurrences, strict=True):
        states = label_matrix(table, observations)
        speaks = (table["split"] == "train") & ~np.isnan(states).all(axis=1)
        if denials == "skip":
            speaks &= ~only_denies(states)
        row = pd.Series(np.cumsum(speaks.to_numpy()) - 1 + offset, index=np.arange(len(table)))[speaks.to_numpy()]
        study = occurrence["study_id"].map(study_numbers)
        known = study.notna() & occurrence["sentence"].isin(row.index)
        said.append(pd.DataFrame({"study": study[known].astype(int), "row": occurrence["sentence"][known].map(row)}))
        parts.append(table[speaks])
        offset += len(parts[-1])
    table = pd.concat(parts, ignore_index=True)
    if table.empty:
        raise UserError("No sentence of the train split speaks of any of the observations.")
    states, texts, links = label_matrix(table, observations), table["text"].tolist(), pd.concat(said)
    weights = _weights(
        [len(part) for part in parts],
        states,
        wanted,
        balance,
        table["count"].to_numpy() ** repeats if repeats else None,
    )
    if pair_text == "report" and len(links):
        texts, states, links = with_reports(texts, states, links)
    encoded = tokenizer(texts, truncation=True, max_length=max_length)
    return TextSide(
        tokens=[np.asarray(row, dtype=np.int64) for row in encoded["input_ids"]],
        labels=policy(_with_no_finding(states, observations) if denials == "no-finding" else states),
        pad_token_id=tokenizer.pad_token_id,
        drawn=len(table),
        ids=pd.factorize(np.asarray(texts, dtype=object))[0].astype(np.int64),
        weights=weights,
        words=[_word_ids(encoded.word_ids(i)) for i in range(len(texts))] if words else None,
        pairs=pairs_from(links, len(study_numbers)) if len(links) else None,
    )


def with_partners(images: ImageSide, texts: TextSide) -> ImageSide:
    """Returns the images whose study has a text.

    Raises:
        UserError: there are none.
    """
    kept = np.zeros(len(images.keys), dtype=bool) if texts.pairs is None else texts.pairs.count(images.studies) > 0
    if not kept.any():
        raise UserError(
            f"None of the {len(images.keys)} training images belongs to a study with a report, so there are no pairs. "
            "Name an image and a text source of the same studies, or take an objective that needs no pairs."
        )
    weights = None if images.weights is None else images.weights[kept]
    return replace(
        images, keys=images.keys[kept], labels=images.labels[kept], studies=images.studies[kept], weights=weights
    )


def only_denies(states: np.ndarray) -> np.ndarray:
    """Returns which rows (N,) of `states` (N, O) deny something and claim nothing, not even as uncertain."""
    return (states == 0).any(axis=1) & ~np.isin(states, (1, -1)).any(axis=1)


def _with_no_finding(states: np.ndarray, observations: Sequence[str]) -> np.ndarray:
    """Returns `states` with No Finding positive where a text only denies, as CheXpert's labeler has it."""
    if NO_FINDING not in observations:
        raise UserError(f"--denials no-finding needs {NO_FINDING!r} among the observations.")
    changed = states.copy()
    changed[only_denies(states), list(observations).index(NO_FINDING)] = 1
    return changed


def _word_ids(words: list[int | None]) -> np.ndarray:
    return np.array([-1 if word is None else word for word in words], dtype=np.int64)


def _numbers(ids: pd.Series, known: dict[str, int]) -> np.ndarray:
    return np.array([known.setdefault(name, len(known)) for name in ids], dtype=np.int64)


def _weights(
    sizes: list[int],
    states: np.ndarray,
    wanted: Sequence[float] | None,
    balance: float,
    base: np.ndarray | None = None,
) -> np.ndarray | None:
    """Returns how often each row is wanted: `base`, times balance, shared among sources as `wanted`; or None."""
    if wanted is None and not balance and base is None:
        return None
    weights = np.ones(len(states)) if base is None else base.astype(np.float64)
    if balance:
        weights = weights * balance_weights(states, power=balance)
    if wanted is not None:
        weights = weights * source_weights(np.repeat(np.arange(len(sizes)), sizes), wanted, weights)
    return weights


def with_reports(
    texts: list[str], states: np.ndarray, links: pd.DataFrame
) -> tuple[list[str], np.ndarray, pd.DataFrame]:
    """Returns texts and states with a report for each study behind the sentences, and links to those reports."""
    studies, member = np.unique(links["study"].to_numpy(), return_inverse=True)
    rank = np.select([states == 1, states == -1, states == 0], [3, 2, 1], default=0)
    strongest = np.zeros((len(studies), states.shape[1]), dtype=int)
    np.maximum.at(strongest, member, rank[links["row"].to_numpy()])
    whole = np.array([np.nan, 0.0, -1.0, 1.0])[strongest]
    joined = links.assign(text=[texts[row] for row in links["row"]]).groupby("study", sort=True)["text"].agg(" ".join)
    rows = np.arange(len(texts), len(texts) + len(studies))
    return texts + joined.tolist(), np.vstack([states, whole]), pd.DataFrame({"study": studies, "row": rows})


def pairs_from(links: pd.DataFrame, studies: int) -> Pairs:
    """Returns the pairs that `links` (columns study, row) name, for study numbers below `studies`."""
    links = links.sort_values("study", kind="stable")
    counts = np.bincount(links["study"].to_numpy(), minlength=studies)
    return Pairs(np.concatenate([[0], np.cumsum(counts)]), links["row"].to_numpy(dtype=np.int64))
