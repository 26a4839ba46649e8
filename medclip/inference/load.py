"""Finds a trained model on disk and loads it for inference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from labelers.errors import UserError
from medclip.utils.text import first_line

if TYPE_CHECKING:
    import torch

    from medclip.models import MedCLIPModel, MedCLIPProcessor


def find_model(path: str | Path) -> tuple[Path, dict[str, Any]]:
    """Returns the model folder of a run or model folder, and the settings it was trained with, where they are known.

    Raises:
        UserError: No path was given.
        FileNotFoundError: There is no model at `path`.
    """
    if not str(path):
        raise UserError("Which model? Name the folder of a training run, such as runs/phantom.")
    root = Path(path)
    folder = root / "model" if (root / "model").is_dir() else root
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{path} holds no model: neither config.json nor model/config.json is there. "
            "Name the --output of a finished medclip-train."
        )
    settings = folder.parent / "config.yaml"
    return folder, yaml.safe_load(settings.read_text(encoding="utf-8")) if settings.is_file() else {}


def load_model(path: str | Path, *, device: str = "auto", threads: int = 0) -> tuple[MedCLIPModel, MedCLIPProcessor]:
    """Returns a model in evaluation mode, and its processor.

    Args:
        path: Folder of a training run or of a model.
        device: auto, cpu, cuda, cuda:1 or mps.
        threads: CPU threads of PyTorch, from now on and for the whole process; 0 leaves them as they are.

    Raises:
        FileNotFoundError: There is no model at `path`.
        UserError: There is no such device.

    Examples:
        >>> import medclip
        >>> import numpy as np
        >>> model, processor = medclip.load_model("runs/mine", device="cpu")
        >>> film = np.zeros((64, 48), dtype=np.uint8)
        >>> output = model(**processor(images=[film], text=["There is a pneumothorax.", "No pneumothorax."]))
        >>> tuple(output.logits_per_image.shape)  # (images, texts)
        (1, 2)
    """
    import torch

    from medclip.models import MedCLIPModel, MedCLIPProcessor

    if threads:
        torch.set_num_threads(threads)
    folder, _ = find_model(path)
    model = MedCLIPModel.from_pretrained(str(folder)).to(find_device(device)).eval()
    model.vision.to(memory_format=torch.channels_last)
    return model, MedCLIPProcessor.from_pretrained(folder)


def find_device(name: str) -> torch.device:
    """Returns the device called `name`; for "auto" a GPU where there is one, else the CPU.

    Raises:
        UserError: There is no such device.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name.lower())
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = first_line(error)[:100]
        raise UserError(
            f"--device {name}: not available here ({reason}). Write auto, cpu, cuda, cuda:1 or mps."
        ) from error
    return device
