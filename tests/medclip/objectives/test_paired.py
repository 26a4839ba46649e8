from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from medclip.encoded import Encoded
from medclip.objectives import gloria as gloria_module
from medclip.objectives.clip import Clip
from medclip.objectives.convirt import Convirt
from medclip.objectives.filip import Filip, tokenwise_similarity
from medclip.objectives.gloria import Gloria, local_similarity, word_attention
from medclip.objectives.moco import Moco
from medclip.objectives.semantic_matching import SemanticMatching
from medclip.objectives.siglip import Siglip
from medclip.utils.plugins import load_plugin, plugin_names

PAIRED = [name for name in plugin_names("objectives") if load_plugin("objectives", name).needs_pairs]


def encoded(seed: int, count: int = 4, *, words: int = 0, dim: int = 6) -> Encoded:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    mask = torch.arange(5) < torch.tensor([5, 2, 1, 3, 4, 5])[:count, None] if words else None
    return Encoded(
        functional.normalize(random(count, dim), dim=1).requires_grad_(),
        local=random(count, 5 if words else 9, dim).requires_grad_(),
        mask=mask,
        labels=torch.randint(-1, 2, (count, 3), generator=generator).double(),
        study_ids=torch.arange(count),
        keys=functional.normalize(random(count, dim), dim=1),
    )


def build(name: str):
    objective = load_plugin("objectives", name)()
    objective.begin(dim=6, prevalence=torch.tensor([0.5, 0.2, 0.1], dtype=torch.float64))
    return objective.double()


@pytest.mark.parametrize("name", PAIRED)
def test_unpaired_batches_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}.*4 and 3"):
        build(name)(encoded(0), encoded(1, 3, words=1), torch.tensor(10.0))


@pytest.mark.parametrize("how", ["one study", "one text"])
@pytest.mark.parametrize("name", PAIRED)
def test_what_is_also_true_of_an_image_is_no_negative(name: str, how: str) -> None:
    images, texts = encoded(0), encoded(1, words=1)
    before = build(name)(images, texts, torch.tensor(5.0))["loss"]
    same = torch.tensor([0, 1, 0, 3])
    if how == "one study":
        images, texts = replace(images, study_ids=same), replace(texts, study_ids=same)
    else:
        texts = replace(texts, ids=same)
    assert build(name)(images, texts, torch.tensor(5.0))["loss"] < before


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_clip_with_a_repeated_text_equals_a_loop_without_it(smoothing: float) -> None:
    images, texts = encoded(0), replace(encoded(1), ids=torch.tensor([7, 8, 7, 9]))
    logits = (5 * images.embeds @ texts.embeds.T).detach()
    columns = {0: [0, 1, 3], 1: [1, 0, 2, 3], 2: [2, 1, 3], 3: [3, 0, 1, 2]}  # the partner first
    rows = [
        functional.cross_entropy(side[i, columns[i]][None], torch.tensor([0]), label_smoothing=smoothing)
        for side in (logits, logits.T)
        for i in range(4)
    ]
    loss = Clip(smoothing=smoothing)(images, texts, torch.tensor(5.0))["loss"]
    torch.testing.assert_close(loss, torch.stack(rows).mean())


def test_keys_of_the_same_study_in_the_queue_are_no_negatives() -> None:
    objective = Moco(queue=6)
    objective.begin(dim=6, prevalence=torch.zeros(3, dtype=torch.float64))
    objective.double()
    images, texts = encoded(0), encoded(1)
    objective(images, texts, torch.tensor(5.0))
    logits = (5 * images.embeds @ texts.keys.T).detach()
    others = logits.masked_fill(torch.eye(4, dtype=torch.bool), -torch.inf)  # queued: these very studies
    wanted = functional.cross_entropy(torch.cat([logits, others], dim=1), torch.arange(4))
    torch.testing.assert_close(objective(images, texts, torch.tensor(5.0))["image_to_text"], wanted)


@pytest.mark.parametrize("kind", ["cosine", "dot", "claims"])
def test_half_precision_never_reaches_the_logits(kind: str) -> None:
    images, texts = encoded(0), encoded(1)
    images, texts = (
        replace(side, embeds=side.embeds.detach().float(), labels=side.labels.float()) for side in (images, texts)
    )
    losses = []
    for halved in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=halved):
            terms = SemanticMatching(similarity=kind)(images, texts, torch.tensor(100.0))
            losses.append((terms["loss"], Clip()(images, texts, torch.tensor(100.0))["loss"]))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", plugin_names("objectives"))
