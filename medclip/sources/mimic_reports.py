"""MIMIC-CXR's 227,835 free-text reports (Johnson et al. 2019), as a folder of text files or the official zip."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pandas as pd

from medclip.data.csv_files import read_csv
from medclip.data.source import Source
from medclip.data.tables import check_texts


class MimicReports(Source):
    """The official download: `files/p10/p10000032/s50414267.txt`, or `mimic-cxr-reports.zip` read in place."""

    name = "mimic-reports"
    folders = (
        "mimic-cxr",
        "mimic-cxr/2.0.0",
        "mimic-cxr/2.1.0",
        "physionet.org/files/mimic-cxr/2.0.0",
        "mimic-reports",
    )
    layout = "mimic-cxr-reports.zip, or files/p10/p10000032/s50414267.txt"
    obtain = (
        "https://physionet.org/content/mimic-cxr/ (mimic-cxr-reports.zip), as a credentialed PhysioNet user with the "
        "required training, under the PhysioNet Credentialed Health Data Use Agreement 1.5.0"
    )
    population = "mimic-cxr"

    def texts(self) -> pd.DataFrame:
        """Returns one report a study. Splits are MIMIC's own where mimic-cxr-2.0.0-split.csv lies beside them."""
        rows = [
            {"study_id": name.stem[1:], "patient_id": name.parent.name[1:], "text": text}
            for name, text in self._files()
            if name.stem.startswith("s") and name.parent.name.startswith("p")
        ]
        if not rows:
            raise FileNotFoundError(self.missing([self.root / "files", self.root / "mimic-cxr-reports.zip"]))
        table = check_texts(pd.DataFrame(rows).sort_values("study_id"), origin=self.name)
        return table.assign(split=table["study_id"].map(self._splits()).astype(object))

    def _files(self) -> Iterator[tuple[PurePosixPath, str]]:
        """Yields (name, text) of every text file, out of the zip or the folder."""
        archive = self.root if self.root.suffix == ".zip" else self.root / "mimic-cxr-reports.zip"
        if archive.is_file():
            try:
                with zipfile.ZipFile(archive) as opened:
                    for name in opened.namelist():
                        if name.endswith(".txt"):
                            yield PurePosixPath(name), opened.read(name).decode("utf-8", errors="replace")
            except zipfile.BadZipFile as error:
                raise ValueError(f"{self.name}: {archive} is no readable zip ({error}). Download it again.") from error
            return
        for path in sorted(self.root.glob("**/p[0-9]*/s[0-9]*.txt")):
            yield PurePosixPath(path), Path(path).read_text(encoding="utf-8", errors="replace")

    def _splits(self) -> dict[str, str]:
        for name in ("mimic-cxr-2.0.0-split.csv", "mimic-cxr-2.0.0-split.csv.gz"):
            path = self.root / name
            if path.is_file():
                raw = read_csv(path, origin=self.name, needed=("study_id", "split"), dtype=str)
                raw = raw.drop_duplicates("study_id")
                return dict(zip(raw["study_id"], raw["split"].replace("validate", "valid"), strict=True))
        return {}
