"""Writes the report of a study as radiologists do: sections, lists of denials, hedges, trends, silence."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from medclip.sources.phantom.population import Sign, Study
from medclip.sources.phantom.reporter import write_rich_report

#: Sentences by language.
_SENTENCES = {"en": Path(__file__).with_name("sentences.yaml"), "zh": Path(__file__).with_name("sentences-zh.yaml")}
LANGUAGES = tuple(_SENTENCES)
#: Chance that an absent observation is denied rather than passed over.
_DENIED = {"Pneumothorax": 0.8, "Pleural Effusion": 0.8, "Consolidation": 0.6, "Cardiomegaly": 0.5, "Edema": 0.4}
_DENIED_OTHERWISE = 0.15


def write_report(study: Study, language: str = "en") -> str:
    """Returns the report of `study`; its findings and impression say what `Sign.state` says, or nothing."""
    if study.version > 1:
        return write_rich_report(study)
    words = _words(language)
    rng = np.random.default_rng([study.seed, 3, study.number])
    told = [_positive(f, words, rng) for f in study.signs if f.state == 1]
    hedged = [_fill(_pick(words["uncertain"][f.observation], rng), f, words, rng) for f in study.signs if f.state == -1]
    findings = told + hedged
    rng.shuffle(findings)
    findings += _denials(study, words, rng)
    if not told and not hedged:
        impression = [_pick(words["no finding"], rng)]
    else:
        impression = list(dict.fromkeys((told + hedged)[:3]))
        impression = (
            [f"{i}. {text}" for i, text in enumerate(impression, start=1)] if len(impression) > 1 else impression
        )
    sections = [
        ("INDICATION", _pick(words["indication"], rng)),
        ("COMPARISON", _pick(words["comparison"], rng)),
        ("TECHNIQUE", _pick(words["technique"], rng)),
        ("FINDINGS", words["joint"].join(findings)),
        ("IMPRESSION", words["joint"].join(impression)),
    ]
    # Some radiologists skip the preliminaries, some dictate an impression only.
    style = rng.random()
    kept = sections[3:] if style < 0.3 else sections[4:] if style < 0.36 else sections
    headings, colon = words["headings"], words["colon"]
    return "\n\n".join(f"{headings.get(name, name)}{colon}{text}" for name, text in kept if text)


@lru_cache(maxsize=len(_SENTENCES))
def _words(language: str) -> dict[str, Any]:
    return dict(yaml.safe_load(_SENTENCES[language].read_text(encoding="utf-8")))


def _pick(choices: list[Any], rng: np.random.Generator) -> Any:
    return choices[int(rng.integers(len(choices)))]


def _positive(sign: Sign, words: dict[str, Any], rng: np.random.Generator) -> str:
    return _fill(_pick(words["positive"][sign.observation], rng), sign, words, rng)


def _fill(template: str, sign: Sign, words: dict[str, Any], rng: np.random.Generator) -> str:
    grades, places = words["severity"], words["place"]
    text = template.format(
        severity=_pick(grades[min(int(sign.severity * len(grades)), len(grades) - 1)], rng),
        side=words["side"][sign.side],
        place=places[int(sign.place[1] * len(places))],
        trend=_pick(words["trend"], rng),
    )
    text = " ".join(text.split())
    return text[0].upper() + text[1:]


def _denials(study: Study, words: dict[str, Any], rng: np.random.Generator) -> list[str]:
    absent = [f.observation for f in study.signs if f.state == 0]
    denied = [name for name in absent if rng.random() < _DENIED.get(name, _DENIED_OTHERWISE)]
    rng.shuffle(denied)
    sentences = []
    for statement in rng.permutation(len(words["normal"])):
        normal = words["normal"][statement]
        if normal["denies"][0] in denied and set(normal["denies"]) <= set(absent) and rng.random() < 0.6:
            sentences.append(normal["text"])
            denied = [name for name in denied if name not in normal["denies"]]
    while denied:
        count = int(rng.integers(1, 4))
        names, denied = [_pick(words["negative"][name], rng) for name in denied[:count]], denied[count:]
        listed = words["last"].join([words["between"].join(names[:-1]), names[-1]] if names[1:] else names)
        sentences.append(_pick(words["list"], rng).format(names=listed))
    return sentences