def test_partners_that_agree_cost_less(name: str) -> None:
    images, texts = encoded(0), encoded(1, words=1)
    right = Encoded(images.embeds, texts.local, texts.mask, labels=images.labels, keys=images.keys)
    wrong = Encoded(images.embeds.flip(0), texts.local.flip(0), texts.mask.flip(0), labels=images.labels,
                    keys=images.keys.flip(0))  # fmt: skip
    # Patches that hold the words of their own text: the local objectives must see that too.
    seen = Encoded(images.embeds, right.local.repeat(1, 2, 1)[:, :9], labels=images.labels, keys=images.keys)
    objective = build(name)
    good, bad = (float(objective(seen, side, torch.tensor(10.0))["loss"].detach()) for side in (right, wrong))
    assert good < bad


@pytest.mark.parametrize("name", plugin_names("objectives"))
def test_own_rows_of_all_processes_are_the_whole(name: str) -> None:
    """The mean over processes that each compute their own rows is what one process computes."""
    images, texts = encoded(0), encoded(1, words=1)
    whole = build(name).eval()(images, texts, torch.tensor(10.0))["loss"]
    if name in ("gloria", "filip"):  # computed whole by every process
        return
    parts = []
    for rank in range(2):
        own = slice(2 * rank, 2 * rank + 2)
        sides = [Encoded(**{**vars(side), "own": own}) for side in (images, texts)]
        parts.append(build(name).eval()(*sides, torch.tensor(10.0))["loss"])
    torch.testing.assert_close((parts[0] + parts[1]) / 2, whole)


def test_clip_is_the_cross_entropy_of_the_diagonal() -> None:
    images, texts = encoded(0), encoded(1)
    total = 0.0
    for i in range(4):
        rows = [3.0 * float(images.embeds[i] @ texts.embeds[t]) for t in range(4)]
        columns = [3.0 * float(images.embeds[t] @ texts.embeds[i]) for t in range(4)]
        for logits in (rows, columns):
            total -= logits[i] - math.log(sum(math.exp(x) for x in logits))
    assert float(Clip()(images, texts, torch.tensor(3.0))["loss"].detach()) == pytest.approx(total / 8)


def test_convirt_weighs_its_directions() -> None:
    images, texts = encoded(0), encoded(1)
    terms = Convirt(image_weight=0.75)(images, texts, torch.tensor(99.0))
    expected = 0.75 * terms["image_to_text"] + 0.25 * terms["text_to_image"]
    torch.testing.assert_close(terms["loss"].detach(), expected)


def test_siglip_by_hand() -> None:
    images, texts = encoded(0), encoded(1)
    total = 0.0
    for i in range(4):
        for t in range(4):
            logit = 10 * float(images.embeds[i] @ texts.embeds[t]) - 10
            total += math.log1p(math.exp(-logit if i == t else logit))
    assert float(Siglip()(images, texts, torch.tensor(10.0))["loss"].detach()) == pytest.approx(total / 4)


@pytest.mark.parametrize("chunk", [1, 200, 2**25])
def test_filip_is_a_mean_of_maxima_without_padding(chunk: int) -> None:
    images, texts = encoded(0), encoded(1, words=1)
    to_texts, to_images = tokenwise_similarity(images.local, texts.local, texts.mask, chunk=chunk)
    for i in range(4):
        for t in range(4):
            tokens = functional.normalize(texts.local[t][texts.mask[t]], dim=1)
            cosine = functional.normalize(images.local[i], dim=1) @ tokens.T
            torch.testing.assert_close(to_texts[i, t], cosine.max(dim=1).values.mean())
            torch.testing.assert_close(to_images[i, t], cosine.max(dim=0).values.mean())


def test_filip_ignores_what_padding_holds() -> None:
    images, texts = encoded(0), encoded(1, words=1)
    other = Encoded(texts.embeds, local=torch.where(texts.mask[..., None], texts.local, 100.0), mask=texts.mask)
    losses = [Filip()(images, side, torch.tensor(5.0))["loss"] for side in (texts, other)]
    torch.testing.assert_close(*losses)


