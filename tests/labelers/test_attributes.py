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
