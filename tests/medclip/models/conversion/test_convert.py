from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterable

import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from benchmarks.parity import FOLDER, Difference
from benchmarks.parity_models import (
    differences,
    fill,
    gloria_texts,
    logits,
    official_state,
    random_bert,
    resnet,
    swin,
    texts_and_swin,
)
from medclip.cli import convert as command
from medclip.models import MedCLIPModel
from medclip.models.conversion.checkpoint_file import CheckpointError, read_state
from medclip.models.conversion.convert import check_tokenizer, convert
from medclip.models.model import build_model
from medclip.models.processor import load_tokenizer, train_tokenizer


def far_off(found: Iterable[Difference], *, least: int) -> list[Difference]:
    """Returns the differences that are too large, of `least` or more."""
    every = list(found)
    assert len(every) >= least
    return [(name, difference) for name, difference in every if not difference < 1e-5]


def test_embeddings_and_logits_of_the_official_code() -> None:
    with torch.no_grad():
        towers = [*texts_and_swin(FOLDER), *resnet(FOLDER)]
    assert far_off([*towers, *gloria_texts(FOLDER), *logits(FOLDER)], least=15) == []


@pytest.mark.slow
def test_everything_the_official_code_was_asked() -> None:
    assert far_off(differences(FOLDER), least=20) == []


@pytest.fixture
def checkpoint(tmp_path):
    """An official MedCLIP-ViT with tiny towers, and two keys that nobody knows."""
    from safetensors.torch import load_file

    vision = {f"vision_model.model.{k}": v for k, v in load_file(FOLDER / "tiny_swin" / "model.safetensors").items()}
    state = official_state(FOLDER, vision | {"vision_model.projection_head.weight": torch.zeros(512, 64)})
    state |= {"text_model.model.embeddings.position_ids": torch.arange(128)[None], "extra.weight": torch.zeros(2)}
    torch.save(state, tmp_path / "pytorch_model.bin")
    return tmp_path / "pytorch_model.bin"


def test_every_key_is_accounted_for(checkpoint) -> None:
    made = convert(checkpoint, text_heads=4)
    assert made.kind == "medclip-vit"
    assert made.missing == ()
    assert "extra.weight" in made.unused
    computed = ("position_ids", "relative_position_index", "extra.weight")
    assert all(key.endswith(computed) for key in made.unused)
    assert set(made.used) | set(made.unused) == set(read_state(checkpoint))
    assert not made.model.training


def test_a_converted_model_is_like_any_other(checkpoint, tmp_path) -> None:
    made = convert(checkpoint, text_heads=4)
    made.model.save_pretrained(tmp_path / "m")
    loaded = MedCLIPModel.from_pretrained(tmp_path / "m")
    ids = torch.tensor([[2, 5, 6, 3]])
    with torch.no_grad():
        first, second = (m.get_text_features(ids, torch.ones_like(ids)) for m in (made.model, loaded))
    torch.testing.assert_close(first, second, atol=1e-6, rtol=0)
    assert loaded.config.text_pooling == "layers_unmasked"


@pytest.mark.parametrize("wrapped", ["zip", "folder", "lightning", "data parallel"])
def test_weights_are_found_where_they_lie(checkpoint, tmp_path, wrapped: str) -> None:
    path = tmp_path / "wrapped"
    state = torch.load(checkpoint, weights_only=True)
    if wrapped == "zip":
        path = tmp_path / "medclip-vit-pretrained.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(checkpoint, "medclip-vit/pytorch_model.bin")
    elif wrapped == "folder":
        path = checkpoint.parent
    elif wrapped == "lightning":
        torch.save({"state_dict": state, "epoch": 3}, path)
    else:
        torch.save({f"module.{name}": value for name, value in state.items()}, path)
    assert convert(path, text_heads=4).missing == ()


class Harmful:
    def __reduce__(self):
        return (print, ("this must not be run",))


