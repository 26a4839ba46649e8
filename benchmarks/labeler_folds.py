"""The rule labeler on the gold of Open-i, whole and by five folds with each fold's own rules taken away.

    python benchmarks/labeler_folds.py /data/openi /data/openi/gold.csv

For each fold, every line of the lexicon whose words occur in no report of the other four is removed before the fold is
scored: what is left could have been written without having seen it. It is a stand-in for writing the rules five times.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from labelers.mentions import Matcher
from labelers.patterns import tokenize
from labelers.rules import RuleLabeler
from labelers.vocabulary import load_vocabulary
from medclip.evaluation.agreement import precision_recall
from medclip.evaluation.bootstrap import bootstrap
from medclip.sources.openi import Openi

FOLDS = 5


def main(folder: str, gold_path: str) -> None:
    gold = pd.read_csv(gold_path).set_index("id")
    table = Openi(Path(folder)).texts().set_index("study_id")["text"]
    table = table[table.index.isin(gold.index)]
    names = [n for n in load_vocabulary("nih14").observations if n in gold.columns and gold[n].any()]
    truth = gold.loc[table.index, names].to_numpy() == 1
    fold = np.array([int(hashlib.md5(name.encode()).hexdigest(), 16) % FOLDS for name in table.index])
    resamples = bootstrap(table.index.to_numpy(), resamples=1000, seed=0)
    for profile in (None, "openi"):
        vocabulary = load_vocabulary("nih14", profile)
        whole, held_out = _predict(vocabulary, table, names), np.zeros_like(truth)
        matcher = Matcher(vocabulary)
        entries = [set(matcher.entries_in(tokenize(text))) for text in table]
        for k in range(FOLDS):
            known = set().union(*(found for found, f in zip(entries, fold, strict=True) if f != k))
            kept = replace(
                vocabulary,
                phrases=tuple(p for p in vocabulary.phrases if p in known),
                subjects=tuple(s for s in vocabulary.subjects if s in known),
                cues=tuple(c for c in vocabulary.cues if c in known),
            )
            held_out[fold == k] = _predict(kept, table[fold == k], names)
        for title, predicted in (("all rules", whole), ("own rules of each fold removed", held_out)):
            scores = precision_recall(truth, predicted, names, resamples=resamples).set_index("observation")
            print(f"\n{profile or 'default'} reading, {title}, {len(table)} reports")
            print(scores.round(3).to_string())


def _predict(vocabulary, texts: pd.Series, names: list[str]) -> np.ndarray:
    labeler = RuleLabeler(vocabulary)
    return labeler(texts.tolist())[:, [labeler.observations.index(name) for name in names]] == 1


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
