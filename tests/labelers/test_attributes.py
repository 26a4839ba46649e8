from __future__ import annotations

import pytest

from labelers.rules import RuleLabeler


def attributes(text: str, vocabulary: str = "chexpert14") -> dict[str, dict[str, str]]:
    return {e.observation: dict(e.attributes) for e in RuleLabeler(vocabulary).explain(text)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Small left pleural effusion.", {"Pleural Effusion": {"severity": "mild", "side": "left"}}),
        (
            "Small left effusion and large right pneumothorax.",
            {
                "Pleural Effusion": {"severity": "mild", "side": "left"},
                "Pneumothorax": {"severity": "severe", "side": "right"},
            },
        ),
        ("Consolidation in the right lower lobe.", {"Consolidation": {"location": "lower", "side": "right"}}),
        ("The heart is mildly enlarged.", {"Cardiomegaly": {"severity": "mild"}}),
        (
            "Unchanged bibasilar atelectasis.",
            {"Atelectasis": {"course": "unchanged", "location": "basal", "side": "bilateral"}},
        ),
        ("8 x 6 mm nodule.", {"Lung Lesion": {"size": "8 x 6 mm"}}),
        ("Pneumothorax.", {"Pneumothorax": {}}),
    ],
)
def test_attributes(text: str, expected: dict[str, dict[str, str]]) -> None:
    assert attributes(text) == expected


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("左侧少量胸腔积液。", "Pleural Effusion", {"severity": "mild", "side": "left"}),
        ("右上肺结节，约8×6mm。", "Lung Lesion", {"side": "right", "location": "upper", "size": "8 x 6 mm"}),
        ("右侧胸腔积液，较前增多。", "Pleural Effusion", {"side": "right", "course": "increased"}),
        ("双侧大量胸腔积液，左肺清晰。", "Pleural Effusion", {"side": "bilateral", "severity": "severe"}),
        ("左侧气胸，右侧胸腔积液。", "Pneumothorax", {"side": "left"}),
    ],
)
def test_attributes_in_chinese(text: str, name: str, expected: dict[str, str]) -> None:
    assert attributes(text, "chexpert14-zh")[name] == expected


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        # what describes an organ of which nothing is found
        ("Stable cardiac silhouette with low lung volumes.", "Low Lung Volumes", {}),
        ("Monitor leads with an unchanged mediastinal contour.", "Support Devices", {}),
        ("Enlarged mediastinal nodes with a small stable heart.", "Adenopathy", {"location": "mediastinal"}),
        # the subject behind the subject
        ("The heart and mediastinum are normal.", "Cardiomegaly", {}),
        ("Heart size is normal, stable hilar contours.", "Cardiomegaly", {}),
        ("The lungs are clear bilaterally.", "Consolidation", {"side": "bilateral"}),
        # another noun behind "and"
        (
            "Elevated left hemidiaphragm and changes of right upper lobectomy.",
            "Hemidiaphragm Elevation",
            {"side": "left"},
        ),
        ("Lucency of the right lung and a small amount of free air.", "Pneumoperitoneum", {"severity": "mild"}),
        (
            "Atelectasis at the left base and in the lingula.",
            "Atelectasis",
            {"side": "left", "location": "basal, lingula"},
        ),
        # words that only look like attributes
        ("Lung volumes are decreased.", "Low Lung Volumes", {}),
        ("The heart is large.", "Cardiomegaly", {}),
        ("Increased bilateral interstitial markings.", "Interstitial Pattern", {"side": "bilateral"}),
        ("Feeding tube ends below the left hemidiaphragm.", "Enteric Tube", {}),
        ("Left PICC with the tip in the upper SVC.", "Central Venous Catheter", {"side": "left"}),
        # two mentions in one noun phrase
        (
            "Stable calcified granuloma in the right midlung.",
            "Granuloma",
            {"course": "unchanged", "side": "right", "location": "middle"},
        ),
        # a place that opens the sentence
        (
            "At the left base, there is a small effusion.",
            "Pleural Effusion",
            {"side": "left", "location": "basal", "severity": "mild"},
        ),
    ],
)
def test_what_belongs_to_what(text: str, name: str, expected: dict[str, str]) -> None:
    assert attributes(text, "cxr50")[name] == expected
