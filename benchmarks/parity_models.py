"""How far our towers and converted weights are from what the official MedCLIP and GLoRIA code computed.

    PYTHONPATH=. python benchmarks/parity_models.py [FOLDER]

The same as parity.py, for embeddings and logits. FOLDER also holds the tiny BERT and Swin that the
fixtures were made with.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from benchmarks.parity import Difference, off, report
from medclip.data.images import pad_bicubic
from medclip.data.preprocessing import normalise
from medclip.encoded import Encoded
from medclip.models.conversion.convert import convert
from medclip.models.model import MedCLIPModel
from medclip.models.towers import sum_words
from medclip.objectives.semantic_matching import SemanticMatching

State = dict[str, Tensor]


def differences(folder: Path) -> Iterator[Difference]:
    with torch.no_grad():
        yield from texts_and_swin(folder)
        yield from resnet(folder)
        yield from gloria_images(folder)
    yield from gloria_texts(folder)
    yield from logits(folder)
    if (folder / "medclip" / "preprocess.npz").is_file():
        yield from preprocessing(folder)


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as opened:
        return {name: opened[name] for name in opened.files}


def official_state(folder: Path, vision: State) -> State:
    """A checkpoint as the official code saves one, of the tiny towers."""
    text = load_file(folder / "tiny_bert" / "model.safetensors")
    z = arrays(folder / "medclip" / "text_pooling.npz")
    return {
        "logit_scale": torch.tensor(1.0),
        **vision,
        **{f"text_model.model.{name}": value for name, value in text.items()},
        "text_model.projection_head.weight": torch.tensor(z["projection_weight"]),
    }


def converted(state: State) -> MedCLIPModel:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pytorch_model.bin"
        torch.save(state, path)
        return convert(path, text_heads=4).model


def swin(folder: Path) -> MedCLIPModel:
    z = arrays(folder / "medclip" / "vision_swin_tiny.npz")
    state = load_file(folder / "tiny_swin" / "model.safetensors")
    vision = {f"vision_model.model.{name}": value for name, value in state.items()}
    return converted(
        official_state(folder, vision | {"vision_model.projection_head.weight": torch.tensor(z["projection_weight"])})
    )


def texts_and_swin(folder: Path) -> Iterator[Difference]:
    model, t = swin(folder), arrays(folder / "medclip" / "text_pooling.npz")
    ids, mask = torch.tensor(t["input_ids"]), torch.tensor(t["attention_mask"])
    yield off("MedCLIP text embeddings, padding counted", model.get_text_features(ids, mask), t["normalised"])
    alone = [model.get_text_features(ids[i : i + 1, :n], mask[i : i + 1, :n]) for i, n in enumerate(mask.sum(1))]
    yield off("MedCLIP text embeddings, each alone", torch.cat(alone), t["normalised_each_alone"])
    v = arrays(folder / "medclip" / "vision_swin_tiny.npz")
    images = model.encode_images(torch.tensor(v["pixel_values"]))
    yield off("MedCLIP-ViT image embeddings", images.embeds, v["normalised"])
    f = arrays(folder / "medclip" / "full_forward_loss.npz")
    scale = torch.tensor(f["logit_scale"]).exp()
    terms = []
    for prefix in ("", "aug_"):
        texts = model.get_text_features(
            torch.tensor(f[f"{prefix}input_ids"]), torch.tensor(f[f"{prefix}attention_mask"])
        )
        sides = [
            Encoded(e, labels=torch.tensor(f[f"{s}_labels"])) for e, s in ((images.embeds, "img"), (texts, "text"))
        ]
        terms.append(SemanticMatching(similarity="dot")(*sides, scale)["loss"])
    yield off("MedCLIP forward with loss", terms[0], f["loss_no_aug"])
    yield off("MedCLIP forward with loss", (terms[0] + terms[1]) / 2, f["loss_with_aug"])


def fill(state: State, prefix: str) -> State:
    """Weights by the fixtures' rule: random, from a generator seeded with each name."""
    filled = {}
    for name, tensor in state.items():
        if not torch.is_floating_point(tensor):
            filled[name] = tensor
            continue
        noise = np.random.RandomState(zlib.crc32((prefix + name).encode()) & 0x7FFFFFFF).standard_normal(
            tuple(tensor.shape)
        )
        if name.endswith("running_var"):
            values = 1 + 0.1 * np.abs(noise)
        elif name.endswith("running_mean"):
            values = 0.1 * noise
        elif tensor.dim() == 4:
            values = noise * np.sqrt(2 / np.prod(tensor.shape[1:]))
        elif tensor.dim() == 2:
            values = noise / np.sqrt(tensor.shape[1])
        else:
            values = 0.5 + 0.1 * noise if name.endswith("weight") else 0.1 * noise
        filled[name] = torch.from_numpy(values).to(tensor.dtype)
    return filled


