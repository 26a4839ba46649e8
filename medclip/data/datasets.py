"""The two sides of training, images and texts, from prepared tables to what can be drawn, and which belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from labelers.errors import UserError
from labelers.observations import NO_FINDING, LabelPolicy
from medclip.data.cache import ImageCache
from medclip.data.cleaning import CleanedPixels
from medclip.data.features import FeatureCache
from medclip.data.keys import fixed_width
from medclip.data.samplers import balance_weights, site_weights, source_weights
from medclip.data.tables import label_matrix, learning_labels
from medclip.data.tokens import Ragged, Tokenize

#: What becomes of texts that only deny.
DENIALS = ("as-is", "no-finding", "skip")


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
class Partners:
    """Texts that are drawn as partners of images only; see `medclip.data.partners`.

    Attributes:
        texts: A column text, and a column of states for each observation.
        links: Which study number (column study) has which row of `texts` (column row).
    """

    texts: pd.DataFrame
    links: pd.DataFrame


@dataclass(frozen=True)
class Drawing:
    """How often each image or sentence is drawn.

    Attributes:
        sources: Relative weight of each source; None draws every row equally often.
        balance: Power of `balance_weights`; 0 leaves observations as frequent as they are.
        sites: Power of `site_weights`; 0 leaves sites as frequent as they are.
        repeats: 0 draws every different sentence equally often, 1 as often as reports say it.
    """

    sources: Sequence[float] | None = None
    balance: float = 0.0
    sites: float = 0.0
    repeats: float = 1.0


@dataclass(frozen=True)
class ImageSide:
    """The images to train on, ready to be drawn.

    Attributes:
        keys: (N,) cache keys, as bytes of one width.
        labels: (N, O) label vectors.
        studies: (N,) study numbers.
        cache: Where the pixels are, or what a locked tower makes of them.
        weights: (N,) or None for laps.
    """

    keys: np.ndarray
    labels: np.ndarray
    studies: np.ndarray
    cache: ImageCache | CleanedPixels | FeatureCache
    weights: np.ndarray | None = None


@dataclass(frozen=True)
class TextSide:
    """The texts to train on, tokenized, ready to be drawn.

    Attributes:
        tokens: Token ids of M texts; the first N are drawn on their own, all of them as partners.
        labels: (M, O) label vectors.
        pad_token_id: Fills short rows.
        drawn: N.
        ids: (M,) integers; equal ones are the same text.
        weights: (N,) or None for laps.
        words: Number of the word of each token or -1, where the objective needs words.
        pairs: Which texts belong to which study, where studies have both images and texts.
        features: (M, C) what a locked tower makes of the texts, which then stand for their tokens.
    """

    tokens: Ragged
    labels: np.ndarray
    pad_token_id: int
    drawn: int
    ids: np.ndarray
    weights: np.ndarray | None = None
    words: Ragged | None = None
    pairs: Pairs | None = None
    features: np.ndarray | None = None


def image_side(
    tables: Sequence[pd.DataFrame],
    *,
    observations: Sequence[str],
    policy: LabelPolicy,
    cache: ImageCache | CleanedPixels,
    study_numbers: dict[str, int],
    drawing: Drawing = Drawing(),
    blank: str = "ignore",
) -> ImageSide:
    """Returns the train split of image tables as one side.

    Args:
        tables: Prepared image tables, one for each source.
        observations: The columns of label vectors.
        policy: Turns states into label vectors.
        cache: Holds the pixels of all of them.
        study_numbers: A number for each study id; new ones are added.
        drawing: Frequency with which each image is drawn.
        blank: What a blank label is; see `medclip.data.tables.learning_labels`.

    Raises:
        UserError: No image is in the train split.
    """
    parts = [table[table["split"] == "train"] for table in tables]
    table = pd.concat(parts, ignore_index=True)
    if table.empty:
        raise UserError("None of the images is in the train split.")
    states = learning_labels(table, observations, blank=blank)
    return ImageSide(
        keys=fixed_width(table["_key"].to_numpy(dtype=object)),
        labels=policy(states),
        studies=_numbers(table["study_id"], study_numbers),
        cache=cache,
        weights=_weights([len(part) for part in parts], states, drawing, base=_site_weights(parts, states, drawing)),
    )


def text_side(
    tables: Sequence[pd.DataFrame],
    occurrences: Sequence[pd.DataFrame],
    *,
    tokenize: Tokenize,
    observations: Sequence[str],
    policy: LabelPolicy,
    study_numbers: dict[str, int],
    partners: Partners | None = None,
    drawing: Drawing = Drawing(),
    denials: str = "as-is",
) -> TextSide:
    """Returns the train split of sentence tables as one side; sentences that speak of nothing are left out.

    Args:
        tables: Prepared sentence tables, one for each source.
        occurrences: Tables of which study says which row of a sentence table.
        tokenize: Turns texts into tokens.
        observations: The columns of label vectors.
        policy: Turns states into label vectors.
        study_numbers: The number of each study that has images.
        partners: The partners of images; by default the sentences of their studies.
        drawing: Frequency with which each sentence is drawn.
        denials: What becomes of texts that only deny: "as-is", positive for No Finding ("no-finding"), or left out
            ("skip").

    Raises:
        UserError: No sentence is left, or `denials` is unknown.
    """
    if denials not in DENIALS:
        raise UserError(f"denials {denials!r} is none of {', '.join(DENIALS)}.")
    parts = [table[_drawn(table, observations, denials)] for table in tables]
    table = pd.concat(parts, ignore_index=True)
    if table.empty:
        raise UserError("No sentence of the train split speaks of any of the observations.")
    states, texts = label_matrix(table, observations), table["text"]
    base = table["count"].to_numpy() ** drawing.repeats if drawing.repeats else None
    weights = _weights([len(part) for part in parts], states, drawing, base)
    if partners is None:
        links = _links(parts, occurrences, study_numbers)
    else:
        links = partners.links.assign(row=partners.links["row"] + len(table))
        texts = pd.concat([texts, partners.texts["text"]], ignore_index=True)
        states = np.vstack([states, label_matrix(partners.texts, observations)])
    tokens = tokenize(texts)
    return TextSide(
        tokens=tokens.ids,
        labels=policy(_with_no_finding(states, observations) if denials == "no-finding" else states),
        pad_token_id=tokens.pad_token_id,
        drawn=len(table),
        ids=pd.factorize(texts)[0].astype(np.int64),
        weights=weights,
        words=tokens.words,
        pairs=pairs_from(links, max(len(study_numbers), links["study"].max() + 1)) if len(links) else None,
    )


def _site_weights(parts: Sequence[pd.DataFrame], states: np.ndarray, drawing: Drawing) -> np.ndarray | None:
    """Returns what makes sites say nothing of the states, where that is wanted; without a column site, by source."""
    if not drawing.sites:
        return None
    blank = pd.Series("", index=range(len(states)))
    site = pd.concat([part["site"] if "site" in part else blank[: len(part)] for part in parts], ignore_index=True)
    source = np.repeat(np.arange(len(parts)), [len(part) for part in parts]).astype(str)
    return site_weights(source + " " + site.fillna("").astype(str).to_numpy(dtype=str), states, power=drawing.sites)


def _drawn(table: pd.DataFrame, observations: Sequence[str], denials: str) -> np.ndarray:
    """Returns which sentences (N,) are trained on: those of the train split that speak of an observation."""
    states = label_matrix(table, observations)
    drawn = (table["split"] == "train").to_numpy() & ~np.isnan(states).all(axis=1)
    return drawn & ~only_denies(states) if denials == "skip" else drawn


def _links(
    parts: Sequence[pd.DataFrame], occurrences: Sequence[pd.DataFrame], study_numbers: dict[str, int]
) -> pd.DataFrame:
    """Returns which study (column study) says which row of the parts together (column row)."""
    said, offset = [], 0
    for part, occurrence in zip(parts, occurrences, strict=True):
        row = pd.Series(np.arange(len(part)) + offset, index=part.index)
        study = occurrence["study_id"].map(study_numbers)
        known = study.notna() & occurrence["sentence"].isin(part.index)
        said.append(pd.DataFrame({"study": study[known].astype(int), "row": occurrence["sentence"][known].map(row)}))
        offset += len(part)
    return pd.concat(said)


def with_partners(images: ImageSide, texts: TextSide) -> ImageSide:
    """Returns the images whose study has a text.

    Raises:
        UserError: There are none.
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


def _numbers(ids: pd.Series, known: dict[str, int]) -> np.ndarray:
    return np.array([known.setdefault(name, len(known)) for name in ids], dtype=np.int64)


def _weights(
    sizes: list[int], states: np.ndarray, drawing: Drawing, base: np.ndarray | None = None
) -> np.ndarray | None:
    """Returns how often each row is wanted: `base`, times balance, shared among sources as wanted; or None."""
    if drawing.sources is None and not drawing.balance and base is None:
        return None
    weights = np.ones(len(states)) if base is None else base.astype(np.float64)
    if drawing.balance:
        weights = weights * balance_weights(states, power=drawing.balance)
    if drawing.sources is not None:
        weights = weights * source_weights(np.repeat(np.arange(len(sizes)), sizes), drawing.sources, weights)
    return weights


def pairs_from(links: pd.DataFrame, studies: int) -> Pairs:
    """Returns the pairs that `links` (columns study, row) name, for study numbers below `studies`."""
    links = links.sort_values("study", kind="stable")
    counts = np.bincount(links["study"].to_numpy(), minlength=studies)
    return Pairs(np.concatenate([[0], np.cumsum(counts)]), links["row"].to_numpy(dtype=np.int64))
