"""What an evaluation leaves behind: metrics.json, tables, figures, a page to read, and a table on screen."""

from __future__ import annotations

import io
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from medclip.evaluation import figures
from medclip.evaluation.bootstrap import Metric
from medclip.evaluation.captions import figure_caption, table_caption
from medclip.evaluation.html import Page
from medclip.evaluation.shift import LEAST_REFERENCES
from medclip.utils.io import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from medclip.evaluation.evaluators import Result
    from medclip.evaluation.protocol import Protocol

#: Longest table that the page shows; longer ones are beside it.
_ROWS = 200
#: Means of single test sets that stand side by side.
_MEANS = ("auroc/mean", "auroc/seen", "auroc/unseen", "auroc/harmonic", "ap/mean", "f1/mean", "accuracy", "flip/mean")
_PLACES = (
    "Differences over the same observations, with intervals, are in the table of places of zero-shot. Effective "
    "robustness (Taori et al. 2020) is what is above the line through other models, between the logits of mean "
    "AUROC on the first test set and on another."
)
_TITLES = {
    "zero-shot": ("Zero-shot classification", "Asked with prompts, not trained on the task."),
    "flip": ("Flipped sentences", "A sentence of a report against the same with one state turned round."),
    "retrieval": ("Retrieval", "What is nearest to an image or a text, beside chance."),
    "few-shot": ("Few-shot", "A few labelled images, the real imbalance, nothing to tune on, many draws."),
    "linear-probe": ("Linear probe", "Logistic regressions on frozen features, with some and all of the labels."),
    "fine-tune": ("Fine-tuning", "The image tower trained further, with some and all of the labels."),
    "grounding": ("Grounding", "Maps of prompts against the boxes of readers, where there is something."),
    "detection": ("Detection", "Boxes by prompts against those of readers, where there is nothing, too."),
    "abstention": ("Abstention", "Rules that may say unsure, fitted on the validation split only."),
    "severity": ("Severity", "Rank correlation of a score with readers' severity scores."),
    "subgroups": ("Subgroups", "Errors at thresholds chosen on the validation split, by group of patients."),
    "attributes": ("Sides and sizes", "Prompts for one side or size against the other, on films with the finding."),
    "composed": ("Composed search", "A film, and what it should be without."),
    "prompt-styles": ("Prompt styles", "The same observations asked about in other words."),
    "calibration": ("Calibration", "Curves and thresholds fitted on the validation split only."),
}


