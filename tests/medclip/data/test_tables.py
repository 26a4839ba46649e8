from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from medclip.data.tables import (
    assign_splits,
    check_boxes,
    check_images,
    check_texts,
    label_matrix,
    learning_labels,
    observations_of,
)


def images(**columns: object) -> pd.DataFrame:
    base = {"image_id": ["a", "b"], "study_id": ["s", "t"], "patient_id": [1, 2], "path": ["a.png", "b.png"]}
    return pd.DataFrame({**base, **columns})


def test_optional_columns_are_added_and_ids_are_text() -> None:
    table = check_images(images(Edema=[1, np.nan]), origin="x")
    assert table["patient_id"].tolist() == ["1", "2"]
    assert {"view", "split", "age", "sex"} <= set(table.columns)
    assert observations_of(table) == ["Edema"]


def test_sexes_have_one_name_each() -> None:
    table = check_images(images(sex=["Female", " m "]), origin="x")
    assert table["sex"].tolist() == ["F", "M"]
    table = check_images(images(sex=["", "O"]), origin="x")
    assert table["sex"].isna().tolist() == [True, False] and table["sex"].iloc[1] == "O"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image_id": ["a", "a"]}, "x: 1 image ids occur twice, the first in row 1"),
        ({"image_id": ["a", " "]}, "x: image_id is blank in 1 rows, first in row 1"),
        ({"split": ["train", "dev"]}, r"found splits \['dev'\]"),
        ({"Edema": [1, 3]}, r"x, column 'Edema': Found states \[3.0\]"),
        ({"Edema": [1, "yes"]}, "x, column 'Edema'"),
    ],
)
def test_wrong_tables_are_refused_with_place_and_value(columns: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_images(images(**columns), origin="x")


def test_missing_columns_are_named_beside_those_found() -> None:
    with pytest.raises(ValueError, match="columns path are missing; found image_id, study_id"):
        check_images(images().drop(columns="path"), origin="x")


def test_missing_texts_become_empty() -> None:
    table = check_texts(pd.DataFrame({"study_id": [1], "patient_id": [1], "text": [None]}), origin="x")
    assert table["text"].tolist() == [""]


def test_boxes_need_area() -> None:
    table = pd.DataFrame([("a", "Edema", 0, 0, 0, 5)], columns=["image_id", "observation", "x", "y", "width", "height"])
    with pytest.raises(ValueError, match="1 boxes have no area"):
        check_boxes(table, origin="x")


def test_label_matrix_leaves_unknown_columns_unmentioned() -> None:
    matrix = label_matrix(pd.DataFrame({"Edema": [1.0, 0.0]}), ["Fracture", "Edema"])
    assert np.isnan(matrix[:, 0]).all()
    assert matrix[:, 1].tolist() == [1, 0]


def many(patients: int) -> pd.DataFrame:
    ids = [str(i // 2) for i in range(2 * patients)]
    return pd.DataFrame({"patient_id": ids, "split": None})


def test_a_patient_is_in_one_split_whatever_the_table() -> None:
    whole = assign_splits(many(500), seed=1)
    assert (whole.groupby("patient_id")["split"].nunique() == 1).all()
    part = assign_splits(many(500).sample(200, random_state=0), seed=1)
    assert (part["split"] == whole.loc[part.index, "split"]).all()
    shares = whole["split"].value_counts(normalize=True)
    assert 0.15 < shares["test"] < 0.25
    assert 0.06 < shares["valid"] < 0.14


def test_another_seed_is_another_split() -> None:
    assert (assign_splits(many(100), seed=1)["split"] != assign_splits(many(100), seed=2)["split"]).any()


def test_declared_splits_are_kept_and_spread_to_the_patient() -> None:
    table = pd.DataFrame({"patient_id": ["a", "a", "b"], "split": ["test", None, "train"]})
    assert assign_splits(table, seed=0)["split"].tolist() == ["test", "test", "train"]


def labels(blank_is_negative: bool) -> pd.DataFrame:
    nan = np.nan
    return pd.DataFrame(
        {"image_id": ["a/1", "a/2", "a/3", "b/1"], "_blank_is_negative": [blank_is_negative] * 3 + [False],
         "Edema": [1.0, nan, nan, nan], "Fracture": [nan, -1.0, nan, nan], "Hernia": [nan, nan, nan, 1.0]}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("blank", "declared", "wanted"),
    [
        ("source", True, [[1, 0, None], [0, -1, None], [None] * 3, [None, None, 1]]),
        ("source", False, [[1, None, None], [None, -1, None], [None] * 3, [None, None, 1]]),
        ("ignore", True, [[1, None, None], [None, -1, None], [None] * 3, [None, None, 1]]),
        ("negative", False, [[1, 0, None], [0, -1, None], [None] * 3, [None, None, 1]]),
    ],
)
def test_blanks_are_negative_where_the_source_says_so(blank: str, declared: bool, wanted: list[list[float]]) -> None:
    found = learning_labels(labels(declared), ["Edema", "Fracture", "Hernia"], blank=blank)
    np.testing.assert_array_equal(found, np.array(wanted, dtype=np.float32))


def test_blanks_as_negatives_teach_the_observation_and_not_who_bothered_to_deny_it() -> None:
    rng = np.random.default_rng(0)
    sick, asked, noise = (rng.normal(size=4000) for _ in range(3))
    truth = (sick + noise > 1.5).astype(float)
    table = pd.DataFrame({"image_id": [f"c/{i}" for i in range(4000)], "Other": 0.0, "_blank_is_negative": True})
    table["Edema"] = np.where(truth == 1, 1.0, np.where(asked > 1.5, 0.0, np.nan))  # few are denied, of a selected kind
    features, found = np.stack([sick, asked], axis=1), {}
    for blank in ("ignore", "source"):
        states = learning_labels(table, ["Edema"], blank=blank)[:2000, 0]
        known = ~np.isnan(states)
        probe = LogisticRegression().fit(features[:2000][known], states[known])
        found[blank] = roc_auc_score(truth[2000:], probe.decision_function(features[2000:]))
    assert found["source"] > found["ignore"] + 0.1
