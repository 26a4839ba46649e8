"""Where the films of `medclip-classify` come from: files of this machine, or an archive that speaks DICOMweb."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from labelers.errors import UserError
from medclip.data.dicomweb import VARIABLES, Archive, Film
from medclip.data.image_files import find_images
from medclip.runs.settings import ClassifyConfig


@dataclass(frozen=True)
class Films:
    """The films to answer about.

    Attributes:
        names: Their paths; of films of an archive study/series/instance.dcm.
        archive: The archive that holds them; None where they are files.
        kept: Where the archive keeps each.
    """

    names: list[str]
    archive: Archive | None = None
    kept: Mapping[str, Film] = field(default_factory=dict)

    @contextmanager
    def files(self, names: Sequence[str], problems: dict[str, str]) -> Iterator[dict[str, str]]:
        """Yields the files of some films by name, for as long as they are needed.

        Films of an archive lie in a temporary folder, which only this user can read and which is removed afterwards.
        """
        if self.archive is None:
            yield {name: name for name in names}
            return
        with TemporaryDirectory(prefix="medclip-") as folder:
            yield dict(self._retrieved(self.archive, Path(folder), names, problems))

    def _retrieved(
        self, archive: Archive, folder: Path, names: Sequence[str], problems: dict[str, str]
    ) -> Iterator[tuple[str, str]]:
        for number, name in enumerate(names):
            target = folder / f"{number}.dcm"
            try:
                archive.retrieve(self.kept[name], target)
                yield name, str(target)
            except ConnectionError as error:
                problems[name] = str(error)


def find_films(config: ClassifyConfig) -> Films:
    """Returns the films that `config` names; an archive is asked for them.

    Raises:
        UserError: None is named, a folder holds no image, or an archive knows no such film.
        ConnectionError: The archive cannot be asked.
    """
    if config.from_:
        archive = Archive(config.from_, option="--from")
        kept = {film.name: film for film in archive.films()}
        if not kept:
            raise UserError(f"{archive.url}: the studies that are searched for hold no film.")
        return Films(list(kept), archive, kept)
    names = paths_of(config.files)
    if not names:
        raise UserError(f"There are no images in {', '.join(config.files)}: no pictures, and no DICOM files.")
    return Films(names)


def archive_to_send_to(config: ClassifyConfig) -> Archive | None:
    """Returns the archive that takes the objects, None where they stay here.

    Credentials of the archive that films come from are shown to no other.
    """
    if not config.send:
        return None
    other = config.from_ and config.from_.partition("?")[0].rstrip("/") != config.send.rstrip("/")
    archive = Archive(config.send, option="--send", variables=f"{VARIABLES}_SEND" if other else VARIABLES)
    if archive.filters:
        raise UserError("--send: an archive that takes objects is named without a search. Leave out what follows '?'.")
    return archive


def paths_of(files: list[str]) -> list[str]:
    """Returns the paths that a user named: files, those in folders, and with - those on standard input.

    Raises:
        FileNotFoundError: None of them is there, which is said before a model is loaded; some may be missing.
    """
    paths = list(_paths_of(files))
    if paths and not any(map(os.path.lexists, paths)):
        others = f", nor any other of the {len(paths)} that were named" if len(paths) > 1 else ""
        raise FileNotFoundError(f"There is no {paths[0]}{others}.")
    return paths


def _paths_of(files: list[str]) -> Iterator[str]:
    for name in files:
        if name == "-":
            yield from (line.strip() for line in sys.stdin if line.strip())
        elif Path(name).is_dir():
            yield from map(str, find_images(Path(name)))
        else:
            yield name