def test_what_is_no_checkpoint_is_refused(checkpoint, tmp_path, capsys) -> None:
    content = checkpoint.read_bytes()
    (tmp_path / "short.bin").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.bin").write_text("not found")
    (tmp_path / "harmful.bin").write_bytes(pickle.dumps({"weight": Harmful()}))
    torch.save({"state": Harmful()}, tmp_path / "harmful.pt")
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "other.bin")
    torch.save([1, 2], tmp_path / "list.bin")
    build_model(vocab_size=20).save_pretrained(tmp_path / "ours")
    state = torch.load(checkpoint, weights_only=True)
    torch.save({k: v for k, v in state.items() if "projection_head" not in k}, tmp_path / "headless.bin")
    torch.save(state | {"text_model.projection_head.weight": torch.zeros(512, 31)}, tmp_path / "shape.bin")
    for name, message in {
        "short.bin": "damaged", "text.bin": r"is a text file; expected weights in a \.bin",
        "harmful.bin": "holds code", "harmful.pt": "holds code",
        "other.bin": "none of medclip-resnet, medclip-vit, gloria", "list.bin": "no tensors by name",
        "ours": "a model of this package already", "headless.bin": "no projection", "shape.bin": r"\(512, 31\) in the",
    }.items():  # fmt: skip
        with pytest.raises(CheckpointError, match=message):
            convert(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        convert(tmp_path / "absent.bin")
    assert "must not" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("mine.yaml", b"images: phantom\nsteps: 10\n", "is a text file"),
        ("notes.pt", "Gewichte f\xfcr Lungen".encode(), "is a text file"),
        ("vit.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
        ("vit.zip", b"<!DOCTYPE html><html><body>Log in</body></html>", "is a web page"),
        ("keras.pt", b"\x89HDF\r\n\x1a\n" + bytes(64), "is an HDF5 file"),
        ("film.pt", b"\x89PNG\r\n\x1a\n" + bytes(64), "is an image"),
        ("model.onnx", b"\x08\x07\x12\x04torch" + bytes(64), r"is a \.onnx file"),
        ("weights.pt", b"", "is empty"),
        ("weights.safetensors", b"\xff" * 64, "is damaged or no checkpoint"),
    ],
)
def test_a_file_of_another_kind_is_called_what_it_is(tmp_path, name: str, content: bytes, found: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name} {found}.*expected weights in a \.bin, \.pt") as raised:
        read_state(tmp_path / name)
    assert "weights_only" not in str(raised.value)  # torch's own advice is to run what a file holds


