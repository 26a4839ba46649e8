"""The base of all sources: what a data set gives, and how it is found on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd


class Source:
    """Base of all sources. A source reads tables; it never opens a pixel.

    States in its tables are 1 positive, 0 negative, -1 uncertain, NaN unmentioned.

    Attributes:
        is_plugin: Marks the class that stands for its file.
        name: What it is called on the command line.
        folders: Names its owners' download makes, tried in this order below the data root.
        marks: Files, as patterns, of which one lies in the right folder; a folder that has one is taken before others.
        layout: What is expected inside, for people to read.
        obtain: Where the data come from and under which agreement.
        population: Sources of one population share patient and study ids (`mimic-cxr` and `mimic-reports`).
        holds_images_of: Populations whose images these are, in whole or in part, under other ids.
        blank_is_negative: Whether a blank in the labels of its images is the usual negative, as in CheXpert's files.
        to_pair: What else to write so that images and texts are of the same studies; empty if nothing.
        draw: Turns a path of the image table into pixels, for sources without image files.
    """

    is_plugin: ClassVar[bool] = True
    name: ClassVar[str]
    folders: ClassVar[tuple[str, ...]] = ()
    marks: ClassVar[tuple[str, ...]] = ()
    layout: ClassVar[str] = ""
    obtain: ClassVar[str] = ""
    population: str = ""
    holds_images_of: ClassVar[tuple[str, ...]] = ()
    blank_is_negative: bool = False
    to_pair: ClassVar[str] = ""
    draw: Callable[[str], np.ndarray] | None = None

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    @classmethod
    def locate(cls, path: str | None, data_root: Path | None) -> Path:
        """Returns the folder or file to read: `path` if given, else the first of `folders` below `data_root`.

        Among those that exist, the first that holds a file of `marks` is taken; a path that holds none may also be the
        folder above, such as that of all versions (mimic-cxr-jpg for mimic-cxr-jpg/2.1.0).

        Raises:
            FileNotFoundError: It is not there; the message says what was looked for, where, what should be inside,
                and how the data are obtained.
        """
        if path is not None:
            tried = [Path(path).expanduser()]
        else:
            tried = [Path(data_root or "$MEDCLIP_DATA").expanduser() / folder for folder in cls.folders]
        there = [candidate for candidate in tried if candidate.exists()]
        below = [version for candidate in there for version in sorted(candidate.glob("[0-9]*.*/"), reverse=True)]
        for candidate in (*there, *below):
            if any(next(candidate.glob(mark), None) for mark in cls.marks if candidate.is_dir()):
                return candidate
        if not there:
            raise FileNotFoundError(cls.missing(tried))
        return there[0]

    @classmethod
    def missing(cls, tried: list[Path]) -> str:
        """Returns the message for data that are not where they were looked for."""
        looked = (
            "\n".join(f"    {path}" for path in tried)
            or "    nowhere: this source has no usual folder, so it needs a path"
        )
        return (
            f"Source {cls.name!r} was not found.\n"
            f"  Looked for:\n{looked}\n"
            f"  Expected inside:\n    {cls.layout}\n"
            f"  Obtain it from:\n    {cls.obtain}\n"
            f"  Then write {cls.name}=PATH, or name the folder that holds "
            f"{cls.folders[0] if cls.folders else 'it'} with --data-root (or MEDCLIP_DATA)."
        )

    def require(self, *names: str) -> Path:
        """Returns the first of `names` that exists below the root.

        Raises:
            FileNotFoundError: None of them does.
        """
        for name in names:
            if (self.root / name).exists():
                return self.root / name
        raise FileNotFoundError(self.missing([self.root / name for name in names]))

    @classmethod
    def gives(cls, what: str) -> bool:
        """Tells whether this kind of source can have "images", "texts" or "boxes"."""
        return getattr(cls, what) is not getattr(Source, what)

    def shares_studies(self, other: Source) -> bool:
        """Tells whether the studies of `other` can be those of this source."""
        return (self.population or self.name) == (other.population or other.name)

    def may_hold_images_of(self, other: Source) -> bool:
        """Tells whether some images are those of `other` under ids that do not show it.

        Then comparing patients finds no overlap, whatever there is. RSNA's and SIIM's images, for instance, are
        NIH's; two re-releases of one collection may share images, too.
        """
        return may_share_images(self, other)

    def images(self) -> pd.DataFrame | None:
        """Returns the image table, or None where the source has no images."""
        return None

    def texts(self) -> pd.DataFrame | None:
        """Returns the text table, or None where the source has no texts."""
        return None

    def boxes(self) -> pd.DataFrame | None:
        """Returns the box table, or None where the source has no boxes."""
        return None

    def splits(self) -> pd.DataFrame:
        """Returns patient_id and split of every row, of images and texts, whose split the source declares.

        Reads both tables; a source that can tell with less work does.
        """
        tables = [table for table in (self.images(), self.texts()) if table is not None]
        columns = ["patient_id", "split"]
        rows = [table.loc[table["split"].notna(), columns] for table in tables]
        return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)


def may_share_images(one: Source | type[Source], other: Source | type[Source]) -> bool:
    """Tells whether two sources, or kinds of them, may hold the same images under different ids."""
    mine, theirs = (source.population or source.name for source in (one, other))
    return mine != theirs and bool({mine, *one.holds_images_of} & {theirs, *other.holds_images_of})
