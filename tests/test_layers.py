"""The import rules of the architecture: every file imports from its own sub-package and from below."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: Layer of each part of `medclip`; a part may import from lower layers and from itself.
LAYERS = {
    **dict.fromkeys(["plugins", "encoded"], 0),
    **dict.fromkeys(
        [
            "tables",
            "targets",
            "metrics",
            "prompts",
            "config",
            "distributed",
            "phantom",
            "streams",
            "pairs",
            "files",
            "selection",
            "settings",
            "gradient_cache",
            "subsets",
            "curve",
            "agreement",
            "page",
            "figures",
            "protocol",
            "watch",
            "engines",
        ],
        1,
    ),
    **dict.fromkeys(["sources", "images", "cache", "transforms", "device_transforms", "reports", "scoring"], 2),
    **dict.fromkeys(
        [
            "models",
            "objectives",
            "sampling",
            "sides",
            "prepare",
            "encode",
            "index",
            "heatmap",
            "boxes",
            "supervision",
            "classifier",
            "onnx_classifier",
            "export",
        ],
        3,
    ),
    **dict.fromkeys(["training", "trainer", "callbacks", "checkpoints", "evaluation"], 4),
    **dict.fromkeys(["cli"], 5),
}
#: Same layer, and still in order: a cache holds what an image reader gives, an encoder needs a model.
NEIGHBOURS = {
    ("cache", "images"),
    ("reports", "cache"),
    ("sampling", "sides"),
    ("selection", "tables"),
    ("encode", "models"),
    ("classifier", "encode"),
    ("classifier", "models"),
    ("export", "classifier"),
    ("export", "models"),
    ("export", "onnx_classifier"),
    ("onnx_classifier", "encode"),
    ("scoring", "cache"),
    ("models", "config"),
    ("boxes", "prepare"),
    ("device_transforms", "transforms"),
    ("supervision", "models"),
    ("protocol", "settings"),
    ("trainer", "callbacks"),
    ("trainer", "checkpoints"),
    ("trainer", "training"),
    ("callbacks", "checkpoints"),
}
#: The one door of each heavy dependency.
DOORS = {
    "pydicom": {"medclip/data/dicom.py"},
    "albumentations": {"medclip/data/transforms.py"},
    "lightning": {f"medclip/{name}.py" for name in ("training", "trainer", "callbacks", "checkpoints", "cli/train")},
    "transformers": {"medclip/models", "medclip/cli", "labelers/chexbert.py"},
    "jsonargparse": {"medclip/config.py"},
    "sklearn": {
        "medclip/evaluation/metrics.py",
        "medclip/evaluation/figures.py",
        "medclip/evaluation",
        "medclip/evaluation/report.py",
    },
}
#: Labelling and preparing must never wait for torch.
TORCHLESS = ["labelers", "medclip/data/tables.py", "medclip/sources", "medclip/data/images.py", "medclip/data/cache.py",
             "medclip/data/csv_files.py", "medclip/data/dicom.py", "medclip/data/grey.py", "medclip/data/image_files.py",
             "medclip/data/splits.py", "medclip/settings.py", "medclip/data/test_sets.py",
             "medclip/inference/scoring.py",
             "medclip/inference/onnx_classifier.py", "medclip/utils/parallel.py",
             "medclip/data/prepare.py", "medclip/sources/phantom", "medclip/utils/plugins.py", "medclip/config.py"]  # fmt: skip
FILES = sorted(path for package in ("medclip", "labelers") for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


def part(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    names = imported(path)
    relative = path.relative_to(ROOT)
    if relative.parts[0] == "labelers":
        assert not {name for name in names if name.split(".")[0] == "medclip"}
        return
    own = relative.parts[1].removesuffix(".py")
    if own == "__init__":
        return
    assert own in LAYERS, f"{relative}: give {own} a layer here"
    for name in names:
        if name.split(".")[0] == "medclip" and (other := part(name)) in LAYERS and other != own:
            below = LAYERS[other] < LAYERS[own] or (own, other) in NEIGHBOURS
            assert below, f"{relative} (layer {LAYERS[own]}) imports {name} (layer {LAYERS[other]})"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_dependencies_have_one_door(path: Path) -> None:
    relative = str(path.relative_to(ROOT))
    for name in {name.split(".")[0] for name in imported(path)} & set(DOORS):
        assert any(relative.startswith(door) for door in DOORS[name]), f"{relative} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_labelling_and_preparing_do_not_import_torch(path: Path) -> None:
    relative = str(path.relative_to(ROOT))
    if any(relative.startswith(name) for name in TORCHLESS) and relative != "labelers/chexbert.py":
        assert "torch" not in {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_commands_print(path: Path) -> None:
    if "cli" in path.parts:
        return
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)


def test_both_packages_come_from_one_tree() -> None:
    import labelers
    import medclip

    assert Path(labelers.__file__).parent.parent == Path(medclip.__file__).parent.parent