def test_folders_and_archives_without_weights_say_what_they_hold(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(FileNotFoundError, match=r"neither model\.safetensors nor pytorch_model\.bin\. Found: notes"):
        read_state(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="weights in several parts"):
        read_state(tmp_path)
    with zipfile.ZipFile(tmp_path / "films.zip", "w") as archive:
        archive.writestr("a.png", "")
    with pytest.raises(CheckpointError, match="a zip archive of 1 files, 0 of them weights"):
        read_state(tmp_path / "films.zip")


def test_weights_are_told_by_content(checkpoint, tmp_path) -> None:
    from safetensors.torch import save_file

    state = {name: value.contiguous() for name, value in read_state(checkpoint).items()}
    save_file(state, tmp_path / "weights.bin")
    assert set(read_state(tmp_path / "weights.bin")) == set(state)


def test_one_tower_alone_is_sent_to_training(tmp_path) -> None:
    torch.save(random_bert(16), tmp_path / "bert.bin")
    with pytest.raises(CheckpointError, match=r"hold one tower and no projection.*--text FOLDER"):
        convert(tmp_path / "bert.bin")


def test_a_tokenizer_of_another_size_is_refused_before_anything_is_written(checkpoint, tmp_path, caplog) -> None:
    made = convert(checkpoint, text_heads=4)
    rows = made.model.text.backbone.config.vocab_size
    for size in (rows, rows - 100):  # tables are padded
        check_tokenizer(made.model, size, "right")
    train_tokenizer(["no pleural effusion"], vocab_size=60).save_pretrained(tmp_path / "small")
    train_tokenizer([f"word{chr(97 + i % 26)}{i}" for i in range(999)], vocab_size=990).save_pretrained(
        tmp_path / "large"
    )
    for name in ("small", "large"):
        size = len(load_tokenizer(str(tmp_path / name)))
        arguments = [str(checkpoint), "--text-heads", "4", "--tokenizer", str(tmp_path / name)]
        with pytest.raises(CheckpointError, match=rf"{name}' has {size:,} tokens, .* has embeddings of {rows:,}\."):
            command.run([*arguments, "--output", str(tmp_path / "made")])
    assert not (tmp_path / "made").exists()


def openai_state(clip: CLIPModel) -> dict[str, torch.Tensor]:
    """A transformers CLIP by the names of OpenAI's own code, written from its layout."""
    theirs = clip.state_dict()
    state = {
        "logit_scale": theirs["logit_scale"], "visual.proj": theirs["visual_projection.weight"].T,
        "text_projection": theirs["text_projection.weight"].T,
        "visual.class_embedding": theirs["vision_model.embeddings.class_embedding"],
        "visual.conv1.weight": theirs["vision_model.embeddings.patch_embedding.weight"],
        "visual.positional_embedding": theirs["vision_model.embeddings.position_embedding.weight"],
        "token_embedding.weight": theirs["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": theirs["text_model.embeddings.position_embedding.weight"],
    }  # fmt: skip
    for part in ("weight", "bias"):
        state[f"visual.ln_pre.{part}"] = theirs[f"vision_model.pre_layrnorm.{part}"]
        state[f"visual.ln_post.{part}"] = theirs[f"vision_model.post_layernorm.{part}"]
        state[f"ln_final.{part}"] = theirs[f"text_model.final_layer_norm.{part}"]
        for tower, ours in (("vision_model", "visual.transformer"), ("text_model", "transformer")):
            for i in range(2):
                layer, block = f"{tower}.encoder.layers.{i}", f"{ours}.resblocks.{i}"
                joint = [theirs[f"{layer}.self_attn.{n}_proj.{part}"] for n in "qkv"]
                state[f"{block}.attn.in_proj_{part}"] = torch.cat(joint)
                state[f"{block}.attn.out_proj.{part}"] = theirs[f"{layer}.self_attn.out_proj.{part}"]
                state[f"{block}.ln_1.{part}"] = theirs[f"{layer}.layer_norm1.{part}"]
                state[f"{block}.ln_2.{part}"] = theirs[f"{layer}.layer_norm2.{part}"]
                state[f"{block}.mlp.c_fc.{part}"] = theirs[f"{layer}.mlp.fc1.{part}"]
                state[f"{block}.mlp.c_proj.{part}"] = theirs[f"{layer}.mlp.fc2.{part}"]
    return state


def test_chexzero_is_a_clip(tmp_path) -> None:
    torch.manual_seed(0)
    common = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1}
    config = CLIPConfig(
        text_config={**common, "vocab_size": 50, "max_position_embeddings": 12, "eos_token_id": 49, "bos_token_id": 48},
        vision_config={**common, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    clip = CLIPModel(config).eval()
    torch.save(openai_state(clip), tmp_path / "chexzero.pt")
    made = convert(tmp_path / "chexzero.pt")
    assert (made.kind, made.missing, made.unused) == ("chexzero", (), ())
    pixels, ids = torch.randn(2, 3, 32, 32), torch.tensor([[48, 3, 4, 49, 0, 0], [48, 7, 8, 9, 10, 49]])
    mask = torch.ones_like(ids)
    with torch.no_grad():
        output = clip(pixel_values=pixels, input_ids=ids, attention_mask=mask)
        torch.testing.assert_close(made.model.get_image_features(pixels), output.image_embeds, atol=1e-5, rtol=0)
        torch.testing.assert_close(made.model.get_text_features(ids, mask), output.text_embeds, atol=1e-5, rtol=0)


def test_convirt_pytorch_has_two_layer_heads(tmp_path) -> None:
    import torchvision

    resnet = torchvision.models.resnet18(weights=None)
    features = torch.nn.Sequential(*list(resnet.children())[:-1])
    linear = torch.nn.Linear
    heads = {
        "res_l1": linear(512, 512),
        "res_l2": linear(512, 24),
        "bert_l1": linear(16, 16),
        "bert_l2": linear(16, 24),
    }
    state = {f"res_features.{name}": value for name, value in fill(features.state_dict(), "").items()}
    state |= {f"bert_model.{name}": value for name, value in random_bert(16).items()}
    state |= {f"{head}.{name}": value for head, module in heads.items() for name, value in module.state_dict().items()}
    torch.save(state, tmp_path / "model.pth")
    made = convert(tmp_path / "model.pth", text_heads=4)
    assert (made.kind, made.missing) == ("convirt", ())
    pixels = torch.randn(2, 3, 64, 64)
    features.load_state_dict({k.removeprefix("res_features."): v for k, v in state.items() if "res_features" in k})
    with torch.no_grad():
        hidden = features.eval()(pixels).flatten(1)
        expected = heads["res_l2"](torch.relu(heads["res_l1"](hidden)))
        found = made.model.get_image_features(pixels)
    torch.testing.assert_close(found, torch.nn.functional.normalize(expected, dim=1), atol=1e-5, rtol=0)


def test_padding_counts_in_converted_texts_only(tmp_path) -> None:
    model = swin(FOLDER)
    ids = torch.tensor([[2, 5, 6, 3]])
    mask = torch.ones_like(ids)
    padded, longer = torch.nn.functional.pad(ids, (0, 4)), torch.nn.functional.pad(mask, (0, 4))
    with torch.no_grad():
        assert not torch.allclose(model.get_text_features(ids, mask), model.get_text_features(padded, longer))
        model.text.pooling = "layers"
        torch.testing.assert_close(model.get_text_features(ids, mask), model.get_text_features(padded, longer))


def test_checkpoints_of_newer_transformers_are_read_too(checkpoint, tmp_path) -> None:
    """A Swin saved again under the names of transformers 5 has the same weights."""
    newer = {
        ".attention.self.query": ".attention.q_proj", ".attention.self.key": ".attention.k_proj",
        ".attention.self.value": ".attention.v_proj", ".attention.output.dense": ".attention.o_proj",
        ".attention.self.relative": ".attention.relative_position_bias.relative", ".intermediate.dense": ".mlp.fc1",
        ".output.dense": ".mlp.fc2",
    }  # fmt: skip
    state = {}
    for name, value in torch.load(checkpoint, weights_only=True).items():
        if name.startswith("vision_model.model.encoder"):
            for old, new in newer.items():
                name = name.replace(old, new)  # noqa: PLW2901
        state[name] = value
    assert any("attention.q_proj" in name for name in state)
    torch.save(state, tmp_path / "newer.bin")
    first, second = convert(checkpoint, text_heads=4), convert(tmp_path / "newer.bin", text_heads=4)
    assert second.missing == ()
    pixels = torch.randn(1, 1, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(first.model.get_image_features(pixels), second.model.get_image_features(pixels))


def test_an_archive_that_grows_too_much_is_not_unpacked(tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "weights.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pytorch_model.bin", bytes(10**7))
    with pytest.raises(CheckpointError, match="which weights do not"):
        read_state(tmp_path / "weights.zip")
