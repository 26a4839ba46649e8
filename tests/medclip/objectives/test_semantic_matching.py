from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from medclip.encoded import Encoded
from medclip.objectives._targets import label_similarity
from medclip.objectives.semantic_matching import SemanticMatching


def encoded(seed: int, count: int, *, labels: bool = True) -> Encoded:
    generator = torch.Generator().manual_seed(seed)
    embeds = functional.normalize(torch.randn(count, 6, generator=generator, dtype=torch.float64), dim=1)
    states = torch.randint(-1, 2, (count, 4), generator=generator).double()
    return Encoded(embeds.requires_grad_(), labels=states if labels else None)


def naive(images: Encoded, texts: Encoded, scale: float, *, similarity: str, temperature: float) -> float:
    """The paper's equations, written as loops."""
    count_i, count_t = len(images), len(texts)
    logits, agree = np.zeros((count_i, count_t)), np.zeros((count_i, count_t))
    for i in range(count_i):
        for t in range(count_t):
            logits[i, t] = scale * float(images.embeds[i] @ texts.embeds[t])
            a, b = images.labels[i].numpy(), texts.labels[t].numpy()
            norm = np.linalg.norm(a) * np.linalg.norm(b) if similarity == "cosine" else 1.0
            agree[i, t] = (a @ b) / norm / temperature if norm else 0.0

    def direction(logits: np.ndarray, agree: np.ndarray) -> float:
        total = 0.0
        for row, wanted in zip(logits, agree, strict=True):
            target = np.exp(wanted) / np.exp(wanted).sum()
            total -= float((target * (row - math.log(np.exp(row).sum()))).sum())
        return total / len(logits)

    return (direction(logits, agree) + direction(logits.T, agree.T)) / 2


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("temperature", [1.0, 0.2])
@pytest.mark.parametrize("sizes", [(5, 5), (3, 7), (1, 4)])
def test_it_agrees_with_a_naive_loop(similarity: str, temperature: float, sizes: tuple[int, int]) -> None:
    images, texts = encoded(0, sizes[0]), encoded(1, sizes[1])
    objective = SemanticMatching(similarity=similarity, target_temperature=temperature)
    found = objective(images, texts, torch.tensor(14.0))["loss"].item()
    assert found == pytest.approx(naive(images, texts, 14.0, similarity=similarity, temperature=temperature))


def test_pairs_without_a_common_observation_are_left_out() -> None:
    """A loop over the pairs that count; claims of which the image says nothing do not count."""
    images, texts = encoded(0, 5), encoded(1, 7)
    images.labels[:3, :2], images.labels[:3, 2:] = 1, 0  # three images are labelled for two of the four observations
    images.labels[3:, 3] = 1
    texts.labels[0], texts.labels[0, 3], texts.labels[1:, 0] = 0, 1, -1
    found = SemanticMatching(similarity="claims", target_temperature=0.5, unknown="mask")(
        images, texts, torch.tensor(3.0)
    )["loss"].item()
    a, b = images.labels.numpy(), texts.labels.numpy()
    logits = 3.0 * (images.embeds @ texts.embeds.T).detach().numpy()
    both = np.array([[((x != 0) & (y != 0)).sum() for y in b] for x in a])
    agree = np.divide(a @ b.T, both, where=both > 0, out=np.zeros(both.shape)) / 0.5

    def direction(logits: np.ndarray, agree: np.ndarray, both: np.ndarray) -> float:
        total = 0.0
        for row, wanted, counts in zip(logits, agree, both > 0, strict=True):
            target = np.exp(wanted[counts]) / np.exp(wanted[counts]).sum()
            total -= float((target * (row[counts] - math.log(np.exp(row[counts]).sum()))).sum())
        return total / len(logits)

    assert (both == 0).any()
    assert (both > 0).any(axis=0).all()
    assert (both > 0).any(axis=1).all()
    assert found == pytest.approx((direction(logits, agree, both) + direction(logits.T, agree.T, both.T)) / 2)


@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
@pytest.mark.parametrize("similarity", ["cosine", "claims"])
def test_labels_that_are_complete_have_nothing_to_mask(form: str, similarity: str) -> None:
    images, texts = encoded(0, 5), encoded(1, 7)
    for side in (images, texts):
        side.labels[side.labels == 0] = 1
    losses = [
        SemanticMatching(form=form, similarity=similarity, unknown=unknown)(images, texts, torch.tensor(3.0))["loss"]
        for unknown in ("differ", "mask")
    ]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-9)


