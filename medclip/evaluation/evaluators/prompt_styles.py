"""Prompt styles: how far the same questions get different answers when they are worded otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from labelers.errors import UserError
from medclip.data.tables import label_matrix
from medclip.evaluation import figures
from medclip.evaluation.bootstrap import Metric, Sampled, bootstrap, mean_sampled, sample
from medclip.evaluation.evaluators import EvaluationData, Evaluator, Result
from medclip.evaluation.films import Answers
from medclip.evaluation.metrics import auroc
from medclip.inference.classifier import ZeroShotClassifier
from medclip.inference.embed import embed_images
from medclip.inference.prompts import Prompts, load_prompts, select_prompts

if TYPE_CHECKING:
    from medclip.models import MedCLIPModel, MedCLIPProcessor

#: Prompt sets of the styles that are called otherwise.
SETS = {"report": "chexpert14", "zh": "chexpert14-zh"}
#: Share of tokens that the tokenizer may not know, for a style to be asked at all.
_UNKNOWN = 0.2


class PromptStyles(Evaluator):
    """Mean AUROC by style of the prompts, and the spread over styles: a model that understands has little.

    The same observations are asked about in the wording of reports, tersely ("x", "no x"), in plain language, as
    answered questions, misspelt, and in Chinese. `styles/auroc/STYLE` is the mean over the same observations in each;
    `styles/spread` is the best style less the worst, `styles/deviation` the deviation over styles, `styles/lowest` the
    worst style, all over the same resamples of patients. A style whose letters the tokenizer does not know is named
    and left out.

    It can mislead: styles differ in the number of prompts, which helps the longer ones, and the best less the worst of
    several is above 0 by chance alone: compare it between models. A model that answers at random has no spread either.

    Args:
        data: Images and their states.
        seed: Seed of the bootstrap.
        observations: Observations to ask about; by default all that have states, and prompts in every style.
        styles: Styles: report, terse, plain, question, misspelt, zh; or any prompt set by name, or file.
        ensemble: What several prompts come to, see `medclip.inference.scoring`.
        resamples: Number of bootstrap resamples over patients; 0 for none.
        min_count: Positives and negatives an observation needs to count.
    """

    primary = "styles/lowest"
    settings: ClassVar[Mapping[str, str]] = {"styles": "prompt_styles"}

    def __init__(
        self,
        data: EvaluationData,
        *,
        seed: int = 0,
        observations: Sequence[str] = (),
        styles: Sequence[str] = ("report", "terse", "plain", "question", "misspelt", "zh"),
        ensemble: str = "embeddings",
        resamples: int = 1000,
        min_count: int = 5,
    ) -> None:
        sets = {style: load_prompts(SETS.get(style, style)) for style in styles}
        self._data, self._table, self._ensemble = data, data.rows(), ensemble
        states = {name: label_matrix(self._table, [name])[:, 0] for name in data.observations(observations)}
        self._states = {
            name: column
            for name, column in states.items()
            if all(name in prompts and prompts[name].negative for prompts in sets.values())
            and min((column == 1).sum(), (column == 0).sum()) >= min_count
        }
        if not self._states:
            raise UserError(
                f"prompt-styles: no observation has {min_count} positive and {min_count} negative images, and prompts "
                f"in each of {', '.join(styles)}. Images have states of {', '.join(states) or 'nothing'}."
            )
        self._sets = {style: select_prompts(prompts, list(self._states)) for style, prompts in sets.items()}
        self._resamples = bootstrap(self._table["patient_id"].to_numpy(), resamples=resamples, seed=seed)

    def __call__(self, model: MedCLIPModel, processor: MedCLIPProcessor) -> Result:
        """Encodes every image once, and the prompts of each style."""
        unknown = {style: unknown_share(processor, prompts) for style, prompts in self._sets.items()}
        asked = [style for style, share in unknown.items() if share <= _UNKNOWN]
        if not asked:
            raise UserError(f"prompt-styles: the tokenizer knows the letters of none of {', '.join(self._sets)}.")
        images = embed_images(model, self._table["_key"].tolist(), processor, cache=self._data.cache)
        classifiers = {
            style: ZeroShotClassifier(model, processor, self._sets[style], ensemble=self._ensemble) for style in asked
        }
        scores = {style: classifier.scores(images) for style, classifier in classifiers.items()}
        by_style = {style: self._areas(given) for style, given in scores.items()}
        means = {style: mean_sampled(list(areas.values())) for style, areas in by_style.items()}
        metrics = self._metrics(means)
        table = self._table_of(metrics, unknown)
        figure = figures.by_style({style: metrics[f"styles/auroc/{style}"] for style in asked})
        tables = {"prompt_styles": table, "prompt_styles_observations": self._by_observation(by_style)}
        answers = partial(
            Answers.by_threshold,
            self._table["_key"].tolist(), np.tile(np.column_stack(list(self._states.values())), len(asked)),
            np.column_stack(list(scores.values())), [f"{name} ({style})" for style in asked for name in self._states],
            directions=np.concatenate([classifier.directions() for classifier in classifiers.values()]),
        )  # fmt: skip
        return Result(metrics, tables=tables, figures={"prompt_styles": figure}, answers=answers)

    def _areas(self, scores: np.ndarray) -> dict[str, Sampled]:
        """Returns the AUROC of each observation."""
        found = {}
        for j, (name, column) in enumerate(self._states.items()):
            known = np.isin(column, (0.0, 1.0))
            drawn = None if self._resamples is None else self._resamples.take(known)
            found[name] = sample(partial(auroc, column[known] == 1, scores[known, j]), drawn)
        return found

    def _metrics(self, means: Mapping[str, Sampled]) -> dict[str, Metric]:
        many = len(self._states)
        metrics = {
            f"styles/auroc/{style}": replace(one.metric(), count=many, chance=0.5) for style, one in means.items()
        }
        if len(means) > 1:
            values = np.array([one.value for one in means.values()])
            drawn = np.stack([one.drawn for one in means.values()])
            for name, over in (("spread", np.ptp), ("deviation", partial(np.std, ddof=1)), ("lowest", np.min)):
                one = Sampled(float(over(values)), np.asarray(over(drawn, axis=0)))
                metrics[f"styles/{name}"] = replace(one.metric(), count=len(means))
            metrics["styles/lowest"] = replace(metrics["styles/lowest"], chance=0.5)
        return metrics

    def _table_of(self, metrics: Mapping[str, Metric], unknown: Mapping[str, float]) -> pd.DataFrame:
        rows = []
        for style, prompts in self._sets.items():
            metric = metrics.get(f"styles/auroc/{style}", Metric(float("nan")))
            example = next(iter(prompts.values()))
            row = {"style": style, "observations": len(prompts), "images": len(self._table)}
            row |= {"auroc": metric.value, "auroc_low": metric.low, "auroc_high": metric.high, "chance": 0.5}
            row |= {"unknown tokens": unknown[style], "for instance": f"{example.positive[0]} / {example.negative[0]}"}
            rows.append(row)
        return pd.DataFrame(rows)

    def _by_observation(self, by_style: Mapping[str, Mapping[str, Sampled]]) -> pd.DataFrame:
        rows = []
        for name, column in self._states.items():
            values = {style: areas[name].value for style, areas in by_style.items()}
            row = {"observation": name, "positive": int((column == 1).sum()), "negative": int((column == 0).sum())}
            rows.append(row | {"chance": 0.5} | values | {"spread": max(values.values()) - min(values.values())})
        return pd.DataFrame(rows)


def unknown_share(processor: MedCLIPProcessor, prompts: Mapping[str, Prompts]) -> float:
    """Returns the share of the tokens of prompts that the tokenizer does not know."""
    texts = [text for entry in prompts.values() for text in (*entry.positive, *entry.negative)]
    tokens = [token for ids in processor.tokenizer(texts, add_special_tokens=False)["input_ids"] for token in ids]
    return float(np.mean([token == processor.tokenizer.unk_token_id for token in tokens]))
