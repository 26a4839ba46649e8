"""The Chinese recipe, end to end: a BERT of 21,128 words and a Swin, both tiny and on disk, and reports in Chinese."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import BertConfig, BertModel, BertTokenizerFast, SwinConfig, SwinModel

import medclip
from labelers.rules import RuleLabeler
from medclip.cli import evaluate, train
from medclip.sources.phantom.population import draw_study
from medclip.sources.phantom.report import write_report

ROOT = Path(__file__).parents[3]
WORDS = 21_128


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with a text tower, whose words are the characters of the reports, and an image tower."""
    folder = tmp_path_factory.mktemp("towers")
    letters = sorted({letter for n in range(200) for letter in write_report(draw_study(0, n), "zh") if letter.strip()})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(letter.lower() for letter in letters)]
    words = list(dict.fromkeys(words))
    words += [f"[unused{n}]" for n in range(WORDS - len(words))]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=WORDS, **sizes)).save_pretrained(folder / "bert")
    BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=True).save_pretrained(folder / "bert")
    swin = SwinConfig(image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4)
    SwinModel(swin).save_pretrained(folder / "swin")
    return folder


@pytest.mark.parametrize("objective", ["semantic-matching", "filip"])
def test_the_recipe_trains_and_evaluates(towers: Path, tmp_path: Path, objective: str) -> None:
    paired = objective == "filip"
    options = {"phantom": {"studies": 300, "size": 32, "language": "zh", "paired": paired}}
    train.run([
        "--config", str(ROOT / "configs/chinese.yaml"), "--images", "phantom", "--texts", "phantom",
        "--source-options", yaml.safe_dump(options, default_flow_style=True), "--vision", str(towers / "swin"),
        "--text", str(towers / "bert"), "--image-size", "32", "--cache-size", "32", "--projection-dim", "16",
        "--batch-images", "8", "--batch-texts", "8", "--steps", "4", "--evaluate-every", "2", "--workers", "0",
        "--loggers", "", "--objective", objective, "--objective-options", "{}", "--prepared", str(tmp_path / "p"),
        "--output", str(tmp_path / "run"), *(["--pair-text", "report"] if paired else []),
    ])  # fmt: skip
    model, processor = medclip.load_model(tmp_path / "run", device="cpu")
    assert len(processor.tokenizer) == WORDS
    assert model.config.text_config["model_type"] == "bert"
    assert 1 not in processor.texts(["未见胸腔积液。"])["input_ids"]  # no unknown word
    before = SwinModel.from_pretrained(towers / "swin").state_dict()
    after = model.vision.backbone.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before), (
        "the second stage unlocks the image tower"
    )
    evaluate.run([
        str(tmp_path / "run"), "--on", "phantom", "--prompts", "chexpert14-zh", "--resamples", "0", "--workers", "0",
        "--prepared", str(tmp_path / "p"), "--output", str(tmp_path / "out"),
    ])  # fmt: skip
    assert (tmp_path / "out" / "report.html").is_file()


def test_the_labels_that_are_read_are_what_the_reports_say() -> None:
    labeler = RuleLabeler("chexpert14-zh")
    studies = [draw_study(5, number) for number in range(400)]
    read = labeler([write_report(study, "zh") for study in studies])
    agreed = [
        read[row, list(labeler.observations).index(sign.observation)] == sign.state
        for row, study in enumerate(studies) for sign in study.signs if sign.state != 0
    ]  # fmt: skip
    assert np.mean(agreed) >= 0.97
