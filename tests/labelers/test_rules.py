from __future__ import annotations

import numpy as np
import pytest

from labelers import load_labeler
from labelers.labeler import Labeler
from labelers.rules import RuleLabeler

#: A text and the states it must give; observations not named must be unmentioned.
TABLE: list[tuple[str, dict[str, int]]] = [
    ("No rib fracture", {"No Finding": 1, "Fracture": 0}),
    ("No rib fracture.", {"No Finding": 1, "Fracture": 0}),
    ("Heart size is normal.", {"No Finding": 1, "Cardiomegaly": 0}),
    ("The heart is not enlarged.", {"No Finding": 1, "Cardiomegaly": 0}),
    ("The heart size is mildly enlarged.", {"Cardiomegaly": 1}),
    (
        "There is no evidence of pneumothorax or pleural effusion.",
        {"No Finding": 1, "Pneumothorax": 0, "Pleural Effusion": 0},
    ),
    (
        "No pneumothorax, effusion, or consolidation.",
        {"No Finding": 1, "Pneumothorax": 0, "Pleural Effusion": 0, "Consolidation": 0},
    ),
    ("Effusions and pneumothorax are not seen.", {"No Finding": 1, "Pneumothorax": 0, "Pleural Effusion": 0}),
    ("No effusion but there is a pneumothorax.", {"Pleural Effusion": 0, "Pneumothorax": 1}),
    ("No effusion and the heart is enlarged.", {"Pleural Effusion": 0, "Cardiomegaly": 1}),
    ("Small pericardial effusion.", {}),
    ("Pneumonia cannot be excluded.", {"Pneumonia": -1}),
    ("Consolidation may represent pneumonia.", {"Consolidation": 1, "Pneumonia": -1}),
    ("No opacity to suggest pneumonia.", {"No Finding": 1, "Lung Opacity": 0, "Pneumonia": 0}),
    ("Atelectasis versus pneumonia.", {"Atelectasis": -1, "Pneumonia": -1}),
    ("The pneumothorax has resolved.", {"No Finding": 1, "Pneumothorax": 0}),
    ("The endotracheal tube has been removed.", {"Support Devices": 0}),
    ("No change in the left pleural effusion.", {"Pleural Effusion": 1}),
    ("Evaluate for pneumonia.", {}),
    ("INDICATION: pneumonia\nFINDINGS: No effusion.", {"No Finding": 1, "Pleural Effusion": 0}),
    ("", {}),
    ("The patient was seen in clinic.", {}),
    ("No acute cardiopulmonary abnormality.", {"No Finding": 1}),
    ("No acute abnormality. A PICC is in place.", {"No Finding": 1, "Support Devices": 1}),
    ("No acute abnormality. Emphysema.", {}),
    ("Small effusion. Later: no effusion.", {"Pleural Effusion": 1}),
    ("Possible effusion. No effusion.", {"Pleural Effusion": -1}),
]


LABELER = RuleLabeler()


def states(text: str) -> dict[str, int]:
    return {name: int(s) for name, s in zip(LABELER.observations, LABELER([text])[0], strict=True) if s == s}


def test_table() -> None:
    assert [(text, expected, states(text)) for text, expected in TABLE if states(text) != expected] == []


def test_case_and_white_space_do_not_matter() -> None:
    texts = [text for text, _ in TABLE if text and "\n" not in text]
    ways = [[text, text.upper(), text.lower(), "  " + text.replace(" ", "   ")] for text in texts]
    assert [way[0] for way in ways if any(states(other) != states(way[0]) for other in way)] == []


def test_a_sentence_alone_does_not_speak_for_the_report() -> None:
    labeler = RuleLabeler()
    sentences = ["No pneumothorax.", "No acute disease.", "Normal chest radiograph."]
    column = labeler.observations.index("No Finding")
    assert np.isnan(labeler.label_sentences(sentences)[0, column])
    assert labeler.label_sentences(sentences)[1:, column].tolist() == [1, 1]
    assert labeler(sentences)[:, column].tolist() == [1, 1, 1]


def test_every_state_can_be_explained() -> None:
    labeler = RuleLabeler()
    text = "No pleural effusion. The heart is enlarged. Pneumonia is possible."
    explained = {(e.observation, e.state, text[slice(*e.span)], e.cue) for e in labeler.explain(text)}
    assert ("Pleural Effusion", "negative", "pleural effusion", "No") in explained
    assert ("Cardiomegaly", "positive", "heart is enlarged", "") in explained
    assert any(o == "Pneumonia" and s == "uncertain" and "possible" in c for o, s, _, c in explained)


def test_one_string_is_refused() -> None:
    with pytest.raises(ValueError, match="list of texts"):
        RuleLabeler()("No effusion.")


def test_no_texts_give_no_rows() -> None:
    assert RuleLabeler()([]).shape == (0, 14)


def test_it_is_a_labeler_found_by_name() -> None:
    labeler = load_labeler("rules")
    assert isinstance(labeler, Labeler)
    assert labeler(["No effusion."]).dtype == np.float32
    with pytest.raises(ValueError, match="rules"):
        load_labeler("chexbart")


def test_a_long_text_is_no_trouble() -> None:
    text = "No effusion or pneumothorax. " * 20_000
    assert states(text)["Pleural Effusion"] == 0
