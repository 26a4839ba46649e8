"""Texts in another language are told from English ones, however short these are."""

from __future__ import annotations

import pytest

from labelers.errors import UserError
from labelers.languages import foreign_language, refuse_foreign
from labelers.rules import RuleLabeler
from medclip.utils.plugins import load_plugin


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("German", "Herz nicht vergrößert. Kein Pneumothorax, keine Pneumonie."),
        ("French", "Pas de pneumothorax. Le coeur est normal. Une opacité dans le lobe."),
        ("Spanish", "Sin derrame pleural. Aumento del tamaño cardiaco con edema. Los pulmones limpios."),
        ("Portuguese", "Sem derrame. Não há pneumotórax. Pulmões sem alterações, com atelectasia."),
        ("Italian", "Senza versamento. Nella base, opacità della lingula; segni di edema."),
        ("Dutch", "Geen pneumothorax. Het hart is niet vergroot, een drain bij de top."),
        ("Polish", "Bez zmian. Serce nie jest powiększone. Pneumothorax nie jest widoczny."),
    ],
)
def test_a_language_is_told_by_its_small_words(language: str, text: str) -> None:
    assert foreign_language([text]) == language
    with pytest.raises(UserError, match=rf"x: the reports look {language}, and the labeler rules/chexpert14 reads En"):
        refuse_foreign([text], RuleLabeler(), origin="x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No effusion. Heart normal.",
        "Portable AP. ET tube 3 cm above carina. NG tube, IM nail, L PICC. Ao tortuous. LA enlarged.",
        "Comparison: none. No PTX. Est. 2 L effusion. s/p CABG, mit. valve.",
        "Dr. von der Berg und Sohn reviewed the film; the heart is enlarged and there is an effusion.",
        "双肺纹理清晰。",
    ],
)
def test_english_reports_are_never_refused(text: str) -> None:
    assert foreign_language([text]) == ""


def test_thousands_of_english_reports_hold_too_few_words_of_others() -> None:
    texts = load_plugin("sources", "phantom")(studies=400, size=32).texts()["text"].tolist()
    assert [text for text in texts if foreign_language([text])] == []
    refuse_foreign(texts, RuleLabeler("chexpert14-zh"), origin="x")


def test_a_vocabulary_of_another_language_reads_it() -> None:
    refuse_foreign(["Kein Erguss, keine Pneumonie, nicht vergrößert."], RuleLabeler("chexpert14-zh"), origin="x")
