"""A command-line name is a file name: `nih` is the one class in `medclip/sources/nih.py`.

Nothing is registered by hand. Adding a source, an objective or an evaluator is adding a file.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from typing import Any

from labelers.errors import UserError
from medclip.utils.text import suggest


def plugin_names(package: str) -> list[str]:
    """Returns the names on offer in `package` ("sources", "objectives", "evaluation"), without importing them."""
    root = importlib.util.find_spec(f"medclip.{package}")
    assert root is not None, f"medclip.{package} is not there"
    found = pkgutil.iter_modules(root.submodule_search_locations)
    return sorted(module.name.replace("_", "-") for module in found if not module.name.startswith("_"))


def load_plugin(package: str, name: str) -> type[Any]:
    """Returns the plug-in class called `name` in `package`.

    Raises:
        UserError: There is none of that name; the message lists those there are.
    """
    module_name, names = name.replace("-", "_"), plugin_names(package)
    if name.replace("_", "-") not in names:
        raise UserError(f"There is no {name!r} in {package}.{suggest(name, names)} Known: {', '.join(names)}.")
    base = importlib.import_module(f"medclip.{package}")
    module = importlib.import_module(f"medclip.{package}.{module_name}")
    found = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if member.__module__ == module.__name__ and getattr(member, "is_plugin", False)
    ]
    assert len(found) == 1, f"{module.__name__} must hold exactly one plug-in class of {base.__name__}, found {found}"
    return found[0]


def check_options(kind: str, name: str, target: Any, options: dict[str, Any]) -> None:
    """Checks that `target`'s constructor takes every one of `options`.

    Raises:
        UserError: An option is unknown; the message gives the nearest valid one.
    """
    parameters = [p for p in inspect.signature(target).parameters if p not in ("self", "root", "start")]
    for option in options:
        if option not in parameters:
            raise UserError(
                f"{kind} {name!r} has no option {option!r}.{suggest(option, parameters)} "
                f"It takes: {', '.join(parameters) or 'none'}."
            )
