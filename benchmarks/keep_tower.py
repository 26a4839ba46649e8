"""Writes the image tower of a run as a folder of a Hugging Face backbone, which `--vision FOLDER` takes.

python benchmarks/keep_tower.py runs/first runs/first/tower
"""

from __future__ import annotations

import sys

from medclip import MedCLIPModel


def main() -> None:
    run, folder = sys.argv[1:]
    MedCLIPModel.from_pretrained(run).vision.backbone.save_pretrained(folder)
    print(folder)


if __name__ == "__main__":
    main()
