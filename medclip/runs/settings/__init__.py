"""Settings of every run, one class each."""

from medclip.runs.settings.audit import AuditConfig
from medclip.runs.settings.benchmark import BenchmarkConfig
from medclip.runs.settings.curve import CurveConfig
from medclip.runs.settings.data import LabelConfig, LabelSettings, PrepareConfig
from medclip.runs.settings.evaluate import EvaluateConfig
from medclip.runs.settings.models import ClassifyConfig, ConvertConfig, DetectConfig, ExportConfig, SearchConfig
from medclip.runs.settings.pretrain import PretrainConfig
from medclip.runs.settings.serve import ServeConfig
from medclip.runs.settings.train import TrainConfig

__all__ = [
    "AuditConfig",
    "BenchmarkConfig",
    "ClassifyConfig",
    "ConvertConfig",
    "CurveConfig",
    "DetectConfig",
    "EvaluateConfig",
    "ExportConfig",
    "LabelConfig",
    "LabelSettings",
    "PrepareConfig",
    "PretrainConfig",
    "SearchConfig",
    "ServeConfig",
    "TrainConfig",
]
