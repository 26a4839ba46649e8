from __future__ import annotations

import numpy as np
import pytest
import torch

from medclip.evaluation.evaluators.prompt_styles import SETS, PromptStyles, unknown_share
from medclip.evaluation.evaluators.zero_shot import ZeroShot
from medclip.inference.prompts import load_prompts
from medclip.models import MedCLIPModel, MedCLIPProcessor
from medclip.models.model import build_model
from medclip.models.processor import train_tokenizer

STYLES = ("report", "terse", "plain", "question", "misspelt", "zh")


@pytest.fixture(scope="module")
def reader() -> tuple[MedCLIPModel, MedCLIPProcessor]:
    """A model whose tokenizer knows the letters of English alone."""
    torch.manual_seed(0)
    texts = [text for style in STYLES[:-1] for entry in load_prompts(SETS.get(style, style)).values()
             for text in (*entry.positive, *entry.negative)]  # fmt: skip
    tokenizer = train_tokenizer(texts)
    built = build_model(vocab_size=len(tokenizer), projection_dim=16).eval()
    return built, MedCLIPProcessor(tokenizer, image_size=32)


def test_every_style_asks_about_the_14_in_words_of_its_own() -> None:
    sets = {style: load_prompts(SETS.get(style, style)) for style in STYLES}
    for name in sets["report"]:
        said = [text for prompts in sets.values() for side in (prompts[name].positive, prompts[name].negative)
                for text in side]  # fmt: skip
        assert len(set(said)) == len(said), name
        assert all(prompts[name].negative for prompts in sets.values())


def test_spread_is_the_best_style_less_the_worst_over_the_same_resamples(data, reader) -> None:
    found = PromptStyles(data, resamples=20)(*reader)
    styles = found.tables["prompt_styles"].set_index("style")
    assert list(styles.index) == list(STYLES)
    assert np.isnan(styles.loc["zh", "auroc"]) and styles.loc["zh", "unknown tokens"] > 0.5  # no such letters
    values = styles["auroc"].dropna()
    assert found.metrics["styles/spread"].value == pytest.approx(values.max() - values.min())
    assert found.metrics["styles/deviation"].value == pytest.approx(values.std(ddof=1))
    assert found.metrics["styles/lowest"].value == pytest.approx(values.min())
    assert found.metrics["styles/spread"].low >= 0
    one = found.metrics["styles/auroc/report"]
    assert one.low < one.value < one.high and one.chance == 0.5 and one.count == styles.loc["report", "observations"]
    zero = ZeroShot(data, prompts="chexpert14", resamples=0)(*reader).metrics["auroc/mean"].value
    assert one.value == pytest.approx(zero)


def test_a_style_may_be_a_file_and_must_ask_about_something(data, reader, tmp_path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("Edema: {positive: [wet lungs], negative: [dry lungs]}\n")
    found = PromptStyles(data, styles=("report", str(own)), resamples=0)(*reader)
    assert found.tables["prompt_styles_observations"]["observation"].tolist() == ["Edema"]
    own.write_text("Edemas: {positive: [wet lungs], negative: [dry lungs]}\n")
    with pytest.raises(ValueError, match="prompts in each of report, "):
        PromptStyles(data, styles=("report", str(own)), resamples=0)
    assert unknown_share(reader[1], load_prompts("terse")) == 0
