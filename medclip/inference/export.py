"""A model as ONNX files: both towers, the prompts already encoded, and what is needed to prepare images and texts."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from medclip.inference.calibration import Calibration
from medclip.inference.classifier import ZeroShotClassifier
from medclip.inference.onnx_classifier import MANIFEST, PROMPTS, TEXT, VISION
from medclip.utils.extras import install
from medclip.utils.io import write_atomically

if TYPE_CHECKING:
    from medclip.models import MedCLIPModel, MedCLIPProcessor

logger = logging.getLogger(__name__)


class _Images(nn.Module):
    """The image tower, as the exporter wants it: a module whose arguments have names."""

    def __init__(self, model: MedCLIPModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Returns embeddings (I, D)."""
        return self.model.get_image_features(pixel_values)


class _Texts(nn.Module):
    """The text tower, likewise."""

    def __init__(self, model: MedCLIPModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Returns embeddings (T, D)."""
        return self.model.get_text_features(input_ids, attention_mask)


def export(
    model: MedCLIPModel,
    processor: MedCLIPProcessor,
    folder: str | Path,
    *,
    prompts: str = "chexpert14",
    int8: bool = False,
    calibration: Calibration | None = None,
) -> None:
    """Writes vision.onnx, text.onnx, the prompts' embeddings and the processor into `folder`.

    The prompts' ensemble is that of the calibration, which is written too, if there is one.

    Batches are of any size, texts of any length. With `int8`, the matrix products of transformers are stored and done
    in eight bits, for CPUs; `benchmarks/zero_shot_speed.py` says what that gains and costs.

    Raises:
        ImportError: Onnx and onnxscript are not installed; the message says how.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"Exporting needs the extra packages: {install('onnx')} ({error})") from error
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = model.float().cpu().eval()
    processor.save_pretrained(folder)
    pixels = torch.zeros(2, 1, processor.image_size, processor.image_size)
    _write(_Images(model).eval(), {"pixel_values": pixels}, {0: "images"}, folder / VISION)
    tokens = processor.texts(["No pleural effusion.", "The heart is enlarged."])
    _write(_Texts(model).eval(), tokens, {0: "texts", 1: "tokens"}, folder / TEXT)
    if int8:
        for name in (VISION, TEXT):
            _to_eight_bits(folder / name)
    classifier = ZeroShotClassifier(model, processor, prompts, calibration=calibration)
    if calibration is not None:
        calibration.save(folder)
    sides = {"positive": classifier.positive, "negative": classifier.negative}
    arrays = {f"{name}_vectors": side.vectors for name, side in sides.items()}
    arrays |= {f"{name}_counts": side.counts for name, side in sides.items()}
    write_atomically(folder / PROMPTS, lambda path: _save_npz(path, **arrays))
    manifest = {"observations": classifier.observations, "prompts": prompts, "ensemble": classifier.ensemble,
                "scale": classifier.scale, "int8": int8, "pad_token_id": processor.tokenizer.pad_token_id}  # fmt: skip
    text = json.dumps(manifest, indent=2)
    write_atomically(folder / MANIFEST, lambda path: path.write_text(text))


def _write(module: nn.Module, inputs: dict[str, Tensor], axes: dict[int, str], path: Path) -> None:
    """Exports a module; along `axes` its inputs can be of any size."""
    given: tuple[Tensor, ...] = tuple(inputs.values())
    names: dict[str, Any] = {"input_names": list(inputs), "output_names": ["embeds"]}
    dynamic = {name: dict.fromkeys(axes, torch.export.Dim.DYNAMIC) for name in inputs}  # type: ignore[attr-defined]
    try:
        program: Any = torch.onnx.export(
            module, given, None, **names, dynamo=True, verbose=False, dynamic_shapes=dynamic
        )
        program.save(str(path), external_data=False)
    except torch.onnx.OnnxExporterError:
        # Before torch 2.9 or so the newer exporter does not know every layer; the older one does.
        logger.info("Writing %s with torch's older exporter", path.name)
        every = {name: dict(axes) for name in inputs} | {"embeds": {0: axes[0]}}
        torch.onnx.export(module, given, str(path), **names, dynamo=False, dynamic_axes=every, opset_version=17)


def _to_eight_bits(path: Path) -> None:
    """Quantises the matrix products of a file; convolutions, which onnxruntime only slows down so, stay as they are."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(str(path))
    del model.graph.value_info[:]  # the exporter's notes of shapes stand in the way of inferring them again
    onnx.save(model, str(path))
    quantize_dynamic(path, path, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QUInt8)


def _save_npz(path: Path, **arrays: np.ndarray) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
