"""Shenzhen Hospital CXR Set: 662 radiographs of a tuberculosis screening with readings (Jaeger et al. 2014).

Layout: https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/Shenzhen-Hospital-CXR-Set/index.html.
"""

from __future__ import annotations

import re

import pandas as pd

from labelers.observations import NO_FINDING
from medclip.data.source import Source
from medclip.data.tables import check_images, check_texts
from medclip.data.text_files import decode_text

_SEX = re.compile(r"\b(f|m|female?|male)\b", re.IGNORECASE)
_AGE = re.compile(r"(\d+)\s*(y|m|d)", re.IGNORECASE)


class Shenzhen(Source):
    """The NLM's download: images whose names end in 1 for tuberculosis and 0 for none, and a reading beside each.

    A reading gives sex and age, then one line such as "normal" or "PTB in the right upper field".
    """

    name = "shenzhen"
    folders = ("Shenzhen-Hospital-CXR-Set", "ChinaSet_AllFiles", "ChinaSet", "shenzhen")
    layout = "CXR_png/CHNCXR_0001_0.png and ClinicalReadings/CHNCXR_0001_0.txt"
    obtain = (
        "https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/Shenzhen-Hospital-CXR-Set/index.html"
        ", free to use; cite Jaeger et al. 2014"
    )
    population = "shenzhen"

    def images(self) -> pd.DataFrame:
        """Returns one image a patient, with Tuberculosis by its name and No Finding by its reading."""
        files = sorted(self.require("CXR_png").glob("*_[01].png"))
        if not files:
            raise FileNotFoundError(self.missing([self.root / "CXR_png" / "*_0.png"]))
        rows = []
        for path in files:
            sex, age, text = self._reading(path.stem)
            sick = float(path.stem[-1])
            normal = 0.0 if sick else 1.0 if text.lower().strip(" .") in ("normal", "") else None
            ids: dict[str, object] = dict.fromkeys(("image_id", "study_id", "patient_id"), path.stem)
            rows.append(ids | {"path": str(path), "age": age, "sex": sex, "Tuberculosis": sick, NO_FINDING: normal})
        return check_images(pd.DataFrame(rows), origin=self.name)

    def texts(self) -> pd.DataFrame:
        """Returns the readings without their lines of sex and age."""
        files = sorted(self.require("ClinicalReadings").glob("*_[01].txt"))
        if not files:
            raise FileNotFoundError(self.missing([self.root / "ClinicalReadings" / "*_0.txt"]))
        rows = [{"study_id": p.stem, "patient_id": p.stem, "text": self._reading(p.stem)[2]} for p in files]
        return check_texts(pd.DataFrame(rows), origin=self.name)

    def _reading(self, name: str) -> tuple[str | None, str | None, str]:
        """Returns sex, age and text of a reading; blank where there is none."""
        path = self.root / "ClinicalReadings" / f"{name}.txt"
        if not path.is_file():
            return None, None, ""
        lines = [line.strip() for line in decode_text(path.read_bytes()).splitlines() if line.strip()]
        head = [line for line in lines if _AGE.search(line) and (_SEX.search(line) or "age" in line.lower())]
        about = [line for line in lines if line in head or re.match(r"patient's sex", line, re.IGNORECASE)]
        sex, age = _SEX.search(" ".join(about).replace("Patient's", "")), _AGE.search(" ".join(about))
        text = "\n".join(line for line in lines if line not in about)
        return sex and sex[1][0].upper(), age and age[1] + age[2].upper(), text
