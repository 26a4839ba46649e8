"""The same sentence in other words: synonyms, denials worded another way, lists in another order, no state changed.

Sentences are rewritten by rules, and a rewriting counts only if the labeler reads every state as before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from labelers.rules import RuleLabeler

_SYNONYMS = Path(__file__).parent / "lexicon" / "english" / "synonyms.txt"
_AGAIN = r"(?:evidence of |evidence for |sign of |signs of )?(?:an? |any )?"
#: Denials and claims worded another way, at the start of a sentence.
_WORDINGS = (
    (rf"^(?:there (?:is|are) )?no {_AGAIN}(?P<rest>[^.;:]+?)(?: (?:is|are) (?:seen|identified|present|noted))?\.?$",
     ("No evidence of {rest}.", "There is no {rest}.", "No {rest} is seen.", "Without {rest}.",
      "Negative for {rest}.")),
    (r"^there (?:is|are) (?!no\b)(?:an? )?(?P<rest>[^.;:]+?)\.?$",
     ("{rest} is seen.", "{rest} is present.", "{rest}.")),
)  # fmt: skip
_LIST = re.compile(r"(?P<first>[\w -]+?(?:, [\w -]+?)*),? or (?P<last>[\w -]+)")


def rewordings(sentence: str, labeler: RuleLabeler) -> list[str]:
    """Returns rewritings of a sentence of which the labeler reads the same states, the sentence itself left out.

    Args:
        sentence: A sentence of a report, in English.
        labeler: Reads it, and its rewritings.

    Examples:
        >>> from labelers.rewordings import rewordings
        >>> from labelers.rules import RuleLabeler
        >>> rewordings("No pneumothorax.", RuleLabeler())[:2]
        ['No evidence of pneumothorax.', 'There is no pneumothorax.']
    """
    tried = list(dict.fromkeys(text for text in _rewritten(sentence) if text != sentence))
    if not tried:
        return []
    states = labeler.label_sentences([sentence, *tried])
    return [
        text for text, read in zip(tried, states[1:], strict=True) if np.array_equal(states[0], read, equal_nan=True)
    ]


def _rewritten(sentence: str) -> Iterator[str]:
    """Yields rewritings: by wording, by order of a list, by one synonym at a time."""
    for pattern, forms in _WORDINGS:
        if found := re.match(pattern, sentence.strip(), flags=re.IGNORECASE):
            yield from (_sentence(form.format(rest=found["rest"].strip())) for form in forms)
    if (found := _LIST.search(sentence)) and sentence.lower().startswith(("no ", "there is no ", "without ")):
        head, listed = _split_denial(found["first"])
        names = [*listed.split(", "), found["last"]]
        turned = f"{head}{', '.join(names[:0:-1])} or {names[0]}"
        yield _sentence(sentence[: found.start()] + turned + sentence[found.end() :])
    for group in _synonyms():
        for word in group:
            for place in re.finditer(rf"\b{re.escape(word)}\b", sentence, flags=re.IGNORECASE):
                for other in group:
                    if other != word:
                        yield _sentence(sentence[: place.start()] + other + sentence[place.end() :])


def _split_denial(text: str) -> tuple[str, str]:
    """Returns the words of a list that deny, and the list."""
    found = re.match(rf"^(?:there is |there are )?(?:no|without) {_AGAIN}", text, flags=re.IGNORECASE)
    return (text[: found.end()], text[found.end() :]) if found else ("", text)


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text[:1].upper() + text[1:]


@lru_cache(maxsize=1)
def _synonyms() -> Sequence[tuple[str, ...]]:
    """Returns groups of words that say the same in a report."""
    lines = _SYNONYMS.read_text(encoding="utf-8").splitlines()
    return [tuple(word.strip() for word in line.split("|")) for line in lines if line.strip() and line[0] != "#"]
