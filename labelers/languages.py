"""Which language texts are in, told by their small words: rules for another one would take denials for findings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from labelers.errors import UserError

#: Small words by language; those left out that others share, or that reports abbreviate (la, no, de, en, et, non).
_WORDS = {
    "english": "the of is are and with there without or has have been was for this that which from seen",
    "german": "kein keine keinen keiner nicht ohne und der die das beidseits ist sind bei eine einen einer auf",
    "french": "pas sans aucun aucune avec est dans les une du sur sont",
    "spanish": "sin los las con del una el por",
    "portuguese": "sem não dos com uma nos nas em pelo",
    "italian": "senza della dello nel nella gli alla segni",
    "dutch": "geen het een niet bij zijn naar",
    "polish": "bez nie jest oraz się",
}
_LANGUAGE = {word: language for language, words in _WORDS.items() for word in words.split()}
_WORD = re.compile(r"[^\W\d_]+")
#: Texts that are looked at, spread over all.
_SAMPLE = 1000
#: Small words of another language that are told from chance, and how many times those of English they must be.
_LEAST, _TIMES = 3, 2


def foreign_language(texts: Sequence[str]) -> str:
    """Returns the language of texts that are plainly not in English, such as "German"; "" for others.

    Examples:
        >>> foreign_language(["Herz nicht vergrößert. Kein Erguss. Kein Pneumothorax."])
        'German'
        >>> foreign_language(["Heart not enlarged. No effusion."])
        ''
    """
    sample = texts[:: max(1, len(texts) // _SAMPLE)]
    words = (word for text in sample for word in _WORD.findall(text.lower()))
    found = Counter(_LANGUAGE[word] for word in words if word in _LANGUAGE)
    english = found.pop("english", 0)
    if not found:
        return ""
    language, count = found.most_common(1)[0]
    return language.capitalize() if count >= max(_LEAST, _TIMES * english) else ""


def refuse_foreign(texts: Sequence[str], labeler: Any, *, origin: str) -> None:
    """Refuses texts that are plainly in another language than the labeler's, where that is English.

    "Kein Pneumothorax" names a finding in words that English has too, and denies it in words that English has not.

    Raises:
        UserError: They are; the message names both languages.
    """
    if getattr(labeler, "language", "english") == "english" and (found := foreign_language(texts)):
        raise UserError(
            f"{origin}: the reports look {found}, and the labeler {labeler.name} reads English: it would take denials "
            "for findings. Give a table with labels of its own, or a vocabulary for this language "
            "(--vocabulary FOLDER; see docs/lexicon.md)."
        )
