"""How sources are prepared: one set of settings for images and texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from medclip.data.labelling import Labelling
from medclip.utils.progress import Progress


@dataclass(frozen=True)
class Preparation:
    """Where and how sources are prepared.

    Attributes:
        folder: The prepared folder; the image cache is below it.
        size: Side of the cached squares, in pixels.
        split_seed: Seed of the splits that sources do not declare.
        labelling: How texts are labelled, and images that have reports and no labels.
        dicom: How DICOM values become grey, see `medclip.data.images.read_image`.
        unlabelled: Whether images may have neither labels nor reports.
        strict: Whether an unreadable image is an error rather than a row of rejected.csv.
        workers: Number of processes.
        engine: What does the work, see `medclip.utils.parallel.run_jobs`.
        progress: Called with what is done.
        cache_format: Format of the image cache, see `medclip.data.cache_formats.open_cache`.
        cache_url: Where its files are, if not in the folder.
        check: Whether the checksums of its files are looked at.
    """

    folder: Path
    size: int = 256
    split_seed: int = 0
    labelling: Labelling = field(default_factory=Labelling)
    dicom: str = "voi"
    unlabelled: bool = False
    strict: bool = False
    workers: int = 1
    engine: str = "local"
    progress: Progress | None = None
    cache_format: str = ""
    cache_url: str = ""
    check: bool = False