@dataclass(frozen=True)
class Results:
    """The results of an evaluation with what is needed to repeat it.

    Attributes:
        found: What each evaluator found of "model", "untrained" or "supervised".
        about: What is known of the images: split, images, patients, checksum, ...
        settings: Settings of the command.
        sources: Manifests of the prepared data.
        protocol: What was to be followed, if anything.
        departures: Where it was not.
        test_sets: The names of the image sources.
        apart: The results on each source alone, by name, where there are several.
        robustness: Expected and found values on each source but the first, see `medclip.runs.evaluate_shift`.
        left_out: Why evaluators found nothing, by name.
    """

    found: dict[tuple[str, str], Result]
    about: dict[str, Any]
    settings: dict[str, Any]
    sources: list[Any]
    protocol: Protocol | None
    departures: Sequence[str]
    test_sets: Sequence[str]
    apart: dict[str, Results] = field(default_factory=dict)
    robustness: pd.DataFrame = field(default_factory=pd.DataFrame)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def metrics(self, who: str = "model") -> dict[str, Metric]:
        """Returns all metrics of one of the compared."""
        parts = [result.metrics for (name, _), result in self.found.items() if name == who]
        return {key: value for part in parts for key, value in part.items()}

    def comparison(self) -> pd.DataFrame:
        """Returns the headline metrics (rows) of all that were compared (columns), with intervals, chance and counts.

        Columns for chance and for what was counted are there where a metric of the model knows them.
        """
        columns = list(dict.fromkeys(who for who, _ in self.found))
        by_column = {who: self.metrics(who) for who in columns}
        models = [result for (who, _), result in self.found.items() if who == "model"]
        wanted = [name for result in models for name in result.headline or result.metrics if name in result.metrics]
        rows = [[name, *(_cell(by_column[who].get(name)) for who in columns)] for name in wanted]
        table = pd.DataFrame(rows, columns=["metric", *columns])
        known = [self.metrics()[name] for name in wanted]
        if any(metric.chance == metric.chance for metric in known):
            table["chance"] = ["-" if m.chance != m.chance else f"{m.chance:.3f}" for m in known]
        if any(metric.count is not None for metric in known):
            table["n"] = ["-" if m.count is None else f"{m.count:,}" for m in known]
        return table

    def by_test_set(self) -> pd.DataFrame:
        """Returns the first headline means of each test set alone, a row a test set; empty where there is one only."""
        rows = []
        for name, one in self.apart.items():
            row = {"test set": name, "images": one.about["images"], "patients": one.about["patients"]}
            row |= {f"{what} trained on": one.about[f"{what}_trained_on"] for what in ("patients", "images")}
            means = {key: metric for key, metric in one.metrics().items() if key in _MEANS}
            rows.append(row | {key: _cell(metric) for key, metric in means.items()} | {"auroc by chance": "0.500"})
        return pd.DataFrame(rows).fillna("-")

    def beside_published(self) -> pd.DataFrame:
        """Returns ours beside what was published on the same test set by the same protocol."""
        if self.protocol is None:
            return pd.DataFrame()
        rows = self.protocol.beside(self.test_sets, self.metrics())
        ours = self.about["images"]
        return pd.DataFrame(
            [(p.test_set, p.metric, p.model, p.value, round(value, 4), p.images, ours) for p, value in rows],
            columns=["test set", "metric", "published model", "published", "this model", "their images", "ours"],
        )

    def write(self, output: Path) -> None:
        """Writes everything below `output`, each file whole or not at all."""
        output.mkdir(parents=True, exist_ok=True)
        earlier = (output / "metrics.json").is_file()
        for who in ("model", "untrained", "supervised") if earlier else ():
            for kind in ("csv", "png"):  # of an earlier evaluation, which may have been another
                for path in output.glob(f"{who}-*.{kind}"):
                    path.unlink()
        how = {"settings": self.settings, "sources": self.sources, "versions": versions(), "git": git_state()}
        metrics: dict[str, Any] = dict(self.about)
        for (who, name), result in self.found.items():
            metrics.setdefault(who, {})[name] = {
                key: None if value != value else round(float(value), 6) for key, value in result.numbers.items()
            }
            for table_name, table in result.tables.items():
                path = output / f"{who}-{table_name}.csv"
                write_atomically(path, lambda part, table=table: table.round(6).to_csv(part, index=False))  # type: ignore[misc]
            for figure_name, figure in result.figures.items():
                path = output / f"{who}-{figure_name}.png"
                write_atomically(path, lambda part, figure=figure: figure.savefig(part, dpi=120, format="png"))  # type: ignore[misc]
        if self.protocol is not None:
            metrics["protocol"] = {"name": self.protocol.name, "departures": list(self.departures)}
            metrics["protocol"]["published"] = json.loads(self.beside_published().to_json(orient="records"))
        metrics |= {"left_out": dict(self.left_out), "how": how}
        if self.apart:
            beside = {"test_sets": self.by_test_set(), "robustness": self.robustness}
            metrics |= {name: json.loads(table.to_json(orient="records")) for name, table in beside.items()}
        text = json.dumps(metrics, indent=2)
        write_atomically(output / "metrics.json", lambda path: path.write_text(text))
        page = self._page(how, output)
        write_atomically(output / "report.html", lambda path: path.write_text(page, encoding="utf-8"))

    def remarks(self) -> list[str]:
        """Returns what is to be said beside the numbers: what is left out, or not as in the protocol."""
        lines = [*self.left_out_lines(), *([self._without_line()] if self._without_line() else [])]
        if self.protocol is None:
            return lines
        lines += [f"Not as in {self.protocol.name}: {departure}." for departure in self.departures]
        if self.beside_published().empty:
            lines.insert(0, f"{self.protocol.name} has no published numbers on {', '.join(self.test_sets)}.")
        return lines

    def left_out_lines(self) -> list[str]:
        """Returns a line for each evaluator that found nothing, with the reason."""
        return [f"Left out: {name}. {why}" for name, why in self.left_out.items()]

    def _without_line(self) -> str:
        """Returns why there is no effective robustness, where there is none and it could be expected."""
        if not self.apart:
            return ""
        if self.robustness.empty:
            return (
                "No effective robustness: it needs zero-shot with --resamples, and observations that all test sets "
                "have enough of."
            )
        if self.robustness["effective robustness"].notna().all():
            return ""
        return (
            f"Effective robustness needs a line through {LEAST_REFERENCES} other models that differ on the first test "
            f"set; here: {self.robustness['reference models'].iloc[0]}. The plain difference stands alone. Name "
            "evaluated runs with --references."
        )

    def _page(self, how: dict[str, Any], output: Path) -> str:
        """Returns the page; its figures are those in `output`."""
        about = self.about
        page = Page(
            f"Evaluation of {self.settings['model']}",
            f"{about['images']:,} images of {about['patients']:,} patients, {about['split']} split of "
            f"{', '.join(self.test_sets)}. Research only: no output of this software is a diagnosis.",
        )
        page.section(
            "Summary",
            "Intervals are 95 % bootstrap intervals over patients; ± is the deviation over draws. Chance is what "
            "answers without looking get, n what a number is counted over: images, sentences, observations or draws.",
        )
        page.table(self.comparison(), self._where())
        compared = {who: self._areas(who) for who in ("model", "untrained", "supervised")}
        compared = {who: areas for who, areas in compared.items() if areas}
        if len(compared) > 1:
            page.figure(_png(figures.compared(compared)), "AUROC by observation, model and baselines. Dotted: chance.")
        for line in self.left_out_lines():
            page.text(line)
        if about.get("patients_trained_on"):
            page.text(f"{about['patients_trained_on']} of these patients were trained on, which flatters the model.")
        if self.apart:
            page.section("By test set", _PLACES)
            page.table(self.by_test_set(), "Each test set alone, over the observations it knows.")
            if len(self.robustness):
                page.table(self.robustness, "Over the observations that all test sets have enough of.")
            page.text(self._without_line())
        if self.protocol is not None:
            page.section(f"Protocol {self.protocol.name}", self.protocol.about)
            page.table(self.beside_published())
            page.text(f"Published numbers are quoted {self.protocol.quoted}.")
            for text in self.departures:
                page.text(f"Departs from it: {text}.")
            for text in self.protocol.differences:
                page.text(text)
        for (who, name), result in self.found.items():
            if who == "model":  # of the others the summary is enough; their tables are beside this page
                page.section(*_TITLES.get(name, (name, "")))
                for table_name, table in result.tables.items():
                    if len(table) <= _ROWS:
                        page.table(table, f"{table_caption(table_name)} {self._where()}")
                    else:
                        page.text(f"{len(table):,} rows are in {who}-{table_name}.csv.")
                for figure_name in result.figures:
                    png = (output / f"{who}-{figure_name}.png").read_bytes()
                    page.figure(png, figure_caption(figure_name))
                self._baselines(page, name, output)
        page.section("How to repeat it")
        page.code(yaml.safe_dump({**about, **how}, sort_keys=False, allow_unicode=True))
        return page.render()

    def _where(self) -> str:
        """Returns whose images a table is about."""
        about, names = self.about, ", ".join(self.test_sets)
        return f"{names}, {about['split']} split: {about['images']:,} images of {about['patients']:,} patients."

    def _areas(self, who: str) -> dict[str, Metric]:
        """Returns the AUROC of each observation that one of the compared has in common with the model."""
        found = {kind: result.metrics for (one, kind), result in self.found.items() if one == who}.get("zero-shot", {})
        names = list(next((r.tables["zero_shot"]["observation"] for (_, kind), r in self.found.items()
                           if kind == "zero-shot" and "zero_shot" in r.tables), ()))  # fmt: skip
        return {name: found[f"auroc/{name}"] for name in names if f"auroc/{name}" in found}

    def _baselines(self, page: Page, name: str, output: Path) -> None:
        """Adds the figures of the baselines, folded away."""
        for who in ("untrained", "supervised"):
            result = self.found.get((who, name))
            if result is not None and result.figures:
                page.fold(f"The same of the baseline: {who}")
                for figure_name in result.figures:
                    png = (output / f"{who}-{figure_name}.png").read_bytes()
                    page.figure(png, f"{who}: {figure_caption(figure_name)}")
                page.unfold()


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120, format="png")
    return buffer.getvalue()