def gloria_loop(regions: torch.Tensor, words: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The local similarity, one image and one text at a time, with the attended context written out."""
    rows = []
    for image in regions:
        row = []
        for text, valid in zip(words, mask, strict=True):
            own = text[valid]
            attention = (4 * (own @ image.T).softmax(dim=0)).softmax(dim=1)  # (W, P)
            cosine = functional.cosine_similarity(own, attention @ image, dim=1)
            row.append((5 * cosine).exp().sum().log())
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("keep", [0, 2**27])
@pytest.mark.parametrize("step", [1, 2**20])
def test_gloria_is_its_loop(keep: int, step: int, monkeypatch) -> None:
    monkeypatch.setitem(gloria_module.STEP, "cpu", step)
    results = []
    for way in (gloria_loop, lambda *x: local_similarity(*x, keep=keep)):
        images, texts = encoded(0), encoded(1, words=1)
        similarity = way(images.local, texts.local, texts.mask)
        (similarity * torch.arange(16.0, dtype=torch.float64).view(4, 4)).sum().backward()
        results.append((similarity.detach(), images.local.grad, texts.local.grad))
    torch.testing.assert_close(results[0], results[1])


def test_gloria_gradient_is_the_numerical_one() -> None:
    images, texts = encoded(0, 2), encoded(1, 3, words=1)
    assert torch.autograd.gradcheck(lambda r, w: local_similarity(r, w, texts.mask), (images.local, texts.local))


def test_attention_of_a_word_sums_to_one() -> None:
    images, texts = encoded(0), encoded(1, words=1)
    attention = word_attention(images.local, texts.local, texts.mask)
    torch.testing.assert_close(attention.sum(dim=2), texts.mask.double())


def test_gloria_adds_its_parts() -> None:
    terms = Gloria(global_weight=0.5, local_weight=2.0)(encoded(0), encoded(1, words=1), torch.tensor(1.0))
    torch.testing.assert_close(terms["loss"].detach(), 0.5 * terms["global"] + 2 * terms["local"])


@pytest.mark.parametrize("kind", [Gloria, Filip])
def test_local_features_are_asked_for(kind) -> None:
    with pytest.raises(ValueError, match="local features"):
        kind()(Encoded(torch.ones(2, 3)), Encoded(torch.ones(2, 3)), torch.tensor(1.0))


def test_moco_starts_as_clip_with_keys_and_its_queue_adds_negatives() -> None:
    objective = Moco(queue=6)
    objective.begin(dim=6, prevalence=torch.zeros(3, dtype=torch.float64))
    objective.double()
    images, texts = encoded(0), encoded(1)
    first = objective(images, texts, torch.tensor(5.0))["image_to_text"]
    logits = 5 * images.embeds @ texts.keys.T
    torch.testing.assert_close(first, functional.cross_entropy(logits, torch.arange(4)).detach())
    assert int(objective.filled) == 4
    others = [replace(side, study_ids=torch.arange(4, 8)) for side in (images, texts)]
    second = objective(*others, torch.tensor(5.0))["image_to_text"]
    more = torch.cat([logits, 5 * images.embeds @ texts.keys.T], dim=1)
    torch.testing.assert_close(second, functional.cross_entropy(more, torch.arange(4)).detach())
    assert int(objective.filled) == 6
    torch.testing.assert_close(objective.text_queue[:4], texts.keys)
    objective.eval()(images, texts, torch.tensor(5.0))
    assert int(objective.filled) == 6


def test_moco_gradients_stay_finite_with_an_empty_queue() -> None:
    objective = Moco()
    objective.begin(dim=6, prevalence=torch.zeros(3))
    scale = torch.tensor(5.0, requires_grad=True)
    images = encoded(0)
    objective.double()(images, encoded(1), scale)["loss"].backward()
    assert torch.isfinite(scale.grad)
    assert torch.isfinite(images.embeds.grad).all()


def test_rare_observations_count_more() -> None:
    objective = SemanticMatching(rarity=1.0)
    objective.begin(dim=6, prevalence=torch.tensor([0.5, 0.05]))
    both = torch.tensor([[1.0, 1.0]])
    common, rare = (objective.label_similarity(both, torch.tensor([row])) for row in ([1.0, 0.0], [0.0, 1.0]))
    assert float(rare) > 2 * float(common)


def test_pairs_take_their_share_of_the_target() -> None:
    objective = SemanticMatching(pair_weight=0.4)
    target = torch.full((2, 4), 0.25)
    own = torch.tensor([[True, False, True, False], [False] * 4])
    found = objective.with_pairs(target, own)
    torch.testing.assert_close(found[0], torch.tensor([0.35, 0.15, 0.35, 0.15]))
    torch.testing.assert_close(found[1], target[1])


@pytest.mark.parametrize("options", [{"form": "sigmoid"}, {"self_trust": 0.3}, {"similarity": "claims"}])
def test_options_train(options: dict[str, object]) -> None:
    images, texts = encoded(0), encoded(1, 3)
    terms = SemanticMatching(**options).double()(images, texts, torch.tensor(5.0))
    terms["loss"].backward()
    assert torch.isfinite(images.embeds.grad).all()
    assert float(terms["excess"]) >= 0


@pytest.mark.parametrize(
    "options", [{"form": "hinge"}, {"rarity": -1.0}, {"pair_weight": 2.0}, {"self_trust": 1.0}, {"similarity": "l2"}]
)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="semantic_matching"):
        SemanticMatching(**options)


@pytest.mark.parametrize(
    ("kind", "options"),
    [(Clip, {"smoothing": 1.0}), (Convirt, {"temperature": 0.0}), (Gloria, {"temperature": 0}), (Moco, {"queue": 0})],
)
def test_wrong_options_of_rivals_are_refused(kind, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=kind.__name__.lower()):
        kind(**options)