def torchvision_resnet(outputs: int | None) -> State:
    import torchvision

    model = torchvision.models.resnet50(weights=None)
    model.fc = torch.nn.Identity() if outputs is None else torch.nn.Linear(2048, outputs, bias=False)
    return fill(model.state_dict(), "model.")


def resnet(folder: Path) -> Iterator[Difference]:
    vision = {f"vision_model.model.{name}": value for name, value in torchvision_resnet(512).items()}
    model = converted(official_state(folder, vision))
    pixels = torch.tensor(arrays(folder / "medclip" / "vision_swin_tiny.npz")["pixel_values"])
    expected = arrays(folder / "medclip" / "vision_resnet50.npz")["normalised"]
    yield off("MedCLIP-ResNet image embeddings", model.get_image_features(pixels), expected)


def gloria_state() -> State:
    heads = torch.nn.ModuleDict(
        {"global_embedder": torch.nn.Linear(2048, 768), "local_embedder": torch.nn.Conv2d(1024, 768, 1, bias=False)}
    )
    # Any text tower of 768 features: the fixtures of GLoRIA's texts are compared apart.
    return {
        **{f"gloria.img_encoder.model.{name}": value for name, value in torchvision_resnet(None).items()},
        **{f"gloria.img_encoder.{name}": value for name, value in fill(heads.state_dict(), "").items()},
        **{f"gloria.text_encoder.model.{name}": value for name, value in random_bert(768).items()},
    }


def gloria_images(folder: Path) -> Iterator[Difference]:
    model = converted(gloria_state())
    z = arrays(folder / "gloria" / "image_encoder_resnet50.npz")
    encoded = model.encode_images(torch.tensor(z["pixel_values"]), local=True)
    yield off("GLoRIA image embeddings", encoded.embeds, z["global_emb"] / np.linalg.norm(z["global_emb"]))
    rows, columns = encoded.grid
    local = encoded.local[0].T.reshape(768, rows, columns)
    yield off("GLoRIA regions (relative)", local[:, 9] / np.abs(z["local_emb_row9"]).max(),
              z["local_emb_row9"] / np.abs(z["local_emb_row9"]).max())  # fmt: skip


def random_bert(hidden: int) -> State:
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=20, hidden_size=hidden, num_hidden_layers=4, num_attention_heads=4,
                        intermediate_size=8, max_position_embeddings=8)  # fmt: skip
    return BertModel(config).state_dict()


def gloria_texts(folder: Path) -> Iterator[Difference]:
    """Words are sums of pieces, and a sentence points where the sum of its words points."""
    z = arrays(folder / "gloria" / "text_aggregation.npz")
    vocabulary = (folder / "tiny_bert" / "vocab.txt").read_text().splitlines()
    for b, ids in enumerate(z["input_ids"]):
        pieces = [vocabulary[i] for i in ids]
        pieces = pieces[: pieces.index("[SEP]") + 1]
        words = np.cumsum([not piece.startswith("##") for piece in pieces]) - 1
        hidden = torch.tensor(z["last4_hidden"][b, :, : len(pieces)]).sum(dim=0)[None]
        summed, present = sum_words(hidden, torch.tensor(words)[None])
        theirs = z["word_emb"][b].T[: int(present.sum())]
        yield off(
            "GLoRIA words (relative)", summed[0][present[0]] / np.abs(theirs).max(), theirs / np.abs(theirs).max()
        )
        ours = functional.normalize(hidden.mean(dim=1), dim=1)[0]
        yield off("GLoRIA sentence embeddings", ours, z["sent_emb"][b] / np.linalg.norm(z["sent_emb"][b]))


def logits(folder: Path) -> Iterator[Difference]:
    z = arrays(folder / "medclip" / "compute_logits.npz")
    model = swin(folder)
    for n in ("init", "high", "low", "mid"):
        with torch.no_grad():
            model.logit_scale.fill_(float(z[f"{n}_before"]))
            ours = model.scale() * torch.tensor(z["img_emb"]) @ torch.tensor(z["text_emb"]).T
        # Logits reach 100; their differences are told relative to the largest.
        largest = np.abs(z[f"{n}_logits"]).max()
        yield off("MedCLIP logits and the bounds of their scale (relative)", ours / largest, z[f"{n}_logits"] / largest)


def preprocessing(folder: Path) -> Iterator[Difference]:
    z = arrays(folder / "medclip" / "preprocess.npz")
    for name in ("portrait_301x390", "landscape_512x300", "small_150x97"):
        ours = normalise(pad_bicubic(z[f"{name}_input"], 224)[None])[0, 0]
        yield off("MedCLIP preprocessing", ours, z[f"{name}_extractor"])


if __name__ == "__main__":
    report(differences)