def test_a_row_that_has_nothing_in_common_with_the_others_teaches_nothing() -> None:
    images, texts = encoded(0, 3), encoded(1, 4)
    images.labels[0] = 0
    SemanticMatching(unknown="mask")(images, texts, torch.tensor(3.0))["loss"].backward()
    assert (images.embeds.grad[0] == 0).all()
    assert torch.isfinite(images.embeds.grad).all()


def test_by_hand_two_images_two_texts() -> None:
    same = Encoded(torch.eye(2), labels=torch.eye(2))
    terms = SemanticMatching()(same, same, torch.tensor(1.0))
    # Logits equal similarities, so the loss is the entropy of (e, 1) / (e + 1) and the excess is zero.
    p = math.e / (math.e + 1)
    assert terms["loss"].item() == pytest.approx(-p * math.log(p) - (1 - p) * math.log(1 - p))
    assert terms["excess"].item() == pytest.approx(0, abs=1e-6)


def test_swapping_the_sides_changes_nothing() -> None:
    images, texts, scale = encoded(0, 4), encoded(1, 6), torch.tensor(5.0)
    objective = SemanticMatching()
    assert objective(images, texts, scale)["loss"].item() == pytest.approx(
        objective(texts, images, scale)["loss"].item()
    )


def test_rows_without_any_label_want_a_uniform_distribution_and_keep_gradients_finite() -> None:
    images, texts = encoded(0, 3), encoded(1, 3)
    silent = Encoded(images.embeds, labels=torch.zeros(3, 4, dtype=torch.float64))
    loss = SemanticMatching()(silent, texts, torch.tensor(5.0))["loss"]
    loss.backward()
    assert torch.isfinite(images.embeds.grad).all()


def test_labels_are_needed() -> None:
    with pytest.raises(ValueError, match="label vectors"):
        SemanticMatching()(encoded(0, 2, labels=False), encoded(1, 2), torch.tensor(1.0))


@pytest.mark.parametrize("options", [{"similarity": "euclid"}, {"target_temperature": 0.0}])
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="semantic_matching"):
        SemanticMatching(**options)


def test_pairs_are_found_among_pairs_and_the_rest_is_matched() -> None:
    """Loops: semantic matching over the texts that are nobody's, InfoNCE over those that belong to an image."""
    images, texts = encoded(0, 5), encoded(1, 7)
    images, texts = (
        replace(images, study_ids=torch.tensor([3, 4, 5, -1, 4])),
        replace(texts, study_ids=torch.tensor([3, 4, 5, -1, -1, -1, -1]), ids=torch.tensor([0, 1, 0, 2, 0, 3, 4])),
    )
    found = SemanticMatching(similarity="cosine", target_temperature=0.2, pair_loss=0.7)(
        images, texts, torch.tensor(14.0)
    )
    alone = Encoded(texts.embeds[3:], labels=texts.labels[3:])
    matching = naive(images, alone, 14.0, similarity="cosine", temperature=0.2)
    logits = 14.0 * (images.embeds @ texts.embeds.T).detach().numpy()
    # Images 1 and 4 are of one study; texts 0 and 2 are the same word for word, so either is right for images 0 and 2.
    right = {0: [0, 2], 1: [1], 2: [0, 2], 4: [1]}

    def loss(row: np.ndarray, columns: list[int], among: list[int]) -> float:
        return float(np.mean([math.log(np.exp(row[among]).sum()) - row[c] for c in columns]))

    forward = np.mean([loss(logits[i], columns, [0, 1, 2]) for i, columns in right.items()])
    owners = {t: [i for i, columns in right.items() if t in columns] for t in (0, 1, 2)}
    backward = np.mean([loss(logits[:, t], rows, [0, 1, 2, 4]) for t, rows in owners.items()])
    assert found["pairs"].item() == pytest.approx((forward + backward) / 2)
    assert found["loss"].item() == pytest.approx(matching + 0.7 * found["pairs"].item())


