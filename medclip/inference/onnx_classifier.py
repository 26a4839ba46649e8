"""Zero-shot classification from an exported model, without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from medclip.data.preprocessing import Preprocessing
from medclip.inference.calibration import Calibration
from medclip.inference.prompts import Prompts, load_prompts
from medclip.inference.scoring import Directions, PromptScores
from medclip.utils.extras import install

VISION, TEXT, PROMPTS, MANIFEST = "vision.onnx", "text.onnx", "prompts.npz", "medclip_export.json"


class OnnxClassifier(PromptScores):
    """`ZeroShotClassifier` for the files that `medclip.inference.export` wrote; the same answers, through onnxruntime.

    Args:
        folder: Folder of the export.
        prompts: Other prompts than those exported with it: a set by name, a YAML file, or prompts by observation.
        threads: Number of threads of onnxruntime; 0 for its own choice.

    Raises:
        FileNotFoundError: `folder` holds no export.
        ImportError: Onnxruntime is not installed; the message says how.

    Examples:
        >>> import medclip
        >>> import numpy as np
        >>> from medclip.inference.export import export
        >>> export(*medclip.load_model("runs/mine", device="cpu"), "exported")  # or: medclip-export runs/mine
        >>> classifier = medclip.OnnxClassifier("exported")
        >>> classifier([np.zeros((64, 48), dtype=np.uint8)]).shape
        (1, 14)
    """

    def __init__(
        self, folder: str | Path, prompts: str | Path | dict[str, Prompts] | None = None, *, threads: int = 0
    ) -> None:
        self._folder, self._threads = Path(folder), threads
        if not (self._folder / MANIFEST).is_file():
            raise FileNotFoundError(f"{folder} holds no {MANIFEST}. Name the --output of medclip-export.")
        self._manifest = json.loads((self._folder / MANIFEST).read_text())
        self._settings = json.loads((self._folder / "medclip_processor.json").read_text())
        names = (field.name for field in fields(Preprocessing))
        self._preprocessing = Preprocessing(**{name: self._settings[name] for name in names if name in self._settings})
        self._vision = self._session(VISION)
        self.prompt_set = self._manifest["prompts"] if prompts is None else str(prompts)
        calibration = Calibration.load(folder, prompts=self.prompt_set)
        ensemble = calibration.ensemble if calibration else self._manifest["ensemble"]
        if prompts is None or prompts == self._manifest["prompts"]:
            observations = self._manifest["observations"]
            positive, negative = self._saved_prompts()
        else:
            observations, positive, negative = self._encode_prompts(prompts, ensemble)
        super().__init__(
            observations, positive, negative, scale=self._manifest["scale"], ensemble=ensemble,
            calibration=calibration, dicom=self._settings["dicom"],
            cache_size=self._settings["cache_size"],
        )  # fmt: skip

    def embed(self, images: Sequence[np.ndarray | str | Path], *, batch_size: int = 64) -> np.ndarray:
        """See `PromptScores`."""
        parts = [
            self._vision.run(None, {"pixel_values": self._preprocessing.images(images[start : start + batch_size])})[0]
            for start in range(0, len(images), batch_size)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.positive.vectors.shape[1]), dtype=np.float32)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Returns embeddings (T, D) of texts."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        tokenizer.enable_truncation(self._settings["max_length"])
        tokenizer.enable_padding(pad_id=self._manifest["pad_token_id"])
        encoded = tokenizer.encode_batch(list(texts))
        inputs = {
            "input_ids": np.array([row.ids for row in encoded], dtype=np.int64),
            "attention_mask": np.array([row.attention_mask for row in encoded], dtype=np.int64),
        }
        return self._text.run(None, inputs)[0]  # type: ignore[no-any-return]

    @cached_property
    def _text(self) -> Any:
        return self._session(TEXT)

    def _saved_prompts(self) -> tuple[Directions, Directions]:
        with np.load(self._folder / PROMPTS) as saved:
            positive, negative = (
                Directions(saved[f"{side}_vectors"], saved[f"{side}_counts"]) for side in ("positive", "negative")
            )
        return positive, negative

    def _encode_prompts(
        self, prompts: str | Path | dict[str, Prompts], ensemble: str
    ) -> tuple[list[str], Directions, Directions]:
        loaded = prompts if isinstance(prompts, dict) else load_prompts(prompts)
        sides = [[getattr(entry, side) for entry in loaded.values()] for side in ("positive", "negative")]
        texts = list(dict.fromkeys(text for side in sides for entry in side for text in entry))
        # One at a time: what a text is padded to must not matter, whatever the text tower makes of padding.
        embeds = {text: self.embed_texts([text])[0] for text in texts}
        dim = len(next(iter(embeds.values())))
        positive, negative = (Directions.of(side, embeds, dim=dim, ensemble=ensemble) for side in sides)
        return list(loaded), positive, negative

    def _session(self, name: str) -> Any:
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(f"Running an export needs the extra packages: {install('onnx')} ({error})") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        return onnxruntime.InferenceSession(str(self._folder / name), options, providers=["CPUExecutionProvider"])
