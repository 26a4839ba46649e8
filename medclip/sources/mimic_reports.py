"""MIMIC-CXR's 227,835 free-text reports (Johnson et al. 2019), as a folder of text files or the official zip."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pandas as pd

from labelers.errors import UserError
from medclip.data.source import Source
from medclip.data.tables import check_texts
from medclip.data.text_files import read_member, read_text
from medclip.sources.mimic_cxr import official_splits

logger = logging.getLogger(__name__)


class MimicReports(Source):
    """The official download: `files/p10/p10000032/s50414267.txt`, or `mimic-cxr-reports.zip` read in place.

    Splits are the official ones. Their file ships with the JPEGs and is looked for beside the reports and in the
    folders that PhysioNet's wget makes (physionet.org/files/mimic-cxr-jpg/2.1.0).

    Args:
        root: The folder, or the zip.
        splits: The folder of the split file, where it is elsewhere.
    """

    name = "mimic-reports"
    folders = (
        "mimic-cxr", "mimic-cxr/2.1.0", "mimic-cxr/2.0.0", "physionet.org/files/mimic-cxr/2.1.0",
        "physionet.org/files/mimic-cxr/2.0.0", "mimic-reports",
    )  # fmt: skip
    marks = ("mimic-cxr-reports.zip", "files/p1[0-9]/p*/s*.txt", "p1[0-9]/p*/s*.txt")
    layout = "mimic-cxr-reports.zip, or files/p10/p10000032/s50414267.txt"
    obtain = (
        "https://physionet.org/content/mimic-cxr/ (mimic-cxr-reports.zip), as a credentialed PhysioNet user with the "
        "required training, under the PhysioNet Credentialed Health Data Use Agreement 1.5.0"
    )
    population = "mimic-cxr"

    def __init__(self, root: Path, *, splits: str = "") -> None:
        super().__init__(root)
        self._split_root = Path(splits).expanduser() if splits else self.root

    def texts(self) -> pd.DataFrame:
        """Returns one report a study; without the split file, splits are blank, which is said."""
        rows = [
            {"study_id": name.stem[1:], "patient_id": name.parent.name[1:], "text": text}
            for name, text in self._files()
            if name.stem.startswith("s") and name.parent.name.startswith("p")
        ]
        if not rows:
            raise FileNotFoundError(self.missing([self.root / "files", self.root / "mimic-cxr-reports.zip"]))
        table = check_texts(pd.DataFrame(rows).sort_values("study_id"), origin=self.name)
        known = self.splits().drop_duplicates("patient_id").set_index("patient_id")["split"]
        if known.empty:
            logger.warning(
                "mimic-reports: the official split is not known, since no mimic-cxr-*-split.csv.gz was found. It ships "
                "with MIMIC-CXR-JPG; name its folder with the source option splits."
            )
        return table.assign(split=table["patient_id"].map(known).astype(object))

    def splits(self) -> pd.DataFrame:
        """Returns patient_id and split of the official split file; no rows where it is not found."""
        return official_splits(self._split_root)

    def _files(self) -> Iterator[tuple[PurePosixPath, str]]:
        """Yields (name, text) of every text file, out of the zip or the folder."""
        archive = self.root if self.root.suffix == ".zip" else self.root / "mimic-cxr-reports.zip"
        if archive.is_file():
            try:
                yield from self._members(archive)
            except zipfile.BadZipFile as error:
                raise UserError(f"{self.name}: {archive} is no readable zip ({error}). Download it again.") from error
            return
        for path in sorted(self.root.glob("**/p[0-9]*/s[0-9]*.txt")):
            yield PurePosixPath(path), read_text(path)

    def _members(self, archive: Path) -> Iterator[tuple[PurePosixPath, str]]:
        refused = 0
        with zipfile.ZipFile(archive) as opened:
            for name in opened.namelist():
                if name.endswith(".txt"):
                    try:
                        yield PurePosixPath(name), read_member(opened, name)
                    except ValueError:
                        refused += 1
        if refused:
            logger.warning("mimic-reports: %d files of %s are left out, too large for reports", refused, archive.name)
