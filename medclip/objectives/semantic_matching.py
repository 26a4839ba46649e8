"""Semantic matching: soft targets from labels, so that images and texts need no pairs (MedCLIP's objective)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from labelers.errors import UserError
from medclip.encoded import Encoded
from medclip.objectives import Objective
from medclip.objectives._targets import (
    MASKED,
    SIMILARITIES,
    among_pairs,
    cosines,
    entropy,
    label_similarity,
    ranked,
    same_study,
    soft_cross_entropy,
    speak_of_the_same,
)

FORMS = ("softmax", "sigmoid")
UNKNOWNS = ("differ", "mask")


@dataclass(frozen=True)
class _Pairs:
    """What images (rows) and texts (columns) are to each other.

    Attributes:
        similarity: Similarity of their label vectors.
        own: Whether they belong to one study, where that counts.
        known: Whether both speak of some observation, where that counts.
    """

    similarity: Tensor
    own: Tensor | None
    known: Tensor | None

    def of(self, rows: slice | Tensor) -> _Pairs:
        """Returns some of the rows."""
        own, known = (None if matrix is None else matrix[rows] for matrix in (self.own, self.known))
        return _Pairs(self.similarity[rows], own, known)

    def turned(self) -> _Pairs:
        """Returns texts as rows and images as columns."""
        own, known = (None if matrix is None else matrix.T for matrix in (self.own, self.known))
        return _Pairs(self.similarity.T, own, known)

    def among(self, which: Tensor) -> _Pairs:
        """Returns the same with those that are not of `which`, (I, T) or (1, T), left out."""
        known = which if self.known is None else self.known & which
        return _Pairs(self.similarity, self.own, known.expand_as(self.similarity))

    def counted(self) -> Tensor | None:
        """Returns which pairs count, None where all do."""
        return self.known if self.known is None or self.own is None else self.known | self.own


class SemanticMatching(Objective):
    """Pulls images and texts together as far as their labels agree.

    Each image's distribution over the texts of the batch is pulled towards the softmax of their label similarity,
    and each text's over the images likewise (Wang et al. 2022, MedCLIP, arXiv 2210.10163, section 3.3). Two
    patients with the same disease are no negatives of each other, and any image can be compared with any text.

    Needs label vectors on both sides; I and T may differ. With pairs and no labels take `clip`. The defaults are the
    paper's. What the options are for, and what each was found to do, is in docs/objectives.md.

    Args:
        similarity: "cosine" as in the paper; "dot", the official code's unbounded product; or "claims", how much of
            what the text claims holds for the image.
        target_temperature: Divides the similarity before its softmax. 1.0 is the paper; with unit similarities
            that leaves targets close to uniform over a large batch, and smaller values sharpen them.
        rarity: Observations count as their prevalence to the power of minus this; 0 counts all alike.
        form: "softmax", or "sigmoid": each combination is a question of its own, whose answer is the similarity (the
            loss of SigLIP, Zhai et al. 2023, with soft targets); contradictions count as 0.
        pair_weight: Share of the target that goes to texts of the image's own study, where the batch has any.
        pair_loss: Weight of a second loss, in which images and the texts of their own studies find each other among
            the pairs of the batch (InfoNCE, as `clip`). Semantic matching then sees the other texts only. For
            batches of which a share is paired, with whole reports as partners: it teaches what the labels do not
            tell, such as sides.
        ranking: Weight of a further loss, in which each text has the images that its claims hold for above those that
            they are false of, and each image likewise the texts (LSEP, Li et al. 2017). In a softmax a text that holds
            for nearly every image, as most denials do, has a nearly flat target and teaches little; here the few that
            it is false of count as much as the many.
        classification: Weight of a further loss, in which a linear head tells the labels of an image from its embedding
            (binary cross-entropy over what is known of it; an uncertain 0.5 is half a positive). The head is of use in
            training alone.
        unknown: What an image and a text are to each other that speak of no observation in common, when label vectors
            tell silence (0) from denial (-1): "differ", like a pair whose labels disagree, as in the paper; or "mask",
            left out of the loss, and what the image is silent about does not count in "claims". For images that are
            labelled for some of the observations only.
        self_trust: Share of the target that is the model's own answer, against wrong labels (Reed et al. 2015,
            arXiv 1412.6596, equation 6).

    Examples:
        >>> objective = SemanticMatching(target_temperature=0.2)
        >>> terms = objective(images, texts, model.logit_scale.exp())
        >>> terms["loss"].backward()
    """

    needs_labels = True

    def __init__(
        self,
        *,
        similarity: str = "cosine",
        target_temperature: float = 1.0,
        rarity: float = 0.0,
        form: str = "softmax",
        pair_weight: float = 0.0,
        pair_loss: float = 0.0,
        ranking: float = 0.0,
        classification: float = 0.0,
        unknown: str = "differ",
        self_trust: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("similarity", similarity, SIMILARITIES), ("form", form, FORMS), ("unknown", unknown, UNKNOWNS)
        ):  # fmt: skip
            if value not in known:
                raise UserError(f"semantic_matching: {name} {value!r} is none of {', '.join(known)}.")
        if not target_temperature > 0 or rarity < 0:
            raise UserError(
                f"semantic_matching: target_temperature must be above 0 and rarity at least 0; found "
                f"{target_temperature}, {rarity}."
            )
        if not 0 <= pair_weight <= 1 or not 0 <= self_trust < 1:
            raise UserError(
                f"semantic_matching: pair_weight and self_trust are shares; found {pair_weight}, {self_trust}."
            )
        if pair_loss < 0 or (pair_loss and (pair_weight or form != "softmax")):
            raise UserError(
                f"semantic_matching: pair_loss is a weight of at least 0 that goes with form softmax and without "
                f"pair_weight; found {pair_loss}, with form {form} and pair_weight {pair_weight}."
            )
        if ranking < 0 or (ranking and form != "softmax"):
            raise UserError(
                f"semantic_matching: ranking is a weight of at least 0 that goes with form softmax; found {ranking}, "
                f"with form {form}."
            )
        self.similarity, self.target_temperature, self.rarity = similarity, target_temperature, rarity
        if classification < 0:
            raise UserError(f"semantic_matching: classification is a weight of at least 0; found {classification}.")
        self.pair_loss, self.ranking, self.classification = pair_loss, ranking, classification
        self.form, self.pair_weight, self.self_trust, self.unknown = form, pair_weight, self_trust, unknown
        self.observation_weights: Tensor | None
        self.register_buffer("observation_weights", None)
        if form == "sigmoid":
            self.bias = nn.Parameter(torch.tensor(-2.0))
            self.initial_scale = 10.0

    def begin(self, *, dim: int, prevalence: Tensor, images: int = 0) -> None:
        """Sets the weight of each observation by its prevalence, and makes the head of the classification."""
        if self.classification:
            self.head = nn.Linear(dim, len(prevalence), device=prevalence.device)
        if self.rarity:
            weights = prevalence.clamp(min=1e-3) ** -self.rarity
            self.observation_weights = weights / weights.mean()

    def forward(self, images: Encoded, texts: Encoded, scale: Tensor) -> dict[str, Tensor]:
        """Returns "loss", its two directions, and "excess": the loss above what any model must pay.

        Raises:
            UserError: A side has no label vectors.
        """
        if images.labels is None or texts.labels is None:
            raise UserError("semantic_matching needs label vectors of images and texts; one side has none.")
        similarity = self.label_similarity(images.labels, texts.labels)
        known = speak_of_the_same(images.labels, texts.labels) if self.unknown == "mask" else None
        to_texts, to_images = cosines(images, texts)
        pairs = _Pairs(similarity, same_study(images, texts) if self.pair_weight else None, known)
        if self.form == "sigmoid":
            return self._with_classes(self._pairwise(to_texts, pairs.of(images.rows), scale), images)
        alone = None
        if self.pair_loss:
            assert texts.study_ids is not None
            alone = texts.study_ids < 0
            pairs = pairs.among(alone[None, :])
        of_images = self._direction(to_texts, pairs.of(images.rows), scale)
        of_texts = self._direction(
            to_images, pairs.turned().of(texts.rows), scale, rows=None if alone is None else alone[texts.rows]
        )
        loss = (of_images[0] + of_texts[0]) / 2
        terms = {
            "image_to_text": of_images[0].detach(),
            "text_to_image": of_texts[0].detach(),
            "excess": (loss - (of_images[1] + of_texts[1]) / 2).detach(),
        }
        if self.ranking:
            of_ranks = self._ranks(to_texts, to_images, images, texts, pairs, scale)
            loss = loss + self.ranking * of_ranks
            terms["ranking"] = of_ranks.detach()
        if self.pair_loss:
            of_pairs = among_pairs(images, texts, scale * to_texts, scale * to_images)
            loss = loss + self.pair_loss * of_pairs
            terms["pairs"] = of_pairs.detach()
        return self._with_classes({"loss": loss, **terms}, images)

    def _with_classes(self, terms: dict[str, Tensor], images: Encoded) -> dict[str, Tensor]:
        """Returns `terms` with the loss of the classification of `images` added, if it is wanted."""
        if not self.classification:
            return terms
        assert images.labels is not None
        embeds, labels = images.embeds[images.rows], images.labels[images.rows].float()
        logits = self.head(embeds * embeds.shape[1] ** 0.5)  # entries of unit length vectors are small
        each = functional.binary_cross_entropy_with_logits(logits, labels.clamp(min=0), reduction="none")
        everywhere = (images.labels != 0).sum().clamp(min=1) * len(labels) / len(images)  # so that processes agree
        loss = (each * (labels != 0)).sum() / everywhere
        return terms | {"loss": terms["loss"] + self.classification * loss, "classification": loss.detach()}

    def _direction(
        self, cosine: Tensor, pairs: _Pairs, scale: Tensor, rows: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns the loss of the rows of one side (those of `rows`) against the other, and the least it can be."""
        logits, like = scale * cosine, pairs.similarity / self.target_temperature
        counted = pairs.counted()
        if counted is not None:
            logits, like = logits.masked_fill(~counted, MASKED), like.masked_fill(~counted, MASKED)
        target = like.softmax(dim=1)
        if pairs.own is not None:
            target = self.with_pairs(target, pairs.own)
        if self.self_trust:
            target = (1 - self.self_trust) * target + self.self_trust * logits.softmax(dim=1).detach()
        return soft_cross_entropy(logits, target, rows), entropy(target, rows)

    def _ranks(
        self, to_texts: Tensor, to_images: Tensor, images: Encoded, texts: Encoded, pairs: _Pairs, scale: Tensor
    ) -> Tensor:
        """Returns the ranking loss of both directions."""
        counted = pairs.counted()
        true, false = pairs.similarity > 0, pairs.similarity < 0
        if counted is not None:
            true, false = true & counted, false & counted
        forward = ranked(scale * to_texts, true[images.rows], false[images.rows])
        return (forward + ranked(scale * to_images, true.T[texts.rows], false.T[texts.rows])) / 2

    def label_similarity(self, image_labels: Tensor, text_labels: Tensor) -> Tensor:
        """Returns how alike label vectors (I, O) and (T, O) are, (I, T), with the weights of observations."""
        return label_similarity(
            image_labels, text_labels, kind=self.similarity, weights=self.observation_weights,
            known_only=self.unknown == "mask",
        )  # fmt: skip

    def with_pairs(self, target: Tensor, own: Tensor) -> Tensor:
        """Returns targets of which rows with partners give `pair_weight` to them, in equal parts."""
        count = own.sum(dim=1, keepdim=True)
        weight = self.pair_weight * (count > 0)
        return (1 - weight) * target + weight * own / count.clamp(min=1)

    def _pairwise(self, cosine: Tensor, pairs: _Pairs, scale: Tensor) -> dict[str, Tensor]:
        target, counted = pairs.similarity.clamp(0, 1), pairs.counted()
        if pairs.own is not None:
            target = torch.where(pairs.own, target.clamp(min=self.pair_weight), target)
        logits = scale * cosine + self.bias
        if self.self_trust:
            target = (1 - self.self_trust) * target + self.self_trust * logits.sigmoid().detach()
        weight = None if counted is None else counted.to(target.dtype)
        loss = functional.binary_cross_entropy_with_logits(logits, target, weight, reduction="none").sum(dim=1).mean()
        floor = functional.binary_cross_entropy(target, target, weight, reduction="none").sum(dim=1).mean()
        return {"loss": loss, "excess": (loss - floor).detach(), "bias": self.bias.detach()}
