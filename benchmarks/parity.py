"""How far our numbers are from those that the official MedCLIP, GLoRIA, ConVIRT, open_clip and x-clip code produced.

    python benchmarks/parity.py [FOLDER]

Prints the largest absolute difference of each quantity, values and gradients, over all fixtures of FOLDER.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medclip.encoded import Encoded
from medclip.objectives.clip import Clip
from medclip.objectives.convirt import Convirt
from medclip.objectives.filip import tokenwise_similarity
from medclip.objectives.gloria import Gloria, local_similarity, word_attention
from medclip.objectives.semantic_matching import SemanticMatching
from medclip.objectives.siglip import Siglip

FOLDER = Path(__file__).parent.parent / "tests" / "fixtures" / "parity"
Difference = tuple[str, float]


def report(differences: Callable[[Path], Iterable[Difference]]) -> None:
    """Prints the largest of the differences of each name, over the folder that the command line names."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    worst: dict[str, float] = {}
    for name, difference in differences(folder):
        worst[name] = max(worst.get(name, 0.0), difference)
    for name, difference in worst.items():
        print(f"{name:55} {difference:.1e}")


def differences(folder: Path) -> Iterator[Difference]:
    """Yields (quantity, largest absolute difference) for every fixture in `folder`."""
    for pattern, compare in COMPARISONS.items():
        for path in sorted(folder.glob(pattern)):
            with np.load(path) as arrays:
                yield from compare({name: arrays[name] for name in arrays.files})


def off(name: str, ours: Any, theirs: np.ndarray) -> Difference:
    found = ours.detach().numpy() if isinstance(ours, Tensor) else np.asarray(ours)
    assert found.shape == theirs.shape, (name, found.shape, theirs.shape)
    return name, float(np.abs(found - theirs).max())


def leaf(array: np.ndarray) -> Tensor:
    return torch.tensor(array).requires_grad_()


def unit(tensor: Tensor) -> Tensor:
    return functional.normalize(tensor, dim=-1)


def prefixes(arrays: dict[str, np.ndarray]) -> list[str]:
    return sorted({name.split("_")[0] for name in arrays if re.match(r"b\d", name)})


def semantic_matching(z: dict[str, np.ndarray]) -> Iterator[Difference]:
    objective = SemanticMatching(similarity="dot")
    for b in prefixes(z):
        logits = leaf(z[f"{b}_logits"])
        images = Encoded(logits, labels=torch.tensor(z[f"{b}_img_labels"]))
        texts = Encoded(torch.eye(logits.shape[1]), labels=torch.tensor(z[f"{b}_text_labels"]))
        loss = objective(images, texts, torch.tensor(1.0))["loss"]
        loss.backward()
        yield off("MedCLIP soft loss", loss, z[f"{b}_loss"])
        yield off("MedCLIP soft loss, gradient of logits", logits.grad, z[f"{b}_grad_logits"])


def gloria_global(z: dict[str, np.ndarray]) -> Iterator[Difference]:
    codes = leaf(z["cnn_code"]), leaf(z["rnn_code"])
    count = len(z["cnn_code"])
    local, mask = torch.ones(count, 1, 2), torch.ones(count, 1, dtype=torch.bool)
    sides = [Encoded(unit(code), local=local, mask=mask) for code in codes]
    loss = Gloria(local_weight=0.0)(*sides, torch.tensor(1.0))["loss"]
    loss.backward()
    yield off("GLoRIA global loss", loss, z["loss0"] + z["loss1"])
    for code, side in zip(codes, ("cnn", "rnn"), strict=True):
        yield off("GLoRIA global loss, gradients", code.grad, z[f"grad_{side}"])


