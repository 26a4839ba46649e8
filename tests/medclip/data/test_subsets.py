from __future__ import annotations

import numpy as np
import pandas as pd

from medclip.data.subsets import limit_images, limit_sentences
from tests.fixtures.sentences import tables


def test_subsets_are_nested_and_by_patient() -> None:
    images = pd.DataFrame({"patient_id": [f"p{i // 3}" for i in range(300)], "split": ["train"] * 270 + ["test"] * 30})
    small, large = (limit_images([images], limit=limit, seed=1)[0] for limit in (50, 120))
    train = small[small["split"] == "train"]
    assert 50 <= len(train) < 53
    assert set(small.index) < set(large.index)
    assert train.groupby("patient_id").size().eq(3).all()
    assert (small["split"] == "test").sum() == 30
    assert set(small.index) != set(limit_images([images], limit=50, seed=2)[0].index)


def test_limited_reports_say_fewer_sentences() -> None:
    sentences, said = tables()
    kept = {seed: limit_sentences([sentences], [said], limit=1, seed=seed) for seed in range(8)}
    for (table,), (occurrence,) in kept.values():
        train = occurrence[occurrence["split"] == "train"]
        assert train["patient_id"].nunique() == 1
        assert table["count"].tolist() == np.bincount(occurrence["sentence"], minlength=4).tolist()
        assert table.loc[table["count"] == 0, "split"].isna().all()
    assert len({tuple(table[0]["count"]) for table, _ in kept.values()}) == 2
