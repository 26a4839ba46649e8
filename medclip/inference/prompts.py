"""Prompt sets: texts that ask about observations, read from files."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from labelers.errors import UserError
from medclip.utils.text import suggest

_RENAMED = {"COVID": "COVID-19"}
PROMPT_SETS = Path(__file__).parent / "prompt_sets"


@dataclass(frozen=True)
class Prompts:
    """Texts that say an observation is there, and texts that say it is not.

    Attributes:
        negative: May be empty; then only comparisons between observations are possible.
    """

    positive: tuple[str, ...]
    negative: tuple[str, ...] = ()


def prompt_set_names() -> list[str]:
    """Returns the names of the prompt sets that come with the package."""
    return sorted(path.stem for path in PROMPT_SETS.glob("*.yaml"))


def load_prompts(name: str | Path) -> dict[str, Prompts]:
    """Returns prompts by observation, of the set called `name` or of the file at that path.

    Several, joined by commas, add up; of an observation that is in several, the last one's count.

    A YAML file maps each observation to `positive: [...]` and, if wanted, `negative: [...]`; a plain list means
    positive. With `templates: {positive: ["There is {}."], negative: ["No {}."]}` an observation may have
    `names: [...]` instead, each of which is put into each template. A `constants.py` of GLoRIA or MedCLIP is read, not
    run, see `read_grids`.

    Raises:
        FileNotFoundError: There is no such set or file.
        UserError: The file is laid out otherwise.

    Examples:
        >>> import medclip
        >>> medclip.load_prompts("chexpert14")["Edema"].negative[0]
        'No pulmonary edema.'
    """
    if "," in str(name):
        parts = [load_prompts(part.strip()) for part in str(name).split(",")]
        return {observation: prompts for part in parts for observation, prompts in part.items()}
    is_file = str(name).endswith((".yaml", ".yml", ".py"))
    path = Path(name) if is_file else PROMPT_SETS / f"{name}.yaml"
    if not path.is_file():
        known = prompt_set_names()
        raise FileNotFoundError(
            f"There is no prompt set {str(name)!r}.{suggest(str(name), known)} "
            f"Name one of {', '.join(known)}, or the path of a YAML file."
        )
    if path.suffix == ".py":
        return read_grids(path)
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: expected a mapping from observations to prompts, found {type(content).__name__}.")
    templates = content.pop("templates", {})
    return {str(name): _read(path, str(name), _filled(path, str(name), entry, templates))
            for name, entry in content.items()}  # fmt: skip


def read_grids(path: Path) -> dict[str, Prompts]:
    """Returns the prompts that the authors of GLoRIA and MedCLIP publish in `constants.py`, without running it.

    Dictionaries whose names end in CLASS_PROMPTS hold, for each observation, lists of words by component (severity,
    subtype, location, ...). A prompt is one word of each, in the order of the file, joined by spaces; empty words
    leave their spaces, and what is listed twice counts twice, as in the published code. There are no negatives.

    Raises:
        UserError: The file holds no such dictionary.
    """
    prompts = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names = [target.id for target in getattr(node, "targets", ()) if isinstance(target, ast.Name)]
        if isinstance(node, ast.Assign) and any(name.endswith("CLASS_PROMPTS") for name in names):
            for name, components in ast.literal_eval(node.value).items():
                words = itertools.product(*components.values())
                prompts[_RENAMED.get(name, name)] = Prompts(tuple(" ".join(chosen) for chosen in words))
    if not prompts:
        raise UserError(f"{path} holds no dictionary whose name ends in CLASS_PROMPTS.")
    return prompts


def _filled(path: Path, name: str, entry: object, templates: object) -> object:
    """Returns an entry with its names put into the templates, where it has names."""
    if not isinstance(entry, dict) or "names" not in entry:
        return entry
    if set(entry) != {"names"} or not isinstance(templates, dict) or not templates.get("positive"):
        raise UserError(
            f"{path}: {name!r} has names, so it has no texts of its own, and the file needs "
            "'templates: {positive: [...], negative: [...]}' whose texts hold {}."
        )
    for template in (text for texts in templates.values() for text in texts):
        if str(template).count("{}") != 1:
            raise UserError(f"{path}: the template {template!r} needs one {{}} for the name.")
    return {
        side: [template.replace("{}", word) for word in entry["names"] for template in texts]
        for side, texts in templates.items()
    }


def _read(path: Path, name: str, entry: object) -> Prompts:
    sides = {"positive": entry} if isinstance(entry, list) else entry
    if not isinstance(sides, dict) or not sides.get("positive") or set(sides) - {"positive", "negative"}:
        raise UserError(f"{path}: {name!r} needs 'positive: [texts]' and may have 'negative: [texts]'.")
    sides = {side: texts or [] for side, texts in sides.items()}
    for texts in sides.values():
        if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
            raise UserError(f"{path}: {name!r} needs a list of texts on each side, such as [There is edema.].")
    return Prompts(tuple(sides["positive"]), tuple(sides.get("negative", ())))


def select_prompts(prompts: dict[str, Prompts], observations: Sequence[str]) -> dict[str, Prompts]:
    """Returns the prompts of `observations`, in that order; those without any are left out."""
    return {name: prompts[name] for name in observations if name in prompts}
