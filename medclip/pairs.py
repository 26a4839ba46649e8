"""Which texts belong to which study, for objectives that compare an image with its own report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

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
