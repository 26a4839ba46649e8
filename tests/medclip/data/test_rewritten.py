"""Sentences turned round: what they say, and how often they are drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from labelers.errors import UserError
from medclip.data.labelling import Labelling
from medclip.data.rewritten import with_reworded, with_turned_round
from medclip.runs.settings import TrainConfig


def _table(*rows: tuple[str, str, int]) -> pd.DataFrame:
    texts = [text for _, text, _ in rows]
    labelling = Labelling()
    states = pd.DataFrame(labelling.of_sentences(texts), columns=list(labelling.load().observations))
    table = pd.DataFrame(rows, columns=["split", "text", "count"])
    return pd.concat([table, states], axis=1)


def test_rewritings_are_labelled_anew_and_make_up_their_share() -> None:
    table = _table(
        ("train", "There is a small left pneumothorax.", 30),
        ("train", "No fracture.", 10),
        ("train", "Comparison is made.", 20),
        ("test", "There is a pleural effusion.", 5),
    )
    made = with_turned_round(table, Labelling(), share=0.25, seed=0)
    added = made.iloc[len(table) :].set_index("text")
    assert list(added.index) == ["There is no small left pneumothorax.", "There is fracture."]
    assert set(added["split"]) == {"train"}
    assert added.loc["There is no small left pneumothorax.", "Pneumothorax"] == 0
    assert added.loc["There is fracture.", "Fracture"] == 1
    train = made[made["split"] == "train"]["count"]
    assert added["count"].sum() / train.sum() == pytest.approx(0.25)
    assert added["count"].iloc[0] == pytest.approx(3 * added["count"].iloc[1])
    pd.testing.assert_frame_equal(made.iloc[: len(table)].astype(table.dtypes), table)


def test_texts_that_cannot_be_turned_round_are_refused() -> None:
    with pytest.raises(UserError, match="none of 1 sentences can be rewritten"):
        with_turned_round(_table(("train", "Comparison is made.", 1)), Labelling(), share=0.5, seed=0)


@pytest.mark.parametrize("share", [-0.1, 1.0])
@pytest.mark.parametrize("name", ["flips", "rewordings"])
def test_the_share_is_checked(name: str, share: float) -> None:
    with pytest.raises(UserError, match=f"--{name} is a share"):
        TrainConfig(images="phantom", **{name: share})


def test_rewordings_keep_their_labels_and_are_the_same_every_time() -> None:
    table = _table(("train", "There is a small left pleural effusion.", 30), ("train", "No fracture or edema.", 10))
    made = with_reworded(table, Labelling(), share=0.5, seed=0)
    added = made.iloc[2:]
    assert 2 <= len(added) <= 6
    assert set(added["text"]).isdisjoint(table["text"])
    labelling = Labelling()
    names = list(labelling.load().observations)
    np.testing.assert_array_equal(added[names].to_numpy(float), labelling.of_sentences(added["text"].tolist()))
    assert added["count"].sum() / made["count"].sum() == pytest.approx(0.5)
    pd.testing.assert_frame_equal(made, with_reworded(table, Labelling(), share=0.5, seed=0))
