from __future__ import annotations

import logging

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medclip.data.splits import Declared, assign_splits, declared_splits, split_origins, split_table


def patients(count: int, **said: str) -> pd.DataFrame:
    """A row for each of `count` patients p0, p1, ..., blank but for those of whom a split is said."""
    ids = [f"p{i}" for i in range(count)]
    return pd.DataFrame({"study_id": ids, "patient_id": ids, "split": [said.get(i) for i in ids]})


@pytest.mark.parametrize("official", [{"test"}, {"valid"}, {"valid", "test"}])
def test_nothing_is_drawn_into_an_official_set(official: set[str]) -> None:
    said = {f"p{i}": split for i, split in enumerate(sorted(official))}
    found = assign_splits(patients(400, **said), seed=0)
    for split in ("valid", "test"):
        drawn = set(found.loc[found["split"] == split, "patient_id"]) - set(said)
        assert bool(drawn) == (split not in official)
    assert {patient: found["split"][int(patient[1:])] for patient in said} == said


def test_validation_patients_are_drawn_from_declared_training_patients() -> None:
    found = assign_splits(patients(400, **{f"p{i}": "train" for i in range(400)}), seed=0)
    counts = found["split"].value_counts()
    assert set(counts.index) == {"train", "valid"}
    assert 20 <= counts["valid"] <= 60


def test_the_drawn_validation_set_is_the_same_with_and_without_an_official_test_set() -> None:
    alone, beside = assign_splits(patients(400), seed=3), assign_splits(patients(400, p0="test"), seed=3)
    valid = set(alone.loc[alone["split"] == "valid", "patient_id"])
    assert valid - {"p0"} == set(beside.loc[beside["split"] == "valid", "patient_id"])


def test_all_tables_of_a_population_agree() -> None:
    images, texts = patients(300, p1="test", p2="valid", p3="train"), patients(500)
    declared = declared_splits([images, None, texts])
    both = pd.concat([assign_splits(table, seed=0, declared=declared) for table in (images, texts)])
    assert (both.groupby("patient_id")["split"].nunique() == 1).all()
    assert set(both.loc[both["split"] == "test", "patient_id"]) == {"p1"}


def test_a_patient_declared_twice_keeps_the_later_split_and_loses_the_other_rows(caplog) -> None:
    table = pd.DataFrame({"patient_id": ["a", "a", "b"], "split": ["train", "test", "train"]})
    with caplog.at_level(logging.WARNING):
        found = assign_splits(table, seed=0)
    assert found.to_dict("list") == {"patient_id": ["a", "b"], "split": ["test", "train"]}
    assert "1 rows of 1 patients are left out" in caplog.text


def test_who_chose_a_split_is_told() -> None:
    table = patients(400, p1="test", p2="test")
    found = assign_splits(table, seed=0)
    origins = split_origins(found, declared_splits([table]))
    assert origins == {"train": "drawn", "valid": "drawn", "test": "official"}
    rows = split_table("x", "images", found, origins).set_index("split")
    assert rows.loc["test", ["rows", "studies", "patients", "chosen"]].tolist() == [2, 2, 2, "official"]
    assert rows["rows"].sum() == 400


def test_nothing_declared() -> None:
    assert declared_splits([]) == declared_splits([patients(3)]) == Declared()


@given(
    rows=st.lists(st.tuples(st.integers(0, 9), st.sampled_from([None, "train", "valid", "test"])), min_size=1),
    seed=st.integers(0, 99), order=st.randoms(use_true_random=False),
)  # fmt: skip
@settings(max_examples=30)
def test_a_patient_is_in_one_split_whatever_the_order(rows: list[tuple[int, str | None]], seed: int, order) -> None:
    def assigned(rows: list[tuple[int, str | None]]) -> dict[str, str]:
        table = pd.DataFrame(rows, columns=["patient_id", "split"]).astype({"patient_id": str})
        made = assign_splits(table, seed=seed)
        assert (made.groupby("patient_id")["split"].nunique() == 1).all()
        assert made["split"].isin(["train", "valid", "test"]).all()
        return dict(zip(made["patient_id"], made["split"], strict=True))

    shuffled = rows.copy()
    order.shuffle(shuffled)
    assert assigned(rows) == assigned(shuffled)
