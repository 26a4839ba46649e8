"""MedCLIP: a shared space of chest X-rays and report sentences, learned without pairs.

What is named here is what notebooks and programs need; it is imported when it is first used, so that
`import medclip` is light. Settings classes are those of the commands: `medclip.TrainConfig(images="phantom")`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from medclip.inference.classifier import ZeroShotClassifier
    from medclip.inference.index import Index
    from medclip.inference.load import load_model
    from medclip.inference.onnx_classifier import OnnxClassifier
    from medclip.inference.prompts import load_prompts
    from medclip.models import MedCLIPConfig, MedCLIPModel, MedCLIPProcessor
    from medclip.runs.classify import load
    from medclip.runs.evaluate import evaluate
    from medclip.runs.prepare import prepare
    from medclip.runs.pretrain import pretrain
    from medclip.runs.settings import EvaluateConfig, PrepareConfig, PretrainConfig, TrainConfig
    from medclip.runs.train import train

__all__ = [
    "EvaluateConfig",
    "Index",
    "MedCLIPConfig",
    "MedCLIPModel",
    "MedCLIPProcessor",
    "OnnxClassifier",
    "PrepareConfig",
    "PretrainConfig",
    "TrainConfig",
    "ZeroShotClassifier",
    "__version__",
    "evaluate",
    "load",
    "load_model",
    "load_prompts",
    "prepare",
    "pretrain",
    "train",
]

_HOMES = {
    "ZeroShotClassifier": "inference.classifier", "OnnxClassifier": "inference.onnx_classifier",
    "Index": "inference.index", "load_model": "inference.load", "load_prompts": "inference.prompts",
    "MedCLIPModel": "models", "MedCLIPProcessor": "models", "MedCLIPConfig": "models",
    "prepare": "runs.prepare", "pretrain": "runs.pretrain", "train": "runs.train", "evaluate": "runs.evaluate",
    "load": "runs.classify", "PrepareConfig": "runs.settings",
    "PretrainConfig": "runs.settings", "TrainConfig": "runs.settings", "EvaluateConfig": "runs.settings",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'medclip' has no attribute {name!r}")
    return getattr(import_module(f"medclip.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
