"""Targets and the arithmetic that objectives share. Pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from labelers.errors import UserError
from medclip.encoded import Encoded

SIMILARITIES = ("cosine", "dot", "claims")
#: A logit that has no part in a softmax, and gives no NaN where it is multiplied by a target of 0.
MASKED = -1e9


def product(rows: Tensor, columns: Tensor) -> Tensor:
    """Returns `rows` (N, D) times the transpose of `columns` (M, D), in single precision also under autocast.

    Scaled logits reach 100, where half precision has steps of 0.5.
    """
    kind = torch.promote_types(rows.dtype, torch.float32)
    with torch.autocast(rows.device.type, enabled=False):
        return rows.to(kind) @ columns.to(kind).T


def label_similarity(
    image_labels: Tensor,
    text_labels: Tensor,
    *,
    kind: str = "cosine",
    weights: Tensor | None = None,
    known_only: bool = False,
) -> Tensor:
    """Returns the similarity (I, T) of label vectors (I, O) and (T, O).

    "cosine" is the paper's (MedCLIP, section 3.3, the equation of the semantic similarity); a vector without any
    claim is unlike everything, similarity 0. "dot" is what the official code computes instead. "claims" is the share
    of what the text claims that holds for the image, less the share that it contradicts: an image with many
    observations is then as near to a sentence about one of them as an image with that one alone. An uncertain claim
    of 0.5 counts half under "dot" and "claims"; "cosine" does not see it in a text that claims nothing else.

    Args:
        image_labels: Label vectors of images.
        text_labels: Label vectors of texts.
        kind: One of `SIMILARITIES`.
        weights: (O,) weight of each observation; equal ones if None.
        known_only: Whether "claims" counts those claims only of which the image says something.

    Raises:
        UserError: `kind` is unknown.
    """
    if kind == "claims":
        weights = torch.ones_like(text_labels[0]) if weights is None else weights
        said = (text_labels != 0).to(weights.dtype)
        if known_only:
            claimed = product((image_labels != 0).to(weights.dtype) * weights, said)  # (I, T)
        else:
            claimed = product(said, weights[None])[:, 0]  # (T,)
        return product(image_labels * weights, text_labels) / claimed.clamp(min=1e-12)
    if weights is not None:
        image_labels, text_labels = image_labels * weights.sqrt(), text_labels * weights.sqrt()
    if kind == "cosine":
        return product(functional.normalize(image_labels, dim=1), functional.normalize(text_labels, dim=1))
    if kind == "dot":
        return product(image_labels, text_labels)
    raise UserError(f"Label similarity {kind!r} is unknown. Choose one of: {', '.join(SIMILARITIES)}.")


def speak_of_the_same(image_labels: Tensor, text_labels: Tensor) -> Tensor:
    """Returns (I, T), true where label vectors (I, O) and (T, O) have an observation in common that both speak of."""
    return product((image_labels != 0).float(), (text_labels != 0).float()) > 0


def same_study(images: Encoded, texts: Encoded) -> Tensor:
    """Returns (I, T), true where image and text belong to one study."""
    assert images.study_ids is not None and texts.study_ids is not None
    return (images.study_ids[:, None] == texts.study_ids[None, :]) & (images.study_ids[:, None] >= 0)


def cosines(images: Encoded, texts: Encoded) -> tuple[Tensor, Tensor]:
    """Returns the cosines of images to texts (I, T) and of texts to images (T, I), for own rows."""
    if images.own is None and texts.own is None:
        forward = product(images.embeds, texts.embeds)
        return forward, forward.T
    return product(images.embeds[images.rows], texts.embeds), product(texts.embeds[texts.rows], images.embeds)


def own_positions(encoded: Encoded) -> Tensor:
    """Returns which of all N rows the computed ones are: in paired batches, the column of each row's partner."""
    return torch.arange(len(encoded), device=encoded.embeds.device)[encoded.rows]


def no_negatives(images: Encoded, texts: Encoded) -> Tensor:
    """Returns (N, N), true where image i and text k are not partners, yet text k is also true of image i.

    That is so where both belong to one study (a frontal and a lateral image of one report), and where text k says
    word for word what text i says.
    """
    count, device = len(images), images.embeds.device
    also = torch.zeros(count, count, dtype=torch.bool, device=device)
    if images.study_ids is not None and texts.study_ids is not None:
        also |= same_study(images, texts)
    if texts.ids is not None:
        also |= texts.ids[:, None] == texts.ids[None, :]
    return also.fill_diagonal_(False)