def versions() -> dict[str, str]:
    """Returns the versions of what numbers depend on."""
    import numpy
    import sklearn
    import torch
    import torchvision
    import transformers

    import medclip

    modules = {"medclip": medclip, "torch": torch, "torchvision": torchvision, "transformers": transformers}
    modules |= {"numpy": numpy, "pandas": pd, "scikit-learn": sklearn}
    return {"python": platform.python_version(), **{name: str(module.__version__) for name, module in modules.items()}}


def git_state() -> dict[str, Any] | None:
    """Returns the commit this package runs from and whether files differ from it; None where it is no checkout."""
    folder = str(Path(__file__).parent)

    def git(*arguments: str) -> str:
        asked = ["git", "-C", folder, *arguments]
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", __file__)
        changed = bool(git("status", "--porcelain", "--untracked-files=no"))
        return {"commit": git("rev-parse", "HEAD"), "changed": changed}
    except (OSError, subprocess.SubprocessError):
        return None


def _cell(metric: Metric | None) -> str:
    if metric is None or metric.value != metric.value:
        return "-"
    if metric.low == metric.low:
        return f"{metric.value:.3f} ({metric.low:.3f}-{metric.high:.3f})"
    return f"{metric.value:.3f} ± {metric.sd:.3f}" if metric.sd == metric.sd else f"{metric.value:.3f}"
