from __future__ import annotations

import numpy as np
import pytest
import torch

from medclip.models import MedCLIPConfig, MedCLIPModel, MedCLIPProcessor
from medclip.models.model import build_model
from medclip.models.processor import load_tokenizer, train_tokenizer

TEXTS = ["No pleural effusion.", "The heart is enlarged and there is a small pneumothorax.", "Edema."]
TINY_SWIN = {
    "model_type": "swin",
    "embed_dim": 8,
    "depths": [1, 1],
    "num_heads": [1, 2],
    "image_size": 32,
    "window_size": 4,
}
TINY_VIT = {"model_type": "vit", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "image_size": 32, "patch_size": 8}  # fmt: skip
TINY_RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 16],
    "depths": [1, 1],
    "layer_type": "basic",
}
TORCHVISION = {"model_type": "torchvision", "architecture": "resnet18"}
TINY_BERT = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 16, "vocab_size": 200}  # fmt: skip


@pytest.fixture(scope="module")
def processor() -> MedCLIPProcessor:
    return MedCLIPProcessor(train_tokenizer(TEXTS * 4, vocab_size=200), image_size=32)


def tiny(vision: dict[str, object], **options: object) -> MedCLIPModel:
    torch.manual_seed(0)
    return MedCLIPModel(MedCLIPConfig(vision_config=vision, text_config=TINY_BERT, projection_dim=12, **options)).eval()


VISIONS = {"swin": TINY_SWIN, "vit": TINY_VIT, "resnet": TINY_RESNET, "torchvision": TORCHVISION}


@pytest.mark.parametrize("vision", VISIONS.values(), ids=VISIONS.keys())
def test_every_tower_gives_unit_vectors_and_a_grid(vision: dict[str, object]) -> None:
    encoded = tiny(vision).encode_images(torch.randn(2, 1, 32, 32), local=True)
    assert encoded.embeds.shape == (2, 12)
    torch.testing.assert_close(encoded.embeds.norm(dim=1), torch.ones(2))
    rows, columns = encoded.grid
    assert encoded.local.shape == (2, rows * columns, 12)


@pytest.mark.parametrize("vision", VISIONS.values(), ids=VISIONS.keys())
def test_saved_and_loaded_it_says_the_same(vision: dict[str, object], processor, tmp_path) -> None:
    model = tiny(vision)
    inputs = {"pixel_values": torch.randn(2, 1, 32, 32), **processor.texts(TEXTS)}
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    loaded = MedCLIPModel.from_pretrained(tmp_path)
    assert not loaded.training
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).logits_per_image, loaded(**inputs).logits_per_image, rtol=0, atol=0)


@pytest.mark.parametrize("pooling", ["mean", "max", "layers", "last4", "cls"])
def test_an_embedding_does_not_depend_on_its_neighbours(pooling: str, processor) -> None:
    model = tiny(TINY_RESNET, text_pooling=pooling)
    with torch.no_grad():
        together = model.get_text_features(**processor.texts(TEXTS))
        alone = torch.cat([model.get_text_features(**processor.texts([text])) for text in TEXTS])
        images = torch.randn(3, 1, 32, 32)
        torch.testing.assert_close(model.get_image_features(images)[1:2], model.get_image_features(images[1:2]))
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_logits_are_scaled_cosines_and_the_scale_starts_at_one_over_007(processor) -> None:
    model = tiny(TINY_RESNET)
    assert model.scale().item() == pytest.approx(1 / 0.07, rel=1e-5)
    with torch.no_grad():
        out = model(torch.randn(2, 1, 32, 32), **processor.texts(TEXTS))
    torch.testing.assert_close(out.logits_per_image, out.image_embeds @ out.text_embeds.T / 0.07)
    assert out.logits_per_text.shape == (3, 2)


def test_the_scale_has_a_ceiling() -> None:
    model = tiny(TINY_RESNET)
    model.logit_scale.data.fill_(20.0)
    assert model.scale().item() == pytest.approx(100, rel=1e-5)


def test_one_side_alone_will_do(processor) -> None:
    out = tiny(TINY_RESNET)(**processor.texts(TEXTS))
    assert out.image_embeds is None
    assert out.logits_per_image is None


def test_processor_round_trip(processor, tmp_path) -> None:
    processor.save_pretrained(tmp_path)
    loaded = MedCLIPProcessor.from_pretrained(tmp_path)
    assert torch.equal(loaded.texts(TEXTS)["input_ids"], processor.texts(TEXTS)["input_ids"])
    image = np.random.default_rng(0).integers(0, 256, (50, 40), dtype=np.uint8)
    assert torch.equal(loaded.images([image]), processor.images([image]))
    assert loaded(images=[image], text=TEXTS).keys() == {"pixel_values", "input_ids", "attention_mask"}


def test_a_folder_without_processor_says_so(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="model/ folder of a training run"):
        MedCLIPProcessor.from_pretrained(tmp_path)


def test_backbones_from_a_folder_bring_their_weights(tmp_path, processor) -> None:
    model = tiny(TINY_VIT)
    model.vision.backbone.save_pretrained(tmp_path / "vit")
    model.text.backbone.save_pretrained(tmp_path / "bert")
    built = build_model(vision=str(tmp_path / "vit"), text=str(tmp_path / "bert"), projection_dim=12)
    for ours, theirs in ((built.vision, model.vision), (built.text, model.text)):
        for name, value in theirs.backbone.state_dict().items():
            assert torch.equal(ours.backbone.state_dict()[name], value)


@pytest.mark.parametrize(
    "call", [lambda: build_model(vision="nobody/nothing"), lambda: load_tokenizer("nobody/nothing")]
)
def test_without_a_network_a_hub_name_says_what_to_do(call) -> None:
    with pytest.raises(OSError, match="Without a network, download it elsewhere and name its folder"):
        call()


@pytest.mark.parametrize(
    ("vision", "message"),
    [
        ({"model_type": "nonsense"}, "unknown to this version"),
        ({**TORCHVISION, "architecture": "resnet51"}, "no model 'resnet51'"),
    ],
)
def test_unknown_backbones(vision: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(vision)


def test_unknown_pooling() -> None:
    with pytest.raises(ValueError, match="text_pooling='median'; choose from mean, layers"):
        MedCLIPConfig(text_pooling="median")


def test_learned_tokenizers_are_the_same_each_time() -> None:
    first, second = train_tokenizer(TEXTS * 9, vocab_size=120), train_tokenizer(TEXTS * 9, vocab_size=120)
    assert first.get_vocab() == second.get_vocab()
    assert first(["no effusion"])["input_ids"][0][0] == first.cls_token_id
