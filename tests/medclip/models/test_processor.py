"""What the processor takes for images and texts, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from medclip.data.images import ImageError
from medclip.models.processor import MedCLIPProcessor, train_tokenizer

GREY = (np.add.outer(np.arange(60), np.arange(44)) * 2.4).astype(np.uint8)


@pytest.fixture(scope="module")
def processor() -> MedCLIPProcessor:
    return MedCLIPProcessor(train_tokenizer(["no pleural effusion", "large right pneumothorax"]), image_size=32)


def lying(image: Image.Image) -> Image.Image:
    """The same picture on its side, and EXIF data that say so."""
    turned = image.rotate(90, expand=True)
    turned.getexif()[0x0112] = 6
    return turned


SAME: dict[str, Any] = {
    "float 0 to 1": GREY / 255,
    "float32 0 to 1": (GREY / 255).astype(np.float32),
    "float 0 to 255": GREY.astype(float),
    "int64": GREY.astype(np.int64),
    "uint16, 16 bits": GREY.astype(np.uint16) * 257,
    "uint16, 12 bits": GREY.astype(np.uint16) * 16,
    "(H, W, 1)": GREY[..., None],
    "(1, H, W)": GREY[None],
    "RGB": np.dstack([GREY] * 3),
    "RGB, floats, channels first": np.stack([GREY / 255] * 3),
    "RGBA": np.dstack([GREY, GREY, GREY, np.full_like(GREY, 255)]),
    "tensor": torch.from_numpy(GREY),
    "tensor of half floats": torch.from_numpy(GREY / 255).to(torch.bfloat16),
    "tensor (3, H, W)": torch.from_numpy(np.stack([GREY / 255] * 3)),
    "PIL": Image.fromarray(GREY),
    "PIL, RGB": Image.fromarray(GREY).convert("RGB"),
    "PIL, 16 bits": Image.fromarray(GREY.astype(np.uint16) * 257),
    "PIL, on its side": lying(Image.fromarray(GREY)),
}


@pytest.mark.parametrize("image", SAME.values(), ids=SAME.keys())
@pytest.mark.parametrize("several", [False, True])
def test_images_of_any_type_look_alike(processor: MedCLIPProcessor, image: Any, several: bool) -> None:
    found = processor(images=[image, image] if several else image)["pixel_values"]
    expected = processor(images=[GREY])["pixel_values"]
    assert len(found) == (2 if several else 1)
    assert float((found - expected).abs().mean()) < 0.02


def test_booleans_are_black_and_white(processor: MedCLIPProcessor) -> None:
    found, expected = processor(images=GREY > 99), processor(images=(GREY > 99).astype(np.uint8) * 255)
    assert torch.equal(found["pixel_values"], expected["pixel_values"])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (GREY / 127.5 - 1, "values reach from -1"),
        (np.where(GREY > 9, np.nan, 0.5), "not finite"),
        (np.zeros((2, 2, 60, 44), np.uint8), "shape .* is no image"),
        (np.zeros((0, 0), np.uint8), "shape"),
        (np.full((9, 9), "a"), "no grey values"),
        (7, "type int are not understood"),
    ],
)
def test_what_is_no_grey_image_is_refused(processor: MedCLIPProcessor, image: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        processor(images=[image])


def test_a_batch_is_several_images(processor: MedCLIPProcessor) -> None:
    assert len(processor(images=np.stack([GREY] * 5))["pixel_values"]) == 5
    assert len(processor(images=torch.from_numpy(np.stack([np.stack([GREY] * 3)] * 4)))["pixel_values"]) == 4


@pytest.mark.parametrize("kind", [str, Path])
def test_one_path_is_one_image(processor: MedCLIPProcessor, kind: type, tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "film.png")
    assert len(processor(images=kind(tmp_path / "film.png"))["pixel_values"]) == 1


def test_one_text_is_one_text(processor: MedCLIPProcessor) -> None:
    one, several = processor(text="No pleural effusion."), processor(text=["No pleural effusion."])
    assert torch.equal(one["input_ids"], several["input_ids"])
    for wrong in (["No effusion.", None], [float("nan")], [["No effusion."]]):
        with pytest.raises(ValueError, match="expected text"):
            processor(text=wrong)


def test_what_others_ask_for_is_accepted_or_refused(processor: MedCLIPProcessor) -> None:
    found = processor(text=["No effusion."], images=GREY, return_tensors="pt", padding=True, truncation=True)
    assert set(found) == {"pixel_values", "input_ids", "attention_mask"}
    for other in ({"return_tensors": "np"}, {"padding": "max_length"}, {"truncation": False}):
        with pytest.raises(ValueError, match="Leave them out"):
            processor(text="No effusion.", **other)
