from __future__ import annotations

from urllib.error import URLError

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoProcessor, BertTokenizerFast

from labelers.errors import UserError
from medclip.models import MedCLIPConfig, MedCLIPModel, MedCLIPProcessor
from medclip.models.locking import lock
from medclip.models.model import build_model, check_tokens
from medclip.models.processor import load_tokenizer, train_tokenizer
from medclip.models.towers import sum_words

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
    settings = {"text_config": TINY_BERT, "projection_dim": 12} | options
    return MedCLIPModel(MedCLIPConfig(vision_config=vision, **settings)).eval()


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


def test_texts_without_a_mask_count_every_token(processor) -> None:
    model, texts = tiny(TINY_RESNET).eval(), processor.texts(TEXTS[:1])
    with torch.no_grad():
        torch.testing.assert_close(model.get_text_features(texts["input_ids"]), model.get_text_features(**texts))


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
    with pytest.raises(OSError, match="Without a network, run 'hf download nobody/nothing"):
        call()


@pytest.mark.parametrize("load", [load_tokenizer, lambda name: build_model(text=name)])
def test_what_a_name_can_only_mean_is_what_the_message_is_about(load, tmp_path) -> None:
    with pytest.raises(OSError, match=r"There is no folder /models/bert\. Name one that holds a"):
        load("/models/bert")
    with pytest.raises(OSError, match=r"The folder .* holds no .* that can be loaded"):
        load(str(tmp_path))
    with pytest.raises(OSError, match="is not asked, as HF_HUB_OFFLINE says"):
        load("nobody/nothing")


def test_weights_of_torchvision_are_named_and_said_to_be_missing(monkeypatch, tmp_path) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no network")

    with pytest.raises(UserError, match="no weights 'IMAGENET9' of resnet18; choose from IMAGENET1K_V1"):
        build_model(vision="torchvision:resnet18:IMAGENET9")
    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(OSError, match=r"Fetch https://.*/resnet18.*\.pth .* into .*checkpoints; or .* torchvision:res"):
        build_model(vision="torchvision:resnet18:IMAGENET1K_V1")


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


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused() -> None:
    model = tiny(TINY_RESNET)  # whose text tower has 200
    check_tokens(model, 200, "bert")
    with pytest.raises(ValueError, match=r"--text bert: its tokenizer has 1,201 tokens, .* has embeddings of 200\."):
        check_tokens(model, 1201, "bert")


def test_unknown_pooling() -> None:
    with pytest.raises(ValueError, match="text_pooling='median'; choose from mean, max, layers"):
        MedCLIPConfig(text_pooling="median")


def test_learned_tokenizers_are_the_same_each_time() -> None:
    first, second = train_tokenizer(TEXTS * 9, vocab_size=120), train_tokenizer(TEXTS * 9, vocab_size=120)
    assert first.get_vocab() == second.get_vocab()
    assert first(["no effusion"])["input_ids"][0][0] == first.cls_token_id


PAIRS = {
    "torchvision resnet and bert": ({"model_type": "torchvision", "architecture": "resnet18"}, "bert"),
    "densenet and roberta": ({"model_type": "torchvision", "architecture": "densenet121"}, "roberta"),
    "swin and bert": (VISIONS["swin"], "bert"),
    "convnext and distilbert": (
        {"model_type": "convnext", "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}, "distilbert",
    ),
    "dinov2 and electra": (
        {"model_type": "dinov2", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
         "patch_size": 14}, "electra",
    ),
    "timm and bert": ({"model_type": "timm_wrapper", "architecture": "resnet10t"}, "bert"),
}  # fmt: skip
TEXTS_OF = {
    "distilbert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16},
    "other": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
}


@pytest.mark.parametrize(("vision", "text"), PAIRS.values(), ids=PAIRS.keys())
def test_pairs_of_towers_make_the_round_trip_through_auto_classes(vision, text, processor, tmp_path) -> None:
    options = TEXTS_OF.get(text, TEXTS_OF["other"]) | {"model_type": text, "vocab_size": 200}
    if text == "electra":
        options["embedding_size"] = 16
    torch.manual_seed(0)
    model = MedCLIPModel(MedCLIPConfig(vision_config=vision, text_config=options, projection_dim=12)).eval()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded, prepared = AutoModel.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), MedCLIPConfig)
    assert isinstance(loaded, MedCLIPModel)
    assert isinstance(prepared, MedCLIPProcessor)
    assert not loaded.training
    pixels, tokens = torch.randn(2, 1, 56, 56), prepared.texts(TEXTS)
    if vision["model_type"] == "swin":
        pixels = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        first, second = (m(pixel_values=pixels, **tokens).logits_per_image for m in (model, loaded))
        local = loaded.encode_images(pixels, local=True)
    torch.testing.assert_close(first, second, rtol=0, atol=1e-5)
    assert local.grid[0] * local.grid[1] == local.local.shape[1]


