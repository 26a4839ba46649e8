from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import AutoTokenizer

from labelers.chexbert import HEADS, ChexbertLabeler, load_chexbert
from labelers.observations import CHEXPERT14
from tests.fixtures.chexbert import write_chexbert

TEXTS = ["No effusion.", "The heart is enlarged.\n  No effusion .", "", "Heart " * 600]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_chexbert(tmp_path_factory.mktemp("chexbert"))


def attention(hidden: torch.Tensor, w: dict[str, torch.Tensor], p: str) -> torch.Tensor:
    q, k, v = (functional.linear(hidden, w[f"{p}.attention.self.{n}.weight"], w[f"{p}.attention.self.{n}.bias"])
               for n in ("query", "key", "value"))  # fmt: skip
    mixed = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1) @ v
    return functional.linear(mixed, w[f"{p}.attention.output.dense.weight"], w[f"{p}.attention.output.dense.bias"])


def plain_forward(w: dict[str, torch.Tensor], ids: list[int]) -> list[int]:
    """CheXbert's forward pass written out with matrices, one report without padding; returns the class of each head."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-12)

    e = "bert.embeddings"
    x = w[f"{e}.word_embeddings.weight"][ids] + w[f"{e}.position_embeddings.weight"][: len(ids)]
    x = norm(x + w[f"{e}.token_type_embeddings.weight"][0], f"{e}.LayerNorm")
    for layer in range(2):
        p = f"bert.encoder.layer.{layer}"
        x = norm(x + attention(x, w, p), f"{p}.attention.output.LayerNorm")
        inner = functional.gelu(
            functional.linear(x, w[f"{p}.intermediate.dense.weight"], w[f"{p}.intermediate.dense.bias"])
        )
        x = norm(
            x + functional.linear(inner, w[f"{p}.output.dense.weight"], w[f"{p}.output.dense.bias"]),
            f"{p}.output.LayerNorm",
        )
    heads = [functional.linear(x[0], w[f"linear_heads.{i}.weight"], w[f"linear_heads.{i}.bias"]) for i in range(14)]
    return [int(head.argmax()) for head in heads]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_it_says_what_a_plain_forward_pass_says(folder, batch_size: int) -> None:
    labeler = ChexbertLabeler(str(folder), batch_size=batch_size, device="cpu")
    weights = {n.removeprefix("module."): v for n, v in torch.load(folder / "chexbert.pth")["model_state_dict"].items()}
    found, tokenizer = labeler(TEXTS), AutoTokenizer.from_pretrained(str(folder))
    values = (float("nan"), 1.0, 0.0, -1.0)
    for text, row in zip(TEXTS, found, strict=True):
        ids = tokenizer(" ".join(text.split()), truncation=True, max_length=512)["input_ids"]
        assert len(ids) <= 512
        states = dict(zip(HEADS, (values[c] for c in plain_forward(weights, ids)), strict=True))
        np.testing.assert_array_equal(row, [states[name] for name in CHEXPERT14])


def test_no_texts(folder) -> None:
    assert ChexbertLabeler(str(folder), device="cpu")([]).shape == (0, 14)


def test_a_missing_checkpoint_says_where_it_comes_from(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="stanfordmlgroup/CheXbert"):
        ChexbertLabeler(str(tmp_path))


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model_state_dict": {"module.x": torch.ones(1)}}, "holds no CheXbert"),
        (nn.Linear(2, 2).state_dict(), "holds no CheXbert"),
        ({"model_state_dict": Evil()}, "cannot be read as weights"),
    ],
)
def test_other_files_are_refused_and_never_run(tmp_path, capsys, content: object, message: str) -> None:
    torch.save(content, tmp_path / "chexbert.pth")
    with pytest.raises(ValueError, match=message):
        load_chexbert(tmp_path / "chexbert.pth")
    assert "executed" not in capsys.readouterr().out


def test_a_truncated_file_is_refused(folder, tmp_path) -> None:
    (tmp_path / "chexbert.pth").write_bytes((folder / "chexbert.pth").read_bytes()[:2000])
    with pytest.raises(ValueError, match="cannot be read as weights"):
        load_chexbert(tmp_path / "chexbert.pth")