def test_a_batch_without_pairs_has_no_loss_of_pairs() -> None:
    images = replace(encoded(0, 3), study_ids=torch.tensor([1, 2, 3]))
    texts = replace(encoded(1, 4), study_ids=torch.tensor([-1] * 4))
    terms = SemanticMatching(pair_loss=1.0)(images, texts, torch.tensor(5.0))
    assert terms["pairs"] == 0
    assert terms["loss"] == SemanticMatching()(images, texts, torch.tensor(5.0))["loss"]


@pytest.mark.parametrize("options", [{"pair_weight": 0.5}, {"form": "sigmoid"}])
def test_a_loss_of_pairs_is_not_mixed_with_other_forms(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="pair_loss"):
        SemanticMatching(pair_loss=0.5, **options)


def test_ranking_is_the_loop_over_true_and_false_pairs() -> None:
    images, texts = encoded(0, 6), encoded(1, 9)
    scale = torch.tensor(4.0)
    found = SemanticMatching(similarity="claims", target_temperature=0.2, ranking=0.6)(images, texts, scale)
    without = SemanticMatching(similarity="claims", target_temperature=0.2)(images, texts, scale)
    assert images.labels is not None
    assert texts.labels is not None
    like = label_similarity(images.labels, texts.labels, kind="claims")
    logits = scale * images.embeds @ texts.embeds.T

    def loop(like: torch.Tensor, logits: torch.Tensor) -> float:
        rows = []
        for similar, row in zip(like, logits, strict=True):
            pairs = [math.exp(b - a) for a, s in zip(row, similar, strict=True) if s > 0
                     for b, t in zip(row, similar, strict=True) if t < 0]  # fmt: skip
            if pairs:
                rows.append(math.log1p(sum(pairs) / len(pairs)))
        return sum(rows) / len(rows)

    expected = (loop(like, logits) + loop(like.T, logits.T)) / 2
    assert found["ranking"].item() == pytest.approx(expected, rel=1e-4)
    assert (found["loss"] - without["loss"]).item() == pytest.approx(0.6 * expected, rel=1e-4)


def test_ranking_of_batches_without_contradiction_is_zero_and_has_gradients() -> None:
    images, texts = encoded(0, 3), encoded(1, 4)
    assert images.labels is not None
    assert texts.labels is not None
    agreed = replace(images, labels=images.labels.abs()), replace(texts, labels=texts.labels.abs())
    scale = torch.tensor(2.0, requires_grad=True)
    terms = SemanticMatching(similarity="claims", ranking=1.0)(*agreed, scale)
    assert terms["ranking"].item() == 0
    terms["loss"].backward()
    assert scale.grad is not None
    assert torch.isfinite(scale.grad)


@pytest.mark.parametrize("options", [{"ranking": -1.0}, {"ranking": 0.5, "form": "sigmoid"}])
def test_a_ranking_that_cannot_be_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="ranking"):
        SemanticMatching(**options)


def test_classification_is_a_head_on_what_is_known_of_images() -> None:
    images, texts = encoded(0, 6), encoded(1, 7)
    objective = SemanticMatching(classification=0.3).double()
    objective.begin(dim=6, prevalence=torch.full((4,), 0.2))
    objective.double()
    assert images.labels is not None
    images.labels[0, 0] = 0.5
    scale = torch.tensor(4.0)
    found, without = objective(images, texts, scale), SemanticMatching()(images, texts, scale)
    each = []
    for embed, labels in zip(images.embeds, images.labels, strict=True):
        for weights, bias, label in zip(objective.head.weight, objective.head.bias, labels, strict=True):
            if label:
                chance = 1 / (1 + math.exp(-float(weights @ embed * math.sqrt(6) + bias)))
                target = max(float(label), 0.0)
                each.append(-target * math.log(chance) - (1 - target) * math.log(1 - chance))
    assert found["classification"].item() == pytest.approx(sum(each) / len(each))
    assert (found["loss"] - without["loss"]).item() == pytest.approx(0.3 * sum(each) / len(each))
    parts = [objective(replace(images, own=rows), texts, scale) for rows in (slice(0, 3), slice(3, 6))]
    together = sum(part["classification"].item() for part in parts) / 2
    assert together == pytest.approx(found["classification"].item())
    unlabelled = replace(images, labels=torch.zeros_like(images.labels))
    assert objective(unlabelled, texts, scale)["classification"].item() == 0
    with pytest.raises(ValueError, match="classification is a weight"):
        SemanticMatching(classification=-1)
