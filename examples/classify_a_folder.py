"""Asks a trained model about all images of a folder, with prompts of your own.

python examples/classify_a_folder.py runs/phantom films/ answers.csv
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

import medclip
from medclip.inference.prompts import Prompts

PROMPTS = {
    "Pleural Effusion": Prompts(("There is a pleural effusion.",), ("No pleural effusion.",)),
    "Pacemaker": Prompts(("A pacemaker is in place.",), ("There is no pacemaker.",)),
}


def main(run: str, folder: str, output: str) -> pd.DataFrame:
    """Writes one row for each image and one column for each observation; numbers rank images, they are no chances."""
    model, processor = medclip.load_model(run)
    classifier = medclip.ZeroShotClassifier(model, processor, PROMPTS)
    files = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".dcm"))
    answers = classifier(files)
    answers.to_csv(output)
    return answers


if __name__ == "__main__":
    print(main(*sys.argv[1:4]).round(3).to_string())
