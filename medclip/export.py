"""A model as ONNX files: both towers, the prompts already encoded, and what is needed to prepare images and texts."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from medclip.cache import write_atomically
from medclip.classifier import ZeroShotClassifier
from medclip.onnx_classifier import MANIFEST, PROMPTS, TEXT, VISION

if TYPE_CHECKING:
    from medclip.models import MedCLIPModel, MedCLIPProcessor

logger = logging.getLogger(__name__)


class _Function(nn.Module):
    """A function of a model as a module, which is what the exporter takes."""

    def __init__(self, model: nn.Module, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *inputs: Tensor) -> Tensor:
        """Returns the function's value."""
        return self.function(*inputs)


def export(
    model: MedCLIPModel,
    processor: MedCLIPProcessor,
    folder: Path,
    *,
    prompts: str = "chexpert14",
    int8: bool = False,
) -> None:
    """Writes vision.onnx, text.onnx, the prompts' embeddings and the processor into `folder`.

    Batches are of any size, texts of any length. With `int8`, the matrix products of transformers are stored and done
    in eight bits, for CPUs; `benchmarks/zero_shot_speed.py` says what that gains and costs.

    Raises:
        ImportError: onnx and onnxscript are not installed; the message says how.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"Exporting needs the extra packages: pip install 'medclip[onnx]' ({error})") from error
    folder.mkdir(parents=True, exist_ok=True)
    model = model.float().cpu().eval()
    processor.save_pretrained(folder)
    pixels = torch.zeros(2, 1, processor.image_size, processor.image_size)
    _write(_Function(model, model.get_image_features), (pixels,), {"pixel_values": {0: "images"}}, folder / VISION)
    tokens = processor.texts(["No pleural effusion.", "The heart is enlarged."])
    shape = {0: "texts", 1: "tokens"}
    _write(_Function(model, model.get_text_features), (tokens["input_ids"], tokens["attention_mask"]),
           {"input_ids": shape, "attention_mask": shape}, folder / TEXT)  # fmt: skip
    if int8:
        for name in (VISION, TEXT):
            _to_eight_bits(folder / name)
    classifier = ZeroShotClassifier(model, processor, prompts)
    write_atomically(
        folder / PROMPTS, lambda path: _save_npz(path, positive=classifier.positive, negative=classifier.negative)
    )
    manifest = {"observations": classifier.observations, "prompts": prompts, "scale": classifier.scale, "int8": int8,
                "pad_token_id": processor.tokenizer.pad_token_id}  # fmt: skip
    text = json.dumps(manifest, indent=2)
    write_atomically(folder / MANIFEST, lambda path: path.write_text(text))


def _write(module: nn.Module, inputs: tuple[Tensor, ...], dynamic: dict[str, dict[int, str]], path: Path) -> None:
    program: Any = torch.onnx.export(
        module, inputs, None, input_names=list(dynamic), output_names=["embeds"], dynamo=True, verbose=False,
        dynamic_shapes={"inputs": tuple(dict.fromkeys(axes, torch.export.Dim.DYNAMIC) for axes in dynamic.values())},
    )  # fmt: skip
    program.save(str(path), external_data=False)


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
