"""CheXbert (Smit et al. 2020) as a labeler: BERT, and a linear head for each observation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, BertConfig, BertModel

from labelers.errors import UserError
from labelers.hub import on_disk
from labelers.observations import CHEXPERT14, NO_FINDING

#: Order of the heads in the published checkpoint; No Finding is the last and has two classes only.
HEADS = (*(name for name in CHEXPERT14 if name != NO_FINDING), NO_FINDING)
#: Classes of a head: blank, positive, negative, uncertain.
_STATES = np.array([np.nan, 1.0, 0.0, -1.0], dtype=np.float32)
_MAX_TOKENS = 512


class Chexbert(nn.Module):
    """The network: the class token of BERT, through 13 heads of four classes and one of two."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.bert = BertModel(config)
        self.linear_heads = nn.ModuleList(nn.Linear(config.hidden_size, 2 if n == NO_FINDING else 4) for n in HEADS)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> list[Tensor]:
        """Returns the logits of each head, (N, 4) or (N, 2), for token ids (N, L)."""
        token = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state[:, 0]
        return [head(token) for head in self.linear_heads]


class ChexbertLabeler:
    """Labels reports with CheXbert's published checkpoint.

    Args:
        checkpoint: `chexbert.pth`, or a folder that holds it. It is read as weights only: no code in it is run.
        tokenizer: A folder or hub id; by default the checkpoint's folder if a vocab.txt lies there, else
            bert-base-uncased.
        batch_size: Reports at a time; similar lengths go together.
        device: "auto", "cpu", "cuda", ...
    """

    name = "chexbert"
    language = "english"

    def __init__(
        self, checkpoint: str, *, tokenizer: str | None = None, batch_size: int = 32, device: str = "auto"
    ) -> None:
        path = _find(checkpoint)
        beside = (path.parent / "vocab.txt").is_file()
        self._tokenizer = _tokenizer(tokenizer or (str(path.parent) if beside else "bert-base-uncased"))
        self._device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self._network = load_chexbert(path).to(self._device).eval()
        self._batch_size = batch_size

    @property
    def observations(self) -> tuple[str, ...]:
        """The columns of the result: CheXpert's order, not that of the heads."""
        return CHEXPERT14

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Returns states (N, O), float32, for N reports; each should be the impression, as CheXbert was trained."""
        if not len(texts):
            return np.empty((0, len(CHEXPERT14)), dtype=np.float32)
        encoded = self._tokenizer([" ".join(text.split()) for text in texts], truncation=True, max_length=_MAX_TOKENS)
        ids = encoded["input_ids"]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        classes = np.empty((len(ids), len(HEADS)), dtype=np.int64)
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            classes[rows] = self._classify([ids[i] for i in rows])
        return _STATES[classes][:, [HEADS.index(name) for name in CHEXPERT14]]

    def _classify(self, ids: list[list[int]]) -> np.ndarray:
        longest = max(map(len, ids))
        tokens = torch.full((len(ids), longest), self._tokenizer.pad_token_id)
        mask = torch.zeros_like(tokens)
        for i, row in enumerate(ids):
            tokens[i, : len(row)], mask[i, : len(row)] = torch.tensor(row), 1
        with torch.inference_mode():
            logits = self._network(tokens.to(self._device), mask.to(self._device))
        return torch.stack([head.argmax(dim=1) for head in logits], dim=1).cpu().numpy()


def load_chexbert(path: Path) -> Chexbert:
    """Returns the network of a checkpoint file, its size read off the weights.

    Raises:
        UserError: The file holds something else than CheXbert's weights.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for broken and for unsafe files
        raise UserError(
            f"{path} cannot be read as weights ({type(error).__name__}). Is it chexbert.pth, whole?"
        ) from error
    state = saved.get("model_state_dict", saved) if isinstance(saved, Mapping) else {}
    weights = {str(name).removeprefix("module."): value for name, value in state.items()}
    if "linear_heads.13.weight" not in weights or "bert.embeddings.word_embeddings.weight" not in weights:
        raise UserError(
            f"{path} holds no CheXbert: it has {len(weights)} entries and lacks linear_heads.13.weight or embeddings."
        )
    network = Chexbert(_config(weights))
    ignored = {name for name in weights if name.endswith("position_ids")}
    result = network.load_state_dict({n: v for n, v in weights.items() if n not in ignored}, strict=False)
    if result.missing_keys or result.unexpected_keys:
        raise UserError(f"{path}: missing {result.missing_keys[:3]}, unexpected {result.unexpected_keys[:3]}.")
    return network


def _config(weights: Mapping[str, Tensor]) -> BertConfig:
    words, hidden = weights["bert.embeddings.word_embeddings.weight"].shape
    layers = {int(name.split(".")[3]) for name in weights if name.startswith("bert.encoder.layer.")}
    return BertConfig(
        vocab_size=words,
        hidden_size=hidden,
        num_hidden_layers=len(layers),
        num_attention_heads=max(1, hidden // 64),
        intermediate_size=weights["bert.encoder.layer.0.intermediate.dense.weight"].shape[0],
        max_position_embeddings=weights["bert.embeddings.position_embeddings.weight"].shape[0],
    )


def _find(checkpoint: str) -> Path:
    path = Path(checkpoint)
    path = path / "chexbert.pth" if path.is_dir() else path
    if not checkpoint or not path.is_file():
        raise FileNotFoundError(
            f"CheXbert's checkpoint was not found at {str(path)!r}. Obtain chexbert.pth from the authors "
            "(https://github.com/stanfordmlgroup/CheXbert) and name it: --labeler chexbert --checkpoint chexbert.pth"
        )
    return path


def _tokenizer(name: str) -> Any:
    try:
        return AutoTokenizer.from_pretrained(on_disk(name))
    except (OSError, ValueError) as error:
        raise OSError(
            f"The tokenizer {name!r} is neither in a folder here nor to be had from the hub. Put the vocab.txt of "
            "bert-base-uncased beside the checkpoint."
        ) from error