def gloria_local(z: dict[str, np.ndarray]) -> Iterator[Difference]:
    maps, words = leaf(z["img_features"]), leaf(z["words_emb"])
    regions, tokens = maps.flatten(2).transpose(1, 2), words.transpose(1, 2)
    counts = torch.tensor(z["cap_lens"])
    mask = torch.arange(tokens.shape[1]) < counts[:, None]
    similarity = local_similarity(regions, tokens, mask)
    yield off("GLoRIA local similarity x 10", 10 * similarity, z["similarities_x_temp3"].reshape(similarity.shape))
    embeds = torch.ones(len(maps), 1)
    objective = Gloria(global_weight=0.0)
    loss = objective(Encoded(embeds, local=regions), Encoded(embeds, local=tokens, mask=mask), torch.tensor(1.0))[
        "loss"
    ]
    yield off("GLoRIA local loss", loss, z["loss0"] + z["loss1"])
    loss.backward()
    yield off("GLoRIA local loss, gradient of words", words.grad, z["grad_words"])
    if "grad_img" in z:
        yield off("GLoRIA local loss, gradient of regions", maps.grad, z["grad_img"])
    attention = word_attention(regions, tokens, mask)
    for k in range(len(maps)):
        if f"att_map_{k}" in z:
            theirs = z[f"att_map_{k}"][0]
            yield off("GLoRIA attention maps", attention[k, : len(theirs)].reshape(theirs.shape), theirs)


def convirt(z: dict[str, np.ndarray]) -> Iterator[Difference]:
    objective = Convirt(temperature=float(z["temperature"]), image_weight=float(z["weight_img_to_txt"]))
    for b in prefixes(z):
        images, texts = leaf(z[f"{b}_img"]), leaf(z[f"{b}_txt"])
        loss = objective(Encoded(unit(images)), Encoded(unit(texts)), torch.tensor(1.0))["loss"]
        loss.backward()
        yield off("ConVIRT loss", loss, z[f"{b}_loss"])
        yield off("ConVIRT loss, gradients", images.grad, z[f"{b}_grad_img"])
        yield off("ConVIRT loss, gradients", texts.grad, z[f"{b}_grad_txt"])


def open_clip(z: dict[str, np.ndarray]) -> Iterator[Difference]:
    for b in prefixes(z):
        for kind, name in (("clip", "CLIP"), ("siglip", "SigLIP")):
            objective = Clip() if kind == "clip" else Siglip(bias=float(z[f"{b}_siglip_bias"]))
            images, texts, scale = leaf(z[f"{b}_img"]), leaf(z[f"{b}_txt"]), leaf(z[f"{b}_{kind}_scale"])
            loss = objective(Encoded(images), Encoded(texts), scale)["loss"]
            loss.backward()
            yield off(f"{name} loss", loss, z[f"{b}_{kind}_loss"])
            for tensor, side in ((images, "img"), (texts, "txt"), (scale, "scale")):
                yield off(f"{name} loss, gradients", tensor.grad, z[f"{b}_{kind}_grad_{side}"])


def filip(z: dict[str, np.ndarray]) -> Iterator[Difference]:
    """x-clip compares images with texts over the images in both directions; ours would transpose the second."""
    mask = torch.tensor(z["token_ids"] != 0)
    partner = torch.arange(len(mask))
    for kind, scale in (("T1", np.e), ("T0", 1.0)):
        tokens, patches = leaf(z["text_tokens"]), leaf(z["image_tokens"])
        to_texts, to_images = tokenwise_similarity(patches, tokens, mask)
        terms = [functional.cross_entropy(scale * similarity.T, partner) for similarity in (to_texts, to_images)]
        loss = (terms[0] + terms[1]) / 2
        loss.backward()
        yield off("FILIP loss (as shipped by x-clip)", loss, z[f"loss_{kind}"])
        yield off("FILIP loss, gradients", tokens.grad, z[f"grad_text_{kind}"])
        yield off("FILIP loss, gradients", patches.grad, z[f"grad_image_{kind}"])


COMPARISONS = {
    "medclip/soft_clip_loss.npz": semantic_matching,
    "gloria/global_*.npz": gloria_global,
    "gloria/local_*.npz": gloria_local,
    "others/convirt.npz": convirt,
    "others/open_clip.npz": open_clip,
    "others/filip_*.npz": filip,
}

if __name__ == "__main__":
    report(differences)
