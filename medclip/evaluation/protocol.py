"""Named protocols: how published numbers were obtained, as settings, with the numbers, as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from labelers.errors import UserError
from medclip.evaluation.bootstrap import Metric
from medclip.utils.text import suggest

T = TypeVar("T", bound=Any)
PROTOCOLS = Path(__file__).parent / "protocols"


@dataclass(frozen=True)
class Published:
    """A number that somebody published.

    Attributes:
        model: Whose.
        test_set: Test set, as its source is called here.
        metric: Metric, as ours is called.
        value: The number.
        samples: Training images, where it says.
        images: Number of images of the test set.
    """

    model: str
    test_set: str
    metric: str
    value: float
    samples: int | None = None
    images: int | None = None


@dataclass(frozen=True)
class Protocol:
    """How a publication evaluated.

    Attributes:
        name: Name of the file.
        about: What it is, with its source.
        settings: Settings of `medclip-evaluate`.
        test_sets: Options of the source and settings that replace the general ones, by name of the test set.
        differences: Differences between paper and code, and between them and this package.
        published: The numbers.
        prompts: Where the published prompts are, if they are not in this package.
        quoted: Where the numbers were quoted from.
    """

    name: str
    about: str
    settings: Mapping[str, Any]
    test_sets: Mapping[str, Mapping[str, Any]]
    differences: Sequence[str]
    published: Sequence[Published]
    prompts: str = ""
    quoted: str = ""

    def apply(self, config: T, plain: T, given: Collection[str] = ()) -> tuple[T, list[str]]:
        """Returns settings of an evaluation with what the protocol fixes, and where they depart from it nevertheless.

        A setting that somebody gave (one of `given`, or one that is not the usual) wins, and is a departure.

        Args:
            config: A dataclass with the fields `on`, `prompts`, `source_options` and those that protocols set.
            plain: The same with the usual values.
            given: Names of fields that somebody gave.
        """
        departures: list[str] = []
        wanted, options = dict(self.settings), dict(config.source_options)
        for name in sources_of(config.on):
            wanted |= self.test_sets.get(name, {}).get("settings", {})
            for key, value in self.test_sets.get(name, {}).get("options", {}).items():
                now = (options.get(name) or {}).get(key, value)
                options[name] = {key: now, **(options.get(name) or {})}
                if now != value:
                    departures.append(f"{name} is read with {key} {now}, the protocol's is {value}")
        taken = {}
        for name, value in wanted.items():
            now = getattr(config, name)
            if now != value and (name in given or now != getattr(plain, name)):
                departures.append(f"{name} is {now}, the protocol's is {value}")
            else:
                taken[name] = value
        if len(sources_of(config.on)) > 1:
            departures.append("several test sets at once; the protocol takes one at a time")
        if self.prompts and config.prompts == plain.prompts:
            departures.append(f"prompts are those of {plain.prompts}; the published ones are in {self.prompts}")
        return dataclasses.replace(config, **taken, source_options=options), departures

    def beside(self, on: Sequence[str], metrics: Mapping[str, Metric]) -> list[tuple[Published, float]]:
        """Returns the published numbers of a test set with ours of the same name; of several at once there are none."""
        if len(on) != 1:
            return []
        return [(p, metrics[p.metric].value) for p in self.published if p.test_set in on and p.metric in metrics]


def sources_of(on: str) -> list[str]:
    """Returns the names in "nih=/data/CXR8,rsna"."""
    return [spec.partition("=")[0].strip() for spec in on.split(",") if spec.strip()]


def protocol_names() -> list[str]:
    """Returns the names of the protocols that come with the package."""
    return sorted(path.stem for path in PROTOCOLS.glob("*.yaml"))


def load_protocol(name: str) -> Protocol:
    """Returns the protocol called `name`.

    Raises:
        UserError: There is none.
    """
    known = protocol_names()
    if name not in known:
        raise UserError(f"--protocol {name}: there is none.{suggest(name, known)} Choose from {', '.join(known)}.")
    content = yaml.safe_load((PROTOCOLS / f"{name}.yaml").read_text(encoding="utf-8"))
    published = tuple(Published(**entry) for entry in content.pop("published"))
    return Protocol(name=name, published=published, **content)
