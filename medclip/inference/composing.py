"""Searching with a film and words together: "this film, without the effusion"."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

#: Turns N texts into unit embeddings (N, D).
EmbedTexts = Callable[[Sequence[str]], np.ndarray]

_LESS = re.compile(r"^\s*(?:without|-|minus)\s+(?:the |an? )?(?P<what>.+?)[.\s]*$", re.IGNORECASE)
_MORE = re.compile(r"^\s*(?:\+|plus|with)\s+(?:the |an? )?(?P<what>.+?)[.\s]*$", re.IGNORECASE)


def direction_of(text: str, embed: EmbedTexts) -> np.ndarray:
    """Returns where a text moves a query (D,), unit length.

    "without the effusion" and "- effusion" move from the claim to the denial, "+ pacemaker" and "with a pacemaker" from
    the denial to the claim; any other text is what it says itself.

    Args:
        text: A text.
        embed: Embeds texts.

    Examples:
        >>> import numpy as np
        >>> from medclip.inference.composing import direction_of
        >>> known = {"There is effusion.": [1.0, 0.0], "No effusion.": [0.0, 1.0]}
        >>> direction_of("without the effusion", lambda texts: np.array([known[t] for t in texts])).round(2).tolist()
        [-0.71, 0.71]
    """
    less, more = _LESS.match(text), _MORE.match(text)
    found = less or more
    if found is None:
        return _unit(embed([text])[0])
    claim, denial = embed([f"There is {found['what']}.", f"No {found['what']}."])
    return _unit(denial - claim if less else claim - denial)


def composed(films: np.ndarray, directions: np.ndarray, *, weight: float = 1.0) -> np.ndarray:
    """Returns one query (D,), unit length: the mean of films (F, D) moved along directions (T, D) by `weight`.

    Without films it is the directions alone.
    """
    start = _unit(films.mean(axis=0)) if len(films) else np.zeros(directions.shape[1])
    return _unit(start + weight * directions.sum(axis=0)) if len(directions) else start


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)  # type: ignore[no-any-return]