def info_nce(logits: Tensor, partners: Tensor, left_out: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Returns the mean cross entropy of rows of `logits` (N, M) against their partners.

    Args:
        logits: (N, M) scaled similarities.
        partners: (N,) the column of each row's partner.
        left_out: (N, M) columns that are neither partner nor negative.
        smoothing: Label smoothing over the columns that are not left out.
    """
    logs = logits.masked_fill(left_out, -torch.inf).log_softmax(dim=1)
    hard = -logs.gather(1, partners[:, None])[:, 0]
    if not smoothing:
        return hard.mean()
    even = -logs.masked_fill(left_out, 0.0).sum(dim=1) / (~left_out).sum(dim=1)
    return ((1 - smoothing) * hard + smoothing * even).mean()


def contrast(
    images: Encoded, texts: Encoded, to_texts: Tensor, to_images: Tensor, *, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Returns InfoNCE of images to texts and of texts to images; see `info_nce` and `no_negatives`.

    Args:
        images: N images.
        texts: N texts, text k the partner of image k.
        to_texts: (n, N) logits of the images in `images.rows`.
        to_images: (n, N) logits of the texts in `texts.rows`.
        smoothing: Label smoothing.
    """
    also = no_negatives(images, texts)
    return (
        info_nce(to_texts, own_positions(images), also[images.rows], smoothing=smoothing),
        info_nce(to_images, own_positions(texts), also.T[texts.rows], smoothing=smoothing),
    )


def mean_of(image_to_text: Tensor, text_to_image: Tensor) -> dict[str, Tensor]:
    """Returns the terms of an objective whose loss is the mean of two directions."""
    return {
        "loss": (image_to_text + text_to_image) / 2,
        "image_to_text": image_to_text.detach(),
        "text_to_image": text_to_image.detach(),
    }


def among_pairs(images: Encoded, texts: Encoded, to_texts: Tensor, to_images: Tensor) -> Tensor:
    """Returns the InfoNCE of both directions among the images and texts of a batch that have partners in it.

    A text that is word for word the partner's counts as partner, too. Zero where the batch has no pair.

    Args:
        images: I images.
        texts: T texts.
        to_texts: (i, T) logits of the images in `images.rows`.
        to_images: (t, I) logits of the texts in `texts.rows`.
    """
    own = same_study(images, texts)
    of_pairs = own.any(dim=0)
    if texts.ids is not None:
        own = product(own.float(), (texts.ids[:, None] == texts.ids[None, :]).float()) > 0
    own = own & of_pairs
    forward = _found(to_texts, own[images.rows], of_pairs)
    return (forward + _found(to_images, own.T[texts.rows], own.any(dim=1))) / 2


def _found(logits: Tensor, own: Tensor, columns: Tensor) -> Tensor:
    """Returns the mean cross entropy of those rows of `logits` (N, M) that have `own` (N, M) among `columns` (M,)."""
    share = own / own.sum(dim=1, keepdim=True).clamp(min=1)
    return soft_cross_entropy(logits.masked_fill(~columns, MASKED), share, own.any(dim=1))


def soft_cross_entropy(logits: Tensor, targets: Tensor, rows: Tensor | None = None) -> Tensor:
    """Returns the mean cross entropy of rows of `logits` (N, M), those of `rows` (N,), against `targets` (N, M)."""
    return _mean(-(targets * logits.log_softmax(dim=1)).sum(dim=1), rows)


def ranked(logits: Tensor, true: Tensor, false: Tensor) -> Tensor:
    """Returns how far rows of `logits` (N, M) have `false` columns above `true` ones, the mean over rows with both.

    The LSEP loss of Li et al. 2017 (arXiv 1704.03135, equation 5) with the mean over pairs in place of their sum:
    log(1 + mean of exp(false - true)). One of a few counts as much as one of many. 0 where no row has both.

    Args:
        logits: (N, M).
        true: (N, M) booleans.
        false: (N, M) booleans.
    """
    above, below = _log_mean_exp(logits, false), _log_mean_exp(-logits, true)
    return _mean(functional.softplus(above + below), true.any(dim=1) & false.any(dim=1))


def _log_mean_exp(values: Tensor, counted: Tensor) -> Tensor:
    """Returns (N,), the logarithm of the mean of exp of those `values` (N, M) that are `counted`; low where none is."""
    return values.masked_fill(~counted, MASKED).logsumexp(dim=1) - counted.sum(dim=1).clamp(min=1).log()


def entropy(targets: Tensor, rows: Tensor | None = None) -> Tensor:
    """Returns the mean entropy of distributions (N, M), of `rows` (N,): what no model's cross entropy goes below."""
    return _mean(-torch.xlogy(targets, targets).sum(dim=1), rows)


def _mean(values: Tensor, rows: Tensor | None) -> Tensor:
    """Returns the mean of `values` (N,) over `rows` (N,), 0 where there are none."""
    return values.mean() if rows is None else (values * rows).sum() / rows.sum().clamp(min=1)


def check_pairs(name: str, images: Encoded, texts: Encoded) -> None:
    """Checks that image k and text k can be partners.

    Raises:
        UserError: There are not as many images as texts.
    """
    if len(images) != len(texts):
        raise UserError(
            f"{name} compares image k with text k and needs as many texts as images; "
            f"found {len(images)} and {len(texts)}."
        )
