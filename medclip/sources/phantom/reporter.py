"""Writes the report of a study of version 2: what is told, in which order, in the manner of its hospital.

Hospital A writes long reports in sections, B telegrams. A patient's second study is compared with the first as it was
drawn; before the first there may have been a film that is in no study.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from random import Random
from typing import Any

from medclip.sources.phantom.grammar import Choices, sentence
from medclip.sources.phantom.population import RARE, Sign, Study, draw_study
from medclip.sources.phantom.slips import misspell
from medclip.sources.phantom.wording import DEVICES, Phrase, texts, wording_of

#: Chance that an absent observation is denied rather than passed over, as in version 1; in hospital B a third lower.
_DENIED = {"Pneumothorax": 0.8, "Pleural Effusion": 0.8, "Consolidation": 0.6, "Cardiomegaly": 0.5, "Edema": 0.4}
_DENIED_OTHERWISE = 0.15
_TOLD_RARE, _DENIED_RARE = 0.85, 0.04
_REGIONS = {
    "lungs": ("Lung Opacity", "Lung Lesion", "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Emphysema",
              "Granuloma", "Lung Cavity"),
    "pleura": ("Pneumothorax", "Pleural Effusion", "Pleural Other", "Hemidiaphragm Elevation"),
    "heart": ("Enlarged Cardiomediastinum", "Cardiomegaly", "Tortuous Aorta", "Hernia"),
    "bones": ("Fracture", "Scoliosis", "Subcutaneous Emphysema"),
    "devices": (DEVICES,),
}  # fmt: skip
_REGION = {name: region for region, names in _REGIONS.items() for name in names}
#: Findings that are there, and what they may be.
_CAUSES = {
    "Lung Opacity": ("Pneumonia", "Atelectasis", "Consolidation"), "Consolidation": ("Pneumonia", "Atelectasis"),
    "Atelectasis": ("Pneumonia", "Consolidation"),
}  # fmt: skip
_APART = (*RARE, DEVICES)  # not in sentences with others
_COURSES = ("new", "increased", "decreased", "unchanged", "unchanged")
Statement = tuple[str, str]  # region, sentence
_DOUBTS = ("Atelectasis", "Pneumonia", "Consolidation", "Edema")


@dataclass(frozen=True)
class Report:
    """A report and what it means to say.

    Attributes:
        said: State of each observation that the report speaks of, those of `RARE` among them.
    """

    text: str
    said: dict[str, int]


def write_rich_report(study: Study) -> str:
    """Returns the report of a study of version 2; it says what `Sign.state` says, or nothing."""
    return compose(study).text


def compose(study: Study) -> Report:
    """Returns the report of a study of version 2 with what it means to say."""
    return _Reporter(study).report()


class _Reporter:
    """The writing of one report."""

    def __init__(self, study: Study) -> None:
        self._study, self._wording = study, wording_of(study.hospital)
        self._terse = self._wording.terse
        self._draw = Random((study.seed << 40) + study.number).random  # faster to seed than numpy's
        second = study.number % 2 == 1
        self._compares = self._draw() < (0.35 if second else 0.6)
        earlier = second and self._compares
        self._before = draw_study(study.seed, study.number - 1, study.version) if earlier else None
        self._given: dict[str, Choices] = {}
        self._given = texts({"date": self._plain("date")})
        absent = [sign.observation for sign in study.signs if sign.state == 0]
        self._absent = frozenset(absent)
        self._denied = [name for name in absent if self._draw() < self._chance(name)]
        present = [sign for sign in study.signs if sign.state != 0]
        told = [sign for sign in present if sign.observation not in RARE or self._draw() < _TOLD_RARE]
        self._told = [self._phrase(sign, self._course(sign)) for sign in told]
        self._said = {one.name: one.sign.state for one in self._told} | dict.fromkeys(self._denied, 0)

    def report(self) -> Report:
        """Returns the report."""
        style = self._draw()
        brief = style < (0.45 if self._terse else 0.04)
        findings = self._findings()
        self._shuffle(findings)
        findings += self._denials()
        findings += self._surroundings()
        body = [] if brief and findings else [("FINDINGS", self._body(findings))]
        closing = [(self._plain("heading"), self._numbered(self._all(findings) if brief else self._sum()))]
        sections = closing + body if self._terse else body + closing
        if self._draw() < (0.25 if self._terse else 0.7):
            sections = self._preliminaries() + sections
        text = "\n\n".join(f"{name}: {text}" for name, text in sections if text)
        return Report(misspell(text, self._wording.misspelt, self._draw), self._said)

    def _findings(self) -> list[Statement]:
        """Returns sentences about all that is told, some of it together."""
        there = [one for one in self._told if one.sign.state == 1 and one.name not in _APART]
        doubtful = [one for one in self._told if one.sign.state == -1 and one.name != DEVICES]
        found = self._joined(there, doubtful)
        denied = [name for name in self._denied if name not in _APART]
        if there and denied and self._draw() < 0.3:
            self._denied.remove(denied[0])
            found.append((there[0], there.pop(0).write("though", denied=self._name(denied[0]))))
        found += [(one, one.claim(0.45)) for one in there]
        found += [(one, one.hedge(0.6)) for one in doubtful]
        found += [
            (one, one.claim(1.0) if one.sign.state == 1 else one.hedge(1.0)) for one in self._told if one.name in _APART
        ]
        return [(_REGION[one.name], sentence(text)) for one, text in found]

    def _joined(self, there: list[Phrase], doubtful: list[Phrase]) -> list[tuple[Phrase, str]]:
        """Takes pairs out of the lists and returns sentences about them, each with its first finding."""
        found = []
        for one, other in self._pairs(there, doubtful):
            if one.sign.state == -1:
                rule = "versus"
            elif other.sign.state == -1:
                rule = "cause"
            else:
                rule = self._both(one, other) or "both/any"
            second = other.phrase() if rule.startswith("both") else other.bare()
            found.append((one, one.write(rule, first=one.phrase(), second=second, is2=other.verb)))
        return found

    def _pairs(self, there: list[Phrase], doubtful: list[Phrase]) -> Iterator[tuple[Phrase, Phrase]]:
        for one, other in list(combinations(there, 2)):
            reverse = self._both(other, one) is not None
            likely = reverse or self._both(one, other) is not None
            if one in there and other in there and self._draw() < (0.5 if likely else 0.06):
                there.remove(one)
                there.remove(other)
                yield (other, one) if reverse else (one, other)
        for one, other in [(a, b) for a in there for b in doubtful if b.name in _CAUSES.get(a.name, ())]:
            if one in there and other in doubtful and self._draw() < 0.5:
                there.remove(one)
                doubtful.remove(other)
                yield one, other
        for one, other in list(combinations([one for one in doubtful if one.name in _DOUBTS], 2)):
            if one in doubtful and other in doubtful and self._draw() < 0.4:
                doubtful.remove(one)
                doubtful.remove(other)
                yield one, other

    def _both(self, one: Phrase, other: Phrase) -> str | None:
        rule = f"both/{one.name}/{other.name}"
        return rule if self._wording.grammar.get(rule) else None

    def _course(self, sign: Sign) -> str:
        """Returns how a finding compares with the earlier film, see `Phrase`."""
        if sign.state != 1:
            return ""
        first = self._study.number % 2 == 0
        if not self._compares or self._draw() < 0.4:
            return "aged" if first else ""
        return _COURSES[int(len(_COURSES) * self._draw())] if self._before is None else _change(self._before, sign)

    def _denials(self) -> list[Statement]:
        """Returns sentences about what is absent, each observation in one."""
        found = [(_REGION[name], self._sentence(f"rare_deny/{name}")) for name in self._denied if name in RARE]
        denied = [name for name in self._denied if name not in RARE]
        found += self._normal(denied)
        self._shuffle(denied)
        while denied:
            if (gone := self._resolved(denied[0])) is not None:
                found.append((_REGION[denied.pop(0)], gone))
                continue
            count = 1 + int(3 * self._draw())
            named, denied = denied[:count], denied[count:]
            found.append((_REGION[named[0]], self._list([self._name(name) for name in named])))
        return found

    def _normal(self, denied: list[str]) -> list[Statement]:
        """Takes out of `denied` what is said by calling a part normal, and returns those sentences."""
        found = []
        statements = self._wording.lists["normal"]
        wanted = [number for number, one in enumerate(statements) if one["denies"][0] in denied]
        self._shuffle(wanted)
        for number in wanted:
            names = statements[number]["denies"]
            if names[0] in denied and self._may_say(statements[number]) and self._draw() < 0.45:
                found.append((_REGION[names[0]], self._sentence(f"statement/normal/{number}")))
                denied[:] = [name for name in denied if name not in names]
                self._said |= dict.fromkeys(names, 0)
        return found

    def _may_say(self, statement: Mapping[str, Sequence[str]]) -> bool:
        return self._absent.issuperset((*statement.get("denies", ()), *statement.get("absent", ())))

    def _resolved(self, name: str) -> str | None:
        """Returns that what was there is gone, where it may be said."""
        old = self._before.sign(name) if self._before is not None else self._study.sign(name)
        likely = (0.6 if old.state == 1 else 0.0) if self._before is not None else 0.04 * self._compares
        if name == DEVICES or self._draw() >= likely:
            return None
        return sentence(self._phrase(old, "").write("resolved", denied=self._name(name)))

    def _list(self, names: list[str]) -> str:
        if len(names) == 1 and self._draw() < 0.15:
            return self._sentence("single", denied=names[0])
        listed = self._plain("joint").join(names[:-1])
        return self._sentence("list", names=f"{listed}{self._plain('last')}{names[-1]}" if listed else names[0])

    def _name(self, observation: str) -> str:
        return self._plain(f"deny/{observation}")

    def _surroundings(self) -> list[Statement]:
        """Returns sentences about normal anatomy, what is of no consequence, and how the film was made."""
        statements, draw = self._wording.lists["anatomy"], self._draw
        found = []
        for _ in range(int((1.4 if self._terse else 3.4) * draw())):
            number = int(len(statements) * draw())
            if self._may_say(statements[number]):
                found.append((statements[number]["region"], self._sentence(f"statement/anatomy/{number}")))
        if draw() < (0.12 if self._terse else 0.35):
            found.append(("bones", self._sentence(f"incidental/{'old' if self._study.age > 55 else 'young'}")))
        if draw() < (0.2 if self._terse else 0.45):
            any_film = draw() < 0.5 and not self._study.has("Emphysema")
            found.insert(0, ("", self._sentence(f"remark/{'any' if any_film else self._study.view}")))
        return list(dict.fromkeys(found))

    def _body(self, findings: list[Statement]) -> str:
        """Returns the findings: in any order, by region, or with a heading for each region."""
        style = self._draw()
        if self._terse or style < 0.4:
            return " ".join(text for _, text in findings)
        lines = {region: [text for own, text in findings if own == region] for region in ("", *_REGIONS)}
        if style < 0.8:
            return " ".join(text for line in lines.values() for text in line)
        return "".join(
            f"\n{self._plain(f'headings/{region}')}: {' '.join(line)}" if region else " ".join(line)
            for region, line in lines.items()
            if line
        )

    def _sum(self) -> list[str]:
        """Returns the impression: what matters, what is advised, who was told."""
        matters = [one for one in self._told if one.name != DEVICES or self._draw() < 0.3]
        self._shuffle(matters)
        found = [sentence(one.summary()) for one in matters[: 3 + int(2 * self._draw())]]
        if not any(one.name != DEVICES for one in self._told):
            found.insert(0, self._nothing())
        for rule, share in (("advice", 0.2), ("said_to", 0.1)):
            if self._told and self._draw() < share:
                found.append(self._sentence(rule))
        return list(dict.fromkeys(found))

    def _all(self, findings: list[Statement]) -> list[str]:
        """Returns an impression that stands alone."""
        quiet = [] if self._told else [self._nothing()]
        return quiet + [text for _, text in findings]

    def _nothing(self) -> str:
        """Returns that nothing was found; not that all is normal where there is something outside the 14."""
        rare = any(self._study.has(name) for name in RARE)
        return self._sentence("quiet" if rare or self._told else "no_finding")

    def _numbered(self, impression: list[str]) -> str:
        style = self._draw()
        if len(impression) < 2 or style < 0.4:
            return " ".join(impression)
        return ("\n" if style < 0.6 else " ").join(f"{i}. {text}" for i, text in enumerate(impression, start=1))

    def _preliminaries(self) -> list[tuple[str, str]]:
        person = self._plain(f"person/{self._study.sex}")
        return [
            ("INDICATION", self._sentence("indication", age=str(self._study.age), person=person)),
            (
                "COMPARISON",
                self._sentence(f"comparison/{'earlier' if self._compares or self._study.number % 2 else 'none'}"),
            ),
            ("TECHNIQUE", self._sentence(f"technique/{self._study.view}")),
        ]

    def _chance(self, name: str) -> float:
        chance = _DENIED_RARE if name in RARE else _DENIED.get(name, _DENIED_OTHERWISE)
        return chance * 2 / 3 if self._terse else chance

    def _phrase(self, sign: Sign, course: str) -> Phrase:
        return Phrase(sign, course, self._wording, self._draw, self._given)

    def _plain(self, rule: str, **given: str) -> str:
        known = self._given | texts(given) if given else self._given
        return self._wording.grammar.write(self._wording.grammar[rule], self._draw, known)

    def _sentence(self, rule: str, **given: str) -> str:
        return sentence(self._plain(rule, **given))

    def _shuffle(self, items: list[Any]) -> None:
        for i in range(len(items) - 1, 0, -1):
            j = int((i + 1) * self._draw())
            items[i], items[j] = items[j], items[i]


def _change(before: Study, sign: Sign) -> str:
    """Returns what became of a finding since the study before; "" where that was in doubt or elsewhere."""
    old = before.sign(sign.observation)
    if old.state == 0:
        return "new"
    kinds = {int(4 * one.place[0]) for one in (old, sign)} if sign.observation == DEVICES else set()
    if old.state == -1 or old.side != sign.side or len(kinds) > 1:
        return ""
    change = sign.severity - old.severity
    return "unchanged" if abs(change) < 0.2 else "increased" if change > 0 else "decreased"
