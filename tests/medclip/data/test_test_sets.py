from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from labelers.observations import CHEXPERT5, CHEXPERT14
from medclip.data.test_sets import balanced, checksum, five_by_200


def chexpert(rows: int = 6000) -> pd.DataFrame:
    """Made-up labels with every kind of row: alone, with others, uncertain, lateral."""
    rng = np.random.default_rng(0)
    states = np.full((rows, 14), np.nan)
    classes = [CHEXPERT14.index(name) for name in CHEXPERT5]
    states[np.arange(rows), rng.choice(classes, rows)] = rng.choice([1.0, -1.0], rows, p=[0.9, 0.1])
    others = rng.random(rows)
    states[others < 0.1, CHEXPERT14.index("Fracture")] = 1.0
    states[(others > 0.1) & (others < 0.2), CHEXPERT14.index("Support Devices")] = -1.0
    states[(others > 0.2) & (others < 0.3), CHEXPERT14.index("No Finding")] = 1.0
    states[others > 0.8, CHEXPERT14.index("Edema")] = np.where(
        states[others > 0.8, CHEXPERT14.index("Edema")] == 1, 1, 0
    )
    table = pd.DataFrame(states, columns=list(CHEXPERT14))
    view = np.where(rng.random(rows) < 0.2, "lateral", "AP")
    return table.assign(image_id=[f"train/{i}" for i in range(rows)], view=view)


def reference(table: pd.DataFrame, definition: str) -> list[str]:
    """Written again from the published descriptions, with pandas only."""
    d = table.copy()
    observed = [name for name in CHEXPERT14 if name != "No Finding"]
    d[observed] = d[observed].fillna(0)
    if definition == "medclip":
        d[observed] = d[observed].replace(-1, 0)
        np.random.seed(42)
    else:
        d = d[d["view"] != "lateral"]
        np.random.seed(6)
    found = []
    for name in CHEXPERT5:
        rest = [other for other in observed if other != name]
        rows = d[(d[name] == 1) & (d[rest] == 0).all(axis=1)]
        if definition == "mgca":
            found.append(rows.sample(n=200, random_state=0))
        else:
            found.append(rows.sample(n=400 if definition == "medclip" else 200))
    chosen = pd.concat(found)
    return (chosen.sample(frac=0.5) if definition == "medclip" else chosen)["image_id"].tolist()


@pytest.mark.parametrize("definition", ["mgca", "gloria", "medclip"])
def test_five_by_200_draws_as_published(definition: str) -> None:
    table = chexpert()
    chosen = five_by_200(table, definition=definition)
    assert chosen["image_id"].tolist() == reference(table, definition)
    assert len(chosen) == 1000
    counts = (chosen[list(CHEXPERT5)] == 1).sum()
    assert (counts == 200).all() if definition != "medclip" else counts.between(150, 250).all()
    assert (chosen["Fracture"] != 1).all()


def test_the_definitions_differ_and_their_checksums_say_so() -> None:
    table = chexpert()
    sums = {d: checksum(five_by_200(table, definition=d)["image_id"]) for d in ("mgca", "gloria", "medclip")}
    assert len(set(sums.values())) == 3
    assert checksum(["b", "a"]) == checksum(["a", "b"])


def test_too_few_images_are_named() -> None:
    with pytest.raises(ValueError, match="and 200 are needed"):
        five_by_200(chexpert(300))
    with pytest.raises(ValueError, match="none of mgca, gloria, medclip"):
        five_by_200(chexpert(10), definition="other")


def test_balanced_sets_are_balanced_and_repeatable() -> None:
    table = pd.DataFrame({"image_id": [str(i) for i in range(100)], "Edema": [1.0] * 20 + [0.0] * 80})
    chosen = balanced(table, "Edema", rows=30, seed=1)
    rows = table[table["image_id"].isin(chosen)]
    assert (len(rows), rows["Edema"].mean()) == (30, 0.5)
    assert chosen == balanced(table, "Edema", rows=30, seed=1) != balanced(table, "Edema", rows=30, seed=2)
    half = table[table["image_id"].isin(balanced(table, "Edema", share=0.5, seed=1))]
    assert half["Edema"].mean() == 0.5
