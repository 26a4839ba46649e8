"""The vocabulary cxr50, and that what a vocabulary adds changes no state of the one it extends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labelers.observations import CHEXPERT14
from labelers.rules import RuleLabeler
from labelers.vocabulary import load_vocabulary

STATES = {"1": 1.0, "0": 0.0, "?": -1.0}
HERE = Path(__file__).parent


def lines(name: str) -> list[str]:
    texts = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [line for line in texts if line and line[0] not in "#["]


def table() -> list[tuple[str, str, float]]:
    rows = []
    for line in lines("cxr50.txt"):
        text, _, states = line.partition(" | ")
        for part in states.split(","):
            name, _, state = part.strip().rpartition(" ")
            rows.append((text, name, STATES.get(state, float("nan"))))
    return rows


def own_sentences() -> list[str]:
    texts = [
        line.partition(" | ")[0] for name in ("sentences.txt", "attributes.txt", "cxr50.txt") for line in lines(name)
    ]
    return texts + [cue.example.partition("->")[0].strip() for cue in load_vocabulary("chexpert14").cues]


def test_added_observations() -> None:
    labeler = RuleLabeler("cxr50")
    wrong = []
    for text, name, state in table():
        found = float(labeler([text])[0, labeler.observations.index(name)])
        if found != state and not (np.isnan(found) and np.isnan(state)):
            wrong.append((text, name, state, found))
    assert wrong == []


def test_it_has_more_than_fifty_observations_and_a_sentence_for_each() -> None:
    vocabulary = load_vocabulary("cxr50")
    assert len(vocabulary.observations) >= 50
    assert vocabulary.observations[:14] == CHEXPERT14
    assert {name for _, name, _ in table()} == set(vocabulary.added)


@pytest.mark.parametrize("profile", [None, "openi"])
def test_the_14_are_labelled_as_by_chexpert14(profile: str | None) -> None:
    base, larger = RuleLabeler("chexpert14", profile=profile), RuleLabeler("cxr50", profile=profile)
    texts = own_sentences()
    texts += [" ".join(texts[i : i + 7]) for i in range(0, len(texts), 7)]
    np.testing.assert_array_equal(base(texts), larger(texts)[:, :14])
    np.testing.assert_array_equal(base.label_sentences(texts), larger.label_sentences(texts)[:, :14])


def extend(folder: Path, fields: str, phrases: str) -> str:
    (folder / "phrases").mkdir()
    (folder / "vocabulary.yaml").write_text(fields)
    (folder / "phrases" / "Breast.txt").write_text(phrases)
    return str(folder)


def test_added_phrases_use_up_no_cue_and_hide_no_subject(tmp_path: Path) -> None:
    folder = extend(tmp_path, "extends: chexpert14\nobservations: [Breast]\n", "absent left breast effusion\nno\n")
    (tmp_path / "subjects.txt").write_text("the heart size today -> Breast\n")
    texts = ["Absent left breast effusion.", "No effusion.", "The heart size today is normal."]
    larger = RuleLabeler(folder)
    np.testing.assert_array_equal(larger(texts)[:, :14], RuleLabeler()(texts))
    assert larger(texts)[:, 14].tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("extends: chexpert14\nlanguage: english\nobservations: [Breast]\n", "'extends' and 'observations'"),
        ("extends: cxr50\nobservations: [Breast]\n", "extends a vocabulary itself"),
        ("extends: chexpert14\nobservations: [Breast, Edema]\n", r"\['Edema'\] are in chexpert14 already"),
    ],
)
def test_wrong_extensions_are_refused(tmp_path: Path, fields: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_vocabulary(extend(tmp_path, fields, "breast\n"))
