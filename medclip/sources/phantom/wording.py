"""The words of one finding: its noun, size, side and place as drawn, and phrases and sentences of them.

What is drawn decides what may be said: a noun's number goes with the side, the zone with the height in the lung, the
millimetres of a nodule with its severity (on a scale of their own, as films of the phantom have none).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from medclip.sources.phantom.grammar import Choices, Given, Grammar, alternatives
from medclip.sources.phantom.population import RARE, Sign

DEVICES = "Support Devices"
_FILES = ("findings", "frames", "normal", "rare", "rest")
_TERSE = "terse"  # what hospital B has in place of the same rules
_LISTS = ("normal", "anatomy")
#: Names that phrases give, or the reporter.
GIVEN = (
    "a", "is", "is2", "has", "noun", "kind", "severity", "size", "degree", "degree2", "side", "angle", "onside",
    "still", "base", "basal", "zone", "zoneadj", "lobe", "rib", "adj", "coursed", "cm", "depth", "ratio", "above",
    "effusion", "pneumothorax", "np", "it", "bare", "first", "second", "denied", "names", "device", "age", "person",
)  # fmt: skip
_LAYOUTS = {
    "Enlarged Cardiomediastinum": "midline", "Cardiomegaly": "midline", "Edema": "midline", "Lung Opacity": "lung",
    "Lung Lesion": "sized", "Consolidation": "lung", "Pneumonia": "lung", "Atelectasis": "base",
    "Pneumothorax": "pleura", "Pleural Effusion": "pleura", "Pleural Other": "pleura", "Fracture": "rib",
}  # fmt: skip
#: Observations that are mild or severe; others are small or large.
_OF_DEGREE = ("Enlarged Cardiomediastinum", "Cardiomegaly", "Edema", "Pneumonia", "Atelectasis", "Pleural Other")
_UNGRADED = ("Fracture", "Pneumonia", "Consolidation")
#: Where along the height of the lung (0 top, 1 base) a drawing puts what has the second number of its place 0 and 1.
_HEIGHTS = {
    "Pneumonia": (0.45, 1.0), "Lung Lesion": (0.0, 0.9), "Granuloma": (0.11, 0.89), "Lung Cavity": (0.16, 0.53),
    "Fracture": (0.11, 0.95),
}  # fmt: skip
#: Observations of which there may be several on one side.
_SEVERAL = ("Lung Opacity", "Atelectasis", "Pneumonia")
_KNOWN = ("increased", "decreased", "unchanged")
_COMPARED = ("new", *_KNOWN)
_ORDINALS = ("third", "fourth", "fifth", "sixth", "seventh", "eighth")
_NUMBERS = {
    "one": {"a": "a_", "is": "is", "has": "has", "effusion": "effusion", "pneumothorax": "pneumothorax"},
    "many": {
        "a": "",
        "is": "are",
        "has": "have",
        "effusion": "effusions",
        "pneumothorax": "pneumothoraces",
    },
    "mass": {"a": "", "is": "is", "has": "has", "effusion": "effusion", "pneumothorax": "pneumothorax"},
}


class Wording:
    """All rules of one hospital, with its lists of normal statements."""

    def __init__(self, hospital: str) -> None:
        rules = {key: value for name in _FILES for key, value in _read(name).items()}
        if hospital == "B":
            rules |= _read(_TERSE)
        self.terse = hospital == "B"
        self.lists: dict[str, list[dict[str, Any]]] = {name: rules.pop(name) for name in _LISTS}
        self.misspelt: dict[str, list[str]] = rules.pop("misspelt")
        rules["statement"] = {name: {i: [one["text"]] for i, one in enumerate(self.lists[name])} for name in _LISTS}
        self.grammar = Grammar(rules, GIVEN)
        self.meanings, self.forms = lru_cache(maxsize=4096)(self._meanings), lru_cache(maxsize=256)(self._forms)

    def _forms(self, name: str, side: str) -> list[str]:
        """Returns numbers that the noun of a finding has: "one", "many", "mass"; on both sides it is not one."""
        forms = [form for form in _NUMBERS if self.grammar.get(f"noun/{name}/{form}")]
        unfit = "one" if side == "bilateral" else "many" if name not in _SEVERAL or not side else ""
        return [form for form in forms if form != unfit] or ["mass"]

    def _meanings(self, name: str, side: str, grade: int, zone: int, number: str, course: str) -> dict[str, Any]:
        """Returns what names stand for with such a finding."""
        rules = self.grammar
        of = {key: rules.get(f"{key}/{side}") for key in ("side", "onside", "base", "basal")}
        of |= {key: rules.get(f"{key}/{side}/{zone}") for key in ("zone", "zoneadj")}
        of |= {key: rules[f"{key}/{grade}"] for key in ("size", "degree", "degree2")}
        of |= {"noun": rules.get(f"noun/{name}/{number}"), "kind": rules.get(f"kind/{name}"), "lobe": of["zone"]}
        of |= {"severity": of["degree2" if name in _OF_DEGREE else "size"], "coursed": rules[f"coursed/{course}"]}
        of["angle"] = rules[f"angle/{'many' if side == 'bilateral' else 'one'}"]
        of["still"] = rules[f"still/{'known' if course in _KNOWN else 'first'}"]
        if course == "aged" and (aged := rules.get(f"aged/{name}")):
            of["kind"] = (of["kind"] or ()) + aged
        if name in _UNGRADED:
            of["severity"] = alternatives([""])
        return {key: choices for key, choices in of.items() if choices} | {
            key: alternatives([word]) for key, word in _NUMBERS[number].items()
        }


@lru_cache(maxsize=2)
def wording_of(hospital: str) -> Wording:
    """Returns the wording of hospital "A" or "B"."""
    return Wording(hospital)


def _read(name: str) -> dict[str, Any]:
    path = Path(__file__).with_name(f"wording-{name}.yaml")
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


class Phrase:
    """One finding in words; everything is drawn anew whenever it is asked for, within what is true of the sign.

    Args:
        sign: Of a study.
        course: Against the earlier film: "new", "increased", "decreased", "unchanged"; "" where none is told, "aged"
            where no earlier film of the population contradicts words of age.
        wording: Of the hospital.
        draw: Returns numbers in [0, 1).
        given: What names stand for beside its own.
    """

    def __init__(
        self, sign: Sign, course: str, wording: Wording, draw: Callable[[], float], given: Mapping[str, Choices]
    ) -> None:
        self.sign, self.course, self.wording, self.draw = sign, course, wording, draw
        self.name = sign.observation
        # Devices are drawn on one side and a broken rib on the left where the sign says both: nothing is said of it.
        self.side = "none" if sign.side == "bilateral" and self.name in (DEVICES, "Fracture") else sign.side
        layout = _LAYOUTS.get(self.name, "none")
        self._plain = layout == "midline" or self.side in ("left", "right")
        self._layout = layout if layout != "rib" or self._plain else "midline"
        self._adjectives = "full"
        forms = wording.forms(self.name, sign.side)
        self._number = forms[int(draw() * len(forms))]
        self._given: dict[str, Any] = {
            **self._meaning(), **given, "np": self.phrase, "it": self.known, "bare": self.bare, "rib": self._rib,
            "cm": self._diameter, "depth": self._depth, "ratio": self._ratio, "above": self._above,
            "device": self._device,
        }  # fmt: skip

    @property
    def verb(self) -> str:
        """Its "is" or "are"."""
        return _NUMBERS[self._number]["is"]

    def write(self, rule: str, **given: str) -> str:
        """Returns a text of `rule` about this finding."""
        known: Given = self._given if not given else self._given | texts(given)
        return self.wording.grammar.write(self.wording.grammar[rule], self.draw, known)

    def phrase(self, adjectives: str = "") -> str:
        """Returns it as a noun phrase with article: "a_ small left effusion"."""
        grammar = self.wording.grammar
        self._given["adj"] = grammar[f"adj/{adjectives or self._adjectives}"]
        return grammar.write(grammar[f"np/{self._layout}"], self.draw, self._given).strip()

    def known(self) -> str:
        """Returns it as what is known already: "the left effusion"."""
        text = self.phrase("plain").removeprefix("a_ ")
        return text if self.wording.terse else f"the {text}"

    def bare(self) -> str:
        """Returns it without article: "small left effusion"."""
        return self.phrase().removeprefix("a_ ")

    def claim(self, share: float) -> str:
        """Returns a text that claims it: with the chance `share` one that fits no other finding."""
        if self.name == DEVICES:
            return self.write("device_any" if self.draw() < 0.25 else f"device/{self._kind()}")
        if self.name in RARE:
            return self.write(f"rare/{self.name}")
        if self.course in _COMPARED and self.draw() < 0.6:
            self._adjectives = "graded"
            text = self.write(f"compared/{self.course}")
            self._adjectives = "full"
            return text
        return self._own("claim") if self._plain and self.draw() < share else self.write("claimed")

    def hedge(self, share: float) -> str:
        """Returns a text that calls it possible."""
        own = self.name == DEVICES or (self._plain and self.draw() < share)
        return self._own("hedge") if own else self.write("hedged")

    def summary(self) -> str:
        """Returns a text for the impression."""
        if self.name in RARE:
            return self.write(f"rare_short/{self.name}")
        if self.name == DEVICES and self.sign.state == 1:
            return self.write("device_short")
        return self.claim(0.3) if self.sign.state == 1 else self.hedge(0.6)

    def _own(self, rule: str) -> str:
        number = self.wording.forms(self.name, "")[0]
        if number != self._number:
            self._number = number
            self._given |= self._meaning()
        return self.write(f"{rule}/{self.name}")

    def _meaning(self) -> dict[str, Any]:
        grade = min(int(4 * self.sign.severity), 3)
        return self.wording.meanings(self.name, self.side, grade, self._zone(), self._number, self.course)

    def _height(self) -> float:
        low, high = _HEIGHTS.get(self.name, (0.0, 1.0))
        return low + (high - low) * self.sign.place[1]

    def _zone(self) -> int:
        if self.name == "Consolidation":  # drawn as a lobe
            return 0 if self.sign.place[1] < 0.35 else 2
        return min(int(4 * self._height()), 3)

    def _rib(self) -> str:
        side = "" if self.side == "none" else f"{self.side} "
        which = _ORDINALS[min(int(len(_ORDINALS) * self._height()), len(_ORDINALS) - 1)]
        part = ("", "lateral ", "posterolateral ", "")[int(4 * self.draw())]
        return f"the {side}{part}{which} rib" if not self.wording.terse else f"{side}{which} rib"

    def _diameter(self) -> str:
        mm = 6 + 34 * self.sign.severity
        return f"{mm:.0f} mm" if self.draw() < 0.5 else f"{mm / 10:.1f} cm"

    def _depth(self) -> str:
        mm = 5 + 40 * self.sign.severity
        return f"{mm:.0f} mm" if self.draw() < 0.5 else f"{mm / 10:.1f} cm"

    def _ratio(self) -> str:
        return f"{52 + 20 * self.sign.severity:.0f}"

    def _above(self) -> str:
        return f"{3 + 3 * self.sign.place[1]:.1f}" if self.draw() < 0.5 else f"{3 + 3 * self.sign.place[1]:.0f}"

    def _kind(self) -> int:
        return int(4 * self.sign.place[0])

    def _device(self) -> str:
        return self.write(f"device_name/{self._kind()}")


def texts(words: Mapping[str, str]) -> dict[str, Choices]:
    """Returns texts as what names stand for."""
    return {name: ((text,),) for name, text in words.items()}
