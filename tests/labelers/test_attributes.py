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
            {"Atelectasis": {"course": "stable", "location": "lower", "side": "bilateral"}},
        ),
        ("Pneumothorax.", {"Pneumothorax": {}}),
    ],
)
def test_attributes(text: str, expected: dict[str, dict[str, str]]) -> None:
    assert attributes(text) == expected


def test_attributes_in_chinese() -> None:
    assert attributes("左侧少量胸腔积液。", "chexpert14-zh")["Pleural Effusion"] == {"severity": "mild", "side": "left"}
