from __future__ import annotations

import pytest

from labelers.rules import RuleLabeler

CHINESE = [
    ("双肺清晰，未见实变。", {"Lung Opacity": 0, "Consolidation": 0, "No Finding": 1}),
    ("心影增大。", {"Cardiomegaly": 1}),
    ("心影不大，纵隔居中。", {"Cardiomegaly": 0, "Enlarged Cardiomediastinum": 0, "No Finding": 1}),
    ("左侧胸腔积液。", {"Pleural Effusion": 1}),
    ("未见气胸、胸腔积液。", {"Pneumothorax": 0, "Pleural Effusion": 0, "No Finding": 1}),
    ("右肺斑片影，考虑肺炎。", {"Lung Opacity": 1, "Pneumonia": -1}),
    ("肺炎待排。", {"Pneumonia": -1}),
    ("心包积液。", {}),
    ("左侧气胸已吸收。", {"Pneumothorax": 0, "No Finding": 1}),
    ("心肺未见异常。", {"No Finding": 1}),
    ("起搏器植入术后。", {"Support Devices": 1}),
    ("影像所见：双侧肋膈角锐利。\n诊断意见：左侧肋骨骨折。", {"Pleural Effusion": 0, "Fracture": 1}),
    ("病史：肺炎。\n影像所见：右下肺不张。", {"Atelectasis": 1}),
    ("胸膜增厚，右上肺结节。", {"Pleural Other": 1, "Lung Lesion": 1}),
    ("两肺水肿较前吸收。", {"Edema": 1}),
]


@pytest.mark.parametrize(("text", "expected"), CHINESE, ids=[text for text, _ in CHINESE])
def test_chinese(text: str, expected: dict[str, int]) -> None:
    labeler = RuleLabeler("chexpert14-zh")
    row = labeler([text])[0]
    assert {name: int(s) for name, s in zip(labeler.observations, row, strict=True) if s == s} == expected


def test_full_and_half_width_marks_are_the_same() -> None:
    labeler = RuleLabeler("chexpert14-zh")
    assert (labeler(["未见胸腔积液，心影增大。"]) == labeler(["未见胸腔积液,心影增大。"]))[0, [2, 10]].all()


def test_the_openi_profile_changes_conventions_only_where_asked() -> None:
    plain, openi = RuleLabeler("nih14"), RuleLabeler("nih14", profile="openi")
    j = plain.observations.index("Cardiomegaly")
    assert (plain(["Borderline cardiomegaly."])[0, j], openi(["Borderline cardiomegaly."])[0, j]) == (-1, 1)
    assert (plain(["Enlarged cardiac silhouette."])[0, j] == 1) and openi(["Enlarged cardiac silhouette."])[0, j] != 1
    assert plain(["Cardiomegaly."])[0, j] == openi(["Cardiomegaly."])[0, j] == 1
    assert openi.name == "rules/nih14+openi"
    with pytest.raises(FileNotFoundError, match="openi"):
        RuleLabeler("nih14", profile="nobody")
