from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labelers.findings import CERTAINTIES, STATES, record_of
from labelers.rules import RuleLabeler

REPORT = """INDICATION: Pneumonia.
FINDINGS: Small left pleural effusion, unchanged. No pneumothorax.
IMPRESSION: 1. Probable 8 x 6 mm nodule in the right upper lobe. 2. No acute disease."""


def own_sentences() -> list[str]:
    lines = [
        line
        for name in ("sentences.txt", "attributes.txt", "cxr50.txt")
        for line in Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()
    ]
    return [line.partition(" | ")[0] for line in lines if line and line[0] not in "#["]


def test_a_record_says_everything() -> None:
    effusion, pneumothorax, nodule = RuleLabeler().findings(REPORT)
    assert record_of(effusion) == {
        "section": "findings",
        "sentence_span": effusion.sentence,
        "span": effusion.span,
        "observation": "Pleural Effusion",
        "state": "positive",
        "certainty": "present",
        "side": "left",
        "location": (),
        "severity": "mild",
        "size_mm": (),
        "size_low_mm": None,
        "course": "unchanged",
        "comparison": "",
        "sentence": "Small left pleural effusion, unchanged.",
        "mention": "pleural effusion",
        "cue": "",
        "rule": "(pleural) effusion*",
    }
    assert (pneumothorax.state, pneumothorax.cue, pneumothorax.certainty) == ("negative", "No", "absent")
    assert pneumothorax.rule == "pneumothora* / no"
    assert (nodule.section, nodule.state, nodule.certainty) == ("impression", "uncertain", "likely")
    assert (nodule.size_mm, nodule.location, nodule.side) == ((8.0, 6.0), ("upper",), "right")


def test_spans_point_into_the_report() -> None:
    for text in (REPORT, "\n".join(own_sentences()[:80])):
        for finding in RuleLabeler("cxr50").findings(text):
            assert text[slice(*finding.span)] == finding.mention
            assert text[slice(*finding.sentence)] == finding.said.sentence
            assert finding.cue_span is None or text[slice(*finding.cue_span)] == finding.cue
            for a in finding.said.description.spans:
                assert 0 <= a.start < a.end <= len(finding.said.sentence)


@pytest.mark.parametrize("vocabulary", ["chexpert14", "nih14", "cxr50", "mimic-negbio"])
def test_the_states_of_findings_are_the_labels(vocabulary: str) -> None:
    labeler = RuleLabeler(vocabulary)
    rank = {"positive": 1.0, "uncertain": -1.0, "negative": 0.0}
    order = list(rank)
    for text in [*own_sentences(), REPORT]:
        states = np.full(len(labeler.observations), np.nan, dtype=np.float32)
        for finding in sorted(labeler.findings(text), key=lambda f: -order.index(f.state)):
            states[labeler.observations.index(finding.observation)] = rank[finding.state]
        labels = labeler([text])[0]
        free = labeler.observations.index("No Finding")  # a statement about all the others
        np.testing.assert_array_equal(np.delete(states, free), np.delete(labels, free), err_msg=text)


def test_labels_are_the_same_whether_findings_were_asked_for_or_not() -> None:
    texts = own_sentences()
    asked = RuleLabeler("cxr50")
    for text in texts:
        asked.findings(text)
    np.testing.assert_array_equal(asked(texts), RuleLabeler("cxr50")(texts))


def test_helpers_are_evidence_and_no_findings() -> None:
    labeler = RuleLabeler()
    text = "Scoliosis. No effusion."
    assert [f.observation for f in labeler.explain(text)] == ["Other", "Pleural Effusion"]
    assert [f.observation for f in labeler.findings(text)] == ["Pleural Effusion"]
    assert labeler.findings("") == []


def test_the_same_sentence_is_read_once_and_placed_twice() -> None:
    first, second = RuleLabeler().findings("Left effusion. Cardiac silhouette is fine. Left effusion.")
    assert first.said is second.said
    assert (first.span, second.span) == ((5, 13), (48, 56))


@pytest.mark.parametrize(
    ("text", "certainty"),
    [
        ("Pneumothorax.", "present"),
        ("Consistent with pneumothorax.", "likely"),
        ("Suspected pneumothorax.", "likely"),
        ("Pneumothorax is probable.", "likely"),
        ("There may be a pneumothorax.", "possible"),
        ("Pneumothorax cannot be excluded.", "possible"),
        ("Pneumothorax is unlikely.", "unlikely"),
        ("No convincing pneumothorax.", "unlikely"),
        ("No pneumothorax.", "absent"),
    ],
)
def test_grades_of_certainty(text: str, certainty: str) -> None:
    (finding,) = RuleLabeler().findings(text)
    assert finding.certainty == certainty


def test_grades_and_states_are_the_documented_ones() -> None:
    labeler = RuleLabeler("cxr50")
    findings = [finding for text in own_sentences() for finding in labeler.findings(text)]
    assert {finding.state for finding in findings} == set(STATES)
    assert {finding.certainty for finding in findings} == set(CERTAINTIES)
