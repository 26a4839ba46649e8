from __future__ import annotations

import numpy as np
import pytest

from labelers.lexicon_files import Cue
from labelers.rules import RuleLabeler
from labelers.vocabulary import load_vocabulary, vocabulary_names


def parse_states(text: str) -> dict[str, int]:
    parts = [part.strip().rsplit(" ", 1) for part in text.split(",") if part.strip()]
    return {name: int(state) for name, state in parts}


#: What an example may say besides what its cue is about.
IGNORED = {"No Finding", "Lung Opacity", "Cardiomegaly"}


def holds(labeler: RuleLabeler, cue: Cue) -> bool:
    """Tells whether the cue has an example, and the labeler says of it what stands behind the arrow."""
    sentence, arrow, expected = cue.example.partition("->")
    row = labeler([sentence.strip()])[0]
    found = {name: int(s) for name, s in zip(labeler.observations, row, strict=True) if s == s}
    wanted = parse_states(expected)
    return bool(arrow) and found.items() >= wanted.items() and not set(found) - set(wanted) - IGNORED


@pytest.mark.parametrize(("name", "profile"), [("chexpert14", None), ("chexpert14-zh", None), ("chexpert14", "openi")])
def test_every_cue_has_an_example_that_holds(name: str, profile: str | None) -> None:
    labeler, cues = RuleLabeler(name, profile=profile), load_vocabulary(name, profile).cues
    assert len(cues) > 10
    assert [(cue.pattern, cue.example) for cue in cues if not holds(labeler, cue)] == []


def test_all_vocabularies_load() -> None:
    assert "chexpert14" in vocabulary_names()
    for name in vocabulary_names():
        assert load_vocabulary(name).observations


def test_mimic_columns_are_the_same_observations_in_another_order() -> None:
    texts = ["The heart is enlarged. No effusion.", "Lungs are clear.", "Possible pneumonia, PICC in place."]
    first, second = RuleLabeler("chexpert14"), RuleLabeler("mimic-negbio")
    order = [second.observations.index(name) for name in first.observations]
    np.testing.assert_array_equal(first(texts), second(texts)[:, order])


def test_unknown_vocabulary_names_those_there_are() -> None:
    with pytest.raises(FileNotFoundError, match="chexpert14"):
        load_vocabulary("chexpert15")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("phrases/Edema.txt", "! ! edema", "line 1: '! ! edema' is no phrase"),
        ("phrases/Oedema.txt", "oedema", "not among the observations"),
        ("subjects.txt", "heart => Edema", "line 1"),
        ("subjects.txt", "heart -> Asthma", "line 1"),
        ("vocabulary.yaml", "observations: [Edema]", "needs 'language'"),
    ],
)
def test_the_validator_names_file_and_line(tmp_path, file: str, content: str, message: str) -> None:
    (tmp_path / "phrases").mkdir()
    (tmp_path / "vocabulary.yaml").write_text("language: english\nobservations: [Edema]\n")
    (tmp_path / "phrases" / "Edema.txt").write_text("edema\n")
    (tmp_path / file).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_vocabulary(str(tmp_path))


def test_a_vocabulary_of_ones_own(tmp_path) -> None:
    (tmp_path / "phrases").mkdir()
    (tmp_path / "vocabulary.yaml").write_text("language: english\nobservations: [Hernia]\n")
    (tmp_path / "phrases" / "Hernia.txt").write_text("hiatal|hiatus hernia*  # comment\n")
    labeler = RuleLabeler(str(tmp_path))
    assert labeler(["Large hiatal hernia.", "No hiatus hernia."]).tolist() == [[1.0], [0.0]]
