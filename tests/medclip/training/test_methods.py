"""Losses of training by images alone, each against a loop written from its paper's equation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from lightly.loss.dino_loss import DINOLoss
from lightly.loss.ntx_ent_loss import NTXentLoss
from torch import Tensor
from torch.nn import functional

from labelers.errors import UserError
from medclip.data.transforms import ViewAugmentation, resize, view_pipeline
from medclip.models.vision_names import vision_tower
from medclip.training.methods import mae
from medclip.training.methods._base import Method, Start
from medclip.training.methods.mae import MAE, reconstruction
from medclip.training.methods.mocov2 import MoCoV2
from medclip.training.methods.mocov3 import MoCoV3, against_batch
from medclip.training.methods.rotation import turned
from medclip.utils.plugins import load_plugin, plugin_names

SIDE = 32


def cosine(a: Tensor, b: Tensor) -> float:
    return float(functional.cosine_similarity(a, b, dim=0))


def start(vision: str = "small", *, side: int = SIDE) -> Start:
    tower, features = vision_tower(vision, image_size=side)
    return Start(tower, features, side, 40)


def views(count: int = 2, images: int = 6) -> list[Tensor]:
    return list(torch.randn(count, images, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1)))


def test_simclr_is_its_equation() -> None:
    """Equation 1 of Chen et al. 2020, a sum over both directions of every pair of views."""
    first, second = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    both, total = [*first, *second], 0.0
    for i, view in enumerate(both):
        partner = both[(i + 5) % 10]
        others = sum(math.exp(cosine(view, other) / 0.1) for k, other in enumerate(both) if k != i)
        total -= math.log(math.exp(cosine(view, partner) / 0.1) / others)
    assert float(NTXentLoss(0.1)(first, second)) == pytest.approx(total / 10, rel=1e-4)


def test_mocov2_is_its_equation_and_its_queue_moves_on() -> None:
    """Equation 1 of He et al. 2020: the key of the same image against those of the queue."""
    torch.manual_seed(0)
    method = MoCoV2(start(), queue=12, output_dim=8)
    queue = method.loss.memory_bank.bank.clone()
    queries, keys = torch.randn(2, 6, 8)
    total = 0.0
    for query, key in zip(queries, keys, strict=True):
        own = math.exp(cosine(query, key) / 0.2)
        total -= math.log(own / (own + sum(math.exp(cosine(query, old) / 0.2) for old in queue)))
    assert float(method.loss(queries.requires_grad_(), keys).detach()) == pytest.approx(total / 6, rel=1e-4)
    moved = method.loss.memory_bank.bank
    torch.testing.assert_close(moved[:6], functional.normalize(keys, dim=1))
    assert torch.equal(moved[6:], queue[6:])
    assert {name for name in method.state_dict() if "memory_bank" in name} == {
        "loss.memory_bank.bank", "loss.memory_bank.bank_ptr",
    }  # fmt: skip


def test_queue_is_half_as_long_as_there_are_images() -> None:
    assert len(MoCoV2(start()).loss.memory_bank.bank) == 20


def test_mocov3_is_its_equation() -> None:
    """Equation 1 of Chen et al. 2021, times twice the temperature as in its algorithm 1."""
    queries, keys = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    total = 0.0
    for i, query in enumerate(queries):
        near = [math.exp(cosine(query, key) / 0.3) for key in keys]
        total -= math.log(near[i] / sum(near))
    assert float(against_batch(queries, keys, 0.3)) == pytest.approx(2 * 0.3 * total / 5, rel=1e-4)


def test_dino_is_its_equation_and_its_centre_follows() -> None:
    """Equation 3 of Caron et al. 2021: every view of the slow copy against every other one of the student."""
    loss = DINOLoss(4, student_temp=0.1)
    loss.center += torch.tensor([0.1, -0.2, 0.3, 0.0])
    centre = loss.center.clone().flatten()
    teachers, students = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    total, terms = 0.0, 0
    for t, teacher in enumerate(teachers):
        for s, student in enumerate(students):
            for row in range(3) if t != s else ():
                wanted = torch.softmax((teacher[row] - centre) / 0.04, dim=0)
                total -= float((wanted * torch.log_softmax(student[row] / 0.1, dim=0)).sum())
                terms += 1
    assert float(loss(list(teachers), list(students), teacher_temp=0.04)) == pytest.approx(total / terms, rel=1e-4)
    torch.testing.assert_close(loss.center.flatten(), 0.9 * centre + 0.1 * teachers.mean(dim=(0, 1)))


def test_reconstruction_is_the_error_of_the_pixels_that_were_left_out() -> None:
    images, said = torch.rand(2, 1, 8, 8), torch.rand(2, 3, 16)
    masked, total = torch.tensor([[0, 1, 3], [2, 3, 0]]), 0.0
    for image in range(2):
        for k, patch in enumerate(masked[image].tolist()):
            row, column = divmod(patch, 2)
            pixels = images[image, 0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].flatten()
            pixels = (pixels - pixels.mean()) / (pixels.var() + 1e-6).sqrt()
            total += float(((said[image, k] - pixels) ** 2).mean())
    assert float(reconstruction(said, images, masked, patch=4, normalised=True)) == pytest.approx(total / 6, rel=1e-4)


@pytest.mark.parametrize("vision", ["small-vit", "timm:test_vit", "timm:vit_tiny_patch16_224"])
def test_patches_that_are_left_out_do_not_reach_the_tower(vision: str) -> None:
    """Whatever the pixels there, the tower says the same of the others."""
    torch.manual_seed(0)
    side = 64
    method = MAE(start(vision, side=side), normalised=False).eval()
    images, drawn = torch.rand(3, 1, side, side), []
    for changed in (False, True):
        torch.manual_seed(5)
        with torch.no_grad():
            keep, masked = mae.random_token_mask((3, method.patches), method.mask, True)
            if changed:
                patches = mae.patchify(images, method.patch)
                patches = mae.set_at_index(patches, masked, torch.rand(3, masked.shape[1], patches.shape[2]))
                grid = side // method.patch
                shape = (3, grid, grid, method.patch, method.patch)
                images = patches.reshape(shape).permute(0, 1, 3, 2, 4).reshape(3, 1, side, side)
            drawn.append(mae.encode(method.tower, images, keep, method.before))
    torch.testing.assert_close(drawn[0], drawn[1])


@pytest.mark.parametrize("vision", ["small", "timm:test_resnet", "timm:mixer_s32_224"])
def test_mae_says_that_it_needs_a_vision_transformer(vision: str) -> None:
    with pytest.raises(UserError, match=r"--method mae needs a vision transformer.*small-vit"):
        MAE(start(vision, side=64))


def test_turns_are_quarters_to_the_left() -> None:
    images = torch.arange(8.0).reshape(2, 1, 2, 2)
    found = turned(images, torch.tensor([1, 2]))
    np.testing.assert_array_equal(found[0, 0], np.rot90(images[0, 0].numpy()))
    np.testing.assert_array_equal(found[1, 0], np.rot90(images[1, 0].numpy(), 2))


@pytest.mark.parametrize("name", plugin_names("training.methods"))
def test_every_method_trains_its_tower_and_follows_with_its_copy(name: str) -> None:
    torch.manual_seed(0)
    begin = start("small-vit" if name == "mae" else "small")
    method: Method = load_plugin("training.methods", name)(begin)
    slow: Any = getattr(method, "slow", None)
    kept = None if slow is None else [p.clone() for p in slow.parameters()]
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    before = [p.clone() for p in begin.tower.parameters()]
    for _ in range(2):
        terms = method(views(method.views), progress=0.5)
        optimizer.zero_grad()
        terms["loss"].backward()
        method.after_backward(progress=0.5)
        optimizer.step()
    gradients = [p.grad for p in begin.tower.parameters() if p.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(not torch.equal(a, b) for a, b in zip(before, begin.tower.parameters(), strict=True))
    if slow is not None:
        assert all(p.grad is None for p in slow.parameters())
        assert any(not torch.equal(a, b) for a, b in zip(kept, slow.parameters(), strict=True))


def test_slow_copies_follow_by_their_momentum() -> None:
    torch.manual_seed(0)
    method = MoCoV3(start(), momentum=0.9)
    fast, slow = next(method.tower.parameters()), next(method.slow.parameters())
    with torch.no_grad():
        fast += 1
    before = slow.clone()
    method(views(), progress=0.0)
    torch.testing.assert_close(slow, 0.9 * before + 0.1 * fast)
    before = slow.clone()
    method(views(), progress=1.0)  # the momentum has risen to 1
    torch.testing.assert_close(slow, before)


def test_crops_keep_the_finding_and_nothing_is_upside_down() -> None:
    """A spot anywhere in the middle three fifths of a film is in nearly all views; photographs' crops would lose it."""
    rng, kept = np.random.default_rng(0), {0.5: 0, 0.08: 0}
    films = np.full((200, 64, 64), 40, dtype=np.uint8)
    for film in films:
        row, column = rng.integers(13, 51, size=2)
        film[row - 2 : row + 3, column - 2 : column + 3] = 255
    for area in kept:
        pipeline = view_pipeline(64, ViewAugmentation(area=area, jitter=0, blur=0))
        pipeline.set_random_seed(0)
        kept[area] = int((resize(pipeline, films).max(axis=(1, 2)) > 200).sum())
    assert kept[0.5] >= 190
    assert kept[0.08] < 160
    top = np.zeros((50, 64, 64), dtype=np.uint8)
    top[:, :16] = 255
    found = resize(view_pipeline(64, ViewAugmentation(jitter=0)), top)
    above, below = found[:, :32].mean(axis=(1, 2)), found[:, 32:].mean(axis=(1, 2))
    assert (above >= below).all()
    assert (above > below).sum() > 40
