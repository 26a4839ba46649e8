"""What a search found, as one page that stands for itself: a contact sheet of films, or sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medclip.data.images import ImageError, read_image
from medclip.evaluation.html import Page
from medclip.inference.drawing import contact_sheet
from medclip.sources.phantom.radiograph import film_called
from medclip.utils.io import write_atomically

_SIDE = 220
Answers = Sequence[Sequence[tuple[str, float]]]


def write_search_page(target: Path, queries: Sequence[str], answers: Answers, *, model: str, holds: str) -> None:
    """Writes a section for each query: the films that were found on a sheet, and their names and cosines.

    Args:
        target: The page.
        queries: Texts, or files of films.
        answers: For each query the names and cosines of what was found, the nearest first.
        model: Name of the model.
        holds: What the index holds.
    """
    note = "Research software, not a medical device. Cosines rank what the index holds; none says that a film fits."
    page = Page(f"Found by {model}", f"{note} Index: {holds}.")
    for query, answer in zip(queries, answers, strict=True):
        page.section(Path(query).name if Path(query).is_file() else query)
        asked, films = _film(query), [_film(name) for name, _ in answer]
        if asked is not None:
            page.figure(contact_sheet([asked], side=_SIDE), "What was asked with")
        if any(film is not None for film in films):
            page.figure(contact_sheet(films, side=_SIDE), f"The {len(films)} nearest, the nearest first")
        names = [Path(name).name if film is not None else name for (name, _), film in zip(answer, films, strict=True)]
        rows = {"": range(1, len(names) + 1), "found": names, "cosine": [cosine for _, cosine in answer]}
        page.table(pd.DataFrame(rows))
    write_atomically(target, lambda part: part.write_text(page.render(), encoding="utf-8"))


def _film(name: str) -> np.ndarray | None:
    """Returns the film that a name of the index or a query is of, None where it is a text or no longer there."""
    drawn = film_called(name)
    if drawn is not None or not Path(name).is_file():
        return drawn
    try:
        return read_image(name, at_least=_SIDE)
    except (ImageError, OSError):
        return None
