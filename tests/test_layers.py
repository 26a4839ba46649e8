"""The import rules of the architecture: every room imports from itself and from below."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = sorted(path for package in ("medclip", "labelers") for path in (ROOT / package).rglob("*.py"))
#: The rooms from the bottom to the top; those of one line do not import each other, except what is said below.
LAYERS = (
    ("labelers", "medclip/utils", "medclip/encoded"),
    ("medclip/data",),
    ("medclip/sources", "medclip/models", "medclip/objectives"),
    ("medclip/training", "medclip/inference"),
    ("medclip/evaluation",),
    ("medclip/runs",),
    ("medclip/serve",),
    ("medclip/cli",),
    ("medclip/__main__",),
)
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
#: `labelers` is a package of its own; what it holds is for all of `medclip`.
LEVEL["labelers"] = -1
#: The doors of each heavy dependency.
DOORS = {
    "pydicom": ("medclip/data/dicom.py", "medclip/data/images.py", "medclip/inference/dicom_objects.py"),
    "albumentations": ("medclip/data/transforms.py",),
    "lightning": ("medclip/training/", "medclip/runs/train.py", "medclip/runs/pretrain.py"),
    "transformers": (
        "medclip/models/",
        "medclip/utils/logs.py",
        "medclip/evaluation/report.py",
        "labelers/chexbert.py",
    ),
    "timm": ("medclip/models/timm_backbone.py",),
    "lightly": ("medclip/training/methods/",),
    "litdata": ("medclip/data/cache_formats.py",),
    "jsonargparse": ("medclip/cli/config.py",),
    "dicomweb_client": ("medclip/data/dicomweb.py",),
    "requests": ("medclip/data/dicomweb.py",),
    "fastapi": ("medclip/serve/",),
    "starlette": ("medclip/serve/",),
    "uvicorn": ("medclip/serve/server.py",),
    "sklearn": ("medclip/evaluation/", "medclip/data/samplers.py", "medclip/inference/calibration.py"),
}
#: Labelling and preparing must never wait for torch.
TORCHLESS = ("labelers/", "medclip/utils/", "medclip/sources/", "medclip/runs/settings/", "medclip/runs/prepare.py",
             "medclip/inference/scoring.py", "medclip/inference/calibration.py", "medclip/inference/onnx_classifier.py",
             "medclip/inference/prompts.py", "medclip/inference/load.py", "medclip/cli/config.py",
             "medclip/data/")  # fmt: skip
WITH_TORCH = ("labelers/chexbert.py", "medclip/data/loader.py", "medclip/data/gpu_transforms.py",
              "medclip/data/views.py")  # fmt: skip


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def room(name: str) -> str:
    """Returns the room of a file or of a dotted module."""
    parts = name.removesuffix(".py").replace(".", "/").split("/")
    return "labelers" if parts[0] == "labelers" else "/".join(parts[:2])


def imported(path: Path, *, at_once: bool = False) -> Iterator[str]:
    """Yields the modules that a file imports; with `at_once`, when it is imported itself."""
    tree = ast.parse(path.read_text())
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_point_down() -> None:
    offenders = []
    for path in FILES:
        own = room(name_of(path))
        if own == "medclip/__init__":
            continue
        assert own in LEVEL, f"{own} needs a place in LAYERS"
        for name in imported(path):
            other = room(name)
            if other in LEVEL and other != own and not LEVEL[other] < LEVEL[own]:
                offenders.append(f"{name_of(path)} imports {name}")
    assert not offenders


def test_heavy_dependencies_have_few_doors() -> None:
    offenders = [
        f"{name_of(path)} imports {name}"
        for path in FILES
        for name in imported(path)
        if not name_of(path).startswith(DOORS.get(name.split(".")[0], ("",)))
    ]
    assert not offenders


def test_labelling_and_preparing_do_not_import_torch() -> None:
    offenders = [
        name_of(path)
        for path in FILES
        if name_of(path).startswith(TORCHLESS) and name_of(path) not in WITH_TORCH
        for name in imported(path, at_once=True)
        if name.split(".")[0] == "torch"
    ]
    assert not offenders


def test_only_commands_print() -> None:
    offenders = [
        name_of(path)
        for path in FILES
        if room(name_of(path)) != "medclip/cli"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not offenders


def test_no_command_imports_another() -> None:
    shared = {"medclip.cli.config", "medclip.cli.console", "medclip.cli.completion"}
    offenders = [
        f"{name_of(path)} imports {name}"
        for path in FILES
        if room(name_of(path)) == "medclip/cli"
        for name in imported(path)
        if name.startswith("medclip.cli.") and name.rpartition(".")[0] not in shared
    ]
    assert not offenders


def test_both_packages_come_from_one_tree() -> None:
    import labelers
    import medclip

    assert Path(labelers.__file__).parent.parent == Path(medclip.__file__).parent.parent
