"""Labels the reports of a table and prints how often each observation is present.

python examples/label_reports.py reports.csv text labels.csv
"""

from __future__ import annotations

import sys

import pandas as pd

from labelers import load_labeler


def main(table: str, column: str, output: str) -> pd.DataFrame:
    """Writes the labels of a column of texts: 1 positive, 0 negative, -1 uncertain, blank unmentioned."""
    texts = pd.read_csv(table, dtype=str)[column].fillna("")
    labeler = load_labeler("rules", vocabulary="chexpert14")
    labels = pd.DataFrame(labeler(texts.tolist()), columns=list(labeler.observations))
    labels.to_csv(output, index=False)
    return labels


if __name__ == "__main__":
    print((main(*sys.argv[1:4]) == 1).sum().to_string())