def test_a_chinese_tower_reads_chinese(tmp_path) -> None:
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"双肺纹理清晰心影增大。"])
    )
    tokenizer = BertTokenizerFast(str(tmp_path / "vocab.txt"), tokenize_chinese_chars=True)
    config = {"model_type": "bert", "vocab_size": len(tokenizer), **TEXTS_OF["other"]}
    model = tiny(TINY_RESNET, text_config=config)
    found = MedCLIPProcessor(tokenizer, image_size=32).texts(["双肺纹理清晰。", "心影增大"])
    assert found["input_ids"].shape == (2, 9)
    assert (found["input_ids"] != tokenizer.unk_token_id).all()
    assert model.get_text_features(**found).shape == (2, 12)


@pytest.mark.parametrize("what", [MedCLIPModel, MedCLIPProcessor])
def test_a_hub_id_without_a_network_says_what_to_do(what, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OSError, match="hf download nobody/nothing --local-dir"):
        what.from_pretrained("nobody/nothing", local_files_only=True)


@pytest.mark.parametrize("local", ["shared", "last", "previous"])
@pytest.mark.parametrize("vision", VISIONS.values(), ids=VISIONS.keys())
def test_patches_come_from_the_stage_asked_for(vision: dict[str, object], local: str) -> None:
    model = tiny(vision, vision_local=local)
    last = tiny(vision).encode_images(torch.randn(2, 1, 32, 32), local=True)
    found = model.encode_images(torch.randn(2, 1, 32, 32), local=True)
    assert found.local.shape == (2, found.grid[0] * found.grid[1], 12)
    assert found.grid[0] >= last.grid[0]
    if local == "previous" and vision["model_type"] in ("resnet", "torchvision"):
        assert found.grid[0] == 2 * last.grid[0]


def test_words_are_sums_of_their_pieces() -> None:
    hidden = torch.arange(24.0).reshape(1, 6, 4)
    words, present = sum_words(hidden, torch.tensor([[-1, 0, 0, 1, 2, -1]]))
    assert present[0].tolist() == [True] * 3 + [False] * 3
    torch.testing.assert_close(words[0, 0], hidden[0, 1] + hidden[0, 2])
    torch.testing.assert_close(words[0, 2], hidden[0, 4])
    assert (words[0, 3:] == 0).all()


@pytest.mark.parametrize("what", ["1", "all"])
def test_locked_layers_do_not_train(what: str) -> None:
    model = tiny(TINY_RESNET)
    lock(model.text.backbone, what)
    trained = {name for name, p in model.text.backbone.named_parameters() if p.requires_grad}
    assert not any(name.startswith(("embeddings", "encoder.layer.0")) for name in trained)
    assert any(name.startswith("encoder.layer.1") for name in trained) == (what == "1")
    model.train()
    assert not model.text.backbone.embeddings.training
    with pytest.raises(ValueError, match="write all, or how many of the 2 layers"):
        lock(model.text.backbone, "7")
