"""What the tests and the benchmarks may know of the packages and of each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = [path for package in ("medclip", "labelers") for path in sorted((ROOT / package).rglob("*.py"))]
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def defined_in(tree: ast.AST) -> Iterator[str]:
    """Yields the names that a module defines: functions, classes, variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def used_in(tree: ast.AST) -> Iterator[str]:
    """Yields the names that a module takes from elsewhere: imported, attributes of others, or patched by a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("medclip."):
            yield node.value.rpartition(".")[2]


def test_tests_use_no_private_names_of_the_packages() -> None:
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGES)
    private = {name for tree in trees for name in defined_in(tree) if is_private(name) and name != "_"}
    offenders = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in TESTS
        for name in sorted(set(used_in(ast.parse(path.read_text(encoding="utf-8")))) & private)
    ]
    assert offenders == []


def test_benchmarks_do_not_import_tests() -> None:
    offenders = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "benchmarks").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tests")
        or (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "tests" for alias in node.names))
    ]
    assert offenders == []
