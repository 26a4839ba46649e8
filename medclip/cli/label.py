"""medclip-label: weak labels for reports, why they were given, and how good they are."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelers.errors import UserError
from labelers.languages import refuse_foreign
from medclip.cli.config import read_config
from medclip.cli.console import command, print_table, progress_bar, with_threads
from medclip.runs.settings import LabelConfig
from medclip.sources import find_sources
from medclip.utils.parallel import run_jobs
from medclip.utils.text import names_in

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from labelers.labeler import Labeler
    from medclip.data.label_writer import LabelWriter
    from medclip.data.report_files import Report, Reports

logger = logging.getLogger(__name__)

_EXAMPLES = """\
examples:
  medclip-label reports.csv --id-column study_id --text-column findings,impression --output labels.csv --workers 0
  medclip-label mimic-cxr-reports.zip --output labels.parquet --sentences sentences.parquet
  medclip-label --explain report.txt --output page.html
  medclip-label reports.csv --vocabulary cxr50 --findings findings.jsonl
  medclip-label reports.csv --findings bundles.ndjson --findings-format fhir
  medclip-label openi=/data/openi --vocabulary nih14 --score gold.csv
  echo "No pleural effusion. The heart is enlarged." | medclip-label -

Output: the id and one column per observation: 1 positive, 0 negative, -1 uncertain, blank unmentioned.
Re-run the same command to resume an interrupted run. Report text is shown by --explain only, and written by --sentences
and --findings only. With --findings and no --output, no label file is written."""

_CHUNK = 1000
#: Reports on a page of explanations.
_ON_PAGE = 50


def run(argv: list[str]) -> int:
    """Labels the input, explains it or scores it."""
    config = read_config(
        LabelConfig, argv, prog="medclip-label", description="Label radiology reports.", examples=_EXAMPLES
    )
    options = tuple(sorted(_options(config).items()))
    if config.input == "-" and "-" not in argv and sys.stdin.isatty():
        raise UserError("Which reports? Name a file, a folder or a source, or write - to type one report.")
    reports = _read(config)
    if config.labeler == "chexbert":
        import torch

        torch.set_num_threads(with_threads(config).threads)
    labeler = _labeler(config.labeler, options)
    first = list(islice(reports.stream, _CHUNK))
    refuse_foreign([text for _, text in first], labeler, origin=config.input)
    reports = replace(reports, stream=chain(first, reports.stream))
    if config.explain:
        return _explain(config, labeler, reports)
    if config.score or config.compare:
        return _score(config, labeler, reports)
    counts, total, empty = Counter[tuple[str, int]](), 0, Counter[bool]()
    writer = _writer(config, labeler.observations)
    chunks = _counted(iter(lambda: list(islice(reports.stream, _CHUNK)), []), empty)
    findings = config.findings_format if config.findings else ""
    jobs = ((chunk, config.labeler, options, bool(config.sentences), findings) for chunk in writer.remaining(chunks))
    with progress_bar() as progress:
        for states, labels, *more in run_jobs(_label, jobs, workers=config.workers, engine=config.engine):
            if config.output == "-" and not config.findings:
                print(labels, end="")
            asked = zip((config.output != "-", config.sentences, config.findings), (labels, *more), strict=True)
            writer.append(len(states), *(rows for wanted, rows in asked if wanted))
            progress("labelling", writer.done, reports.total)
            for state in (1, 0, -1):
                for name, count in zip(labeler.observations, (states == state).sum(axis=0), strict=True):
                    counts[name, state] += int(count)
    total = writer.finish()
    if total == 0:
        raise UserError(f"{config.input} holds no reports.")
    if empty[True]:
        logger.warning("%d of %d reports are empty, and so are their labels", empty[True], empty.total())
    written = config.findings if config.output == "-" else config.output
    if written:
        rows = [[n, *(str(counts[n, s]) for s in (1, 0, -1))] for n in labeler.observations]
        print_table(f"{total} reports, {written}", ["observation", "positive", "negative", "uncertain"], rows)
    return 0


def _counted(chunks: Iterable[list[Report]], empty: Counter[bool]) -> Iterator[list[Report]]:
    """Yields chunks of reports, counting those without a text in `empty`."""
    for chunk in chunks:
        empty.update(not text.strip() for _, text in chunk)
        yield chunk


def _writer(config: LabelConfig, observations: Sequence[str]) -> LabelWriter:
    """Returns what writes the files that are asked for; on stdout only the heading is due."""
    from medclip.data.label_writer import LabelWriter

    head = ["id", *observations]
    if config.sentences and config.output == "-":
        raise UserError("--sentences needs --output to be a file too.")
    for path in (config.output, config.sentences):
        if path not in ("", "-") and Path(path).suffix not in (".csv", ".parquet"):
            raise UserError(f"{path}: labels are written to .csv or .parquet, or to - for standard output.")
    _check_findings(config)
    if config.output == "-" and not config.findings:
        print(",".join(head))
        return LabelWriter({}, settings={})
    heads = {config.output: head} if config.output != "-" else {}
    if config.sentences:
        heads[config.sentences] = ["id", "section", "position", "text", *observations]
    if config.findings:
        heads[config.findings] = []
    return LabelWriter(
        heads, settings={key: value for key, value in asdict(config).items() if key not in ("workers", "engine")}
    )


def _check_findings(config: LabelConfig) -> None:
    """Refuses what cannot give or hold findings, before any report is read."""
    from labelers.exports import load_export

    load_export(config.findings_format)
    if config.findings and config.labeler != "rules":
        raise UserError("--findings needs --labeler rules; a network gives labels only.")
    if config.findings and Path(config.findings).suffix not in (".jsonl", ".ndjson"):
        raise UserError(f"--findings {config.findings}: findings are JSON lines. Name a .jsonl or .ndjson file.")


def _options(config: LabelConfig) -> dict[str, Any]:
    config.check_labeler()
    if config.labeler == "rules":
        return {
            "vocabulary": config.vocabulary, "profile": config.profile, "attributes": tuple(names_in(config.attributes))
        }  # fmt: skip
    return {"checkpoint": config.checkpoint}


@lru_cache(maxsize=2)
def _labeler(name: str, options: tuple[tuple[str, Any], ...]) -> Labeler:
    from labelers import load_labeler

    return load_labeler(name, **dict(options))


def _read(config: LabelConfig) -> Reports:
    from medclip.data.report_files import Reports, read_reports
    from medclip.utils.plugins import plugin_names

    name = config.input.partition("=")[0]
    if name in plugin_names("sources") and not Path(config.input).exists():
        found = find_sources(config.input, data_root=config.data_root, options=config.source_options)
        texts = found[0].texts()
        if texts is None:
            raise UserError(f"Source {name!r} has no texts here.")
        return Reports(iter(zip(texts["study_id"], texts["text"], strict=True)), len(texts))
    columns = [column.strip() for column in config.text_column.split(",") if column.strip()]
    return read_reports(
        config.input, id_column=config.id_column, text_columns=columns, lines=config.lines, encoding=config.encoding
    )


_Job = tuple[list["Report"], str, tuple[tuple[str, Any], ...], bool, str]


def _label(
    reports: list[Report], name: str, options: tuple[tuple[str, Any], ...], with_sentences: bool, findings: str
) -> tuple[np.ndarray, str, str, str]:
    """Returns states of `reports`, the rows of the label file, of the sentence file and of the findings file."""
    labeler: Any = _labeler(name, options)
    texts = [text for _, text in reports]
    if findings:
        from labelers.exports import load_export

        export = load_export(findings)
        states, found = labeler.labels_and_findings(texts)
        records = "".join(export(*report, f, labeler=labeler.name) for report, f in zip(reports, found, strict=True))
    else:
        states, records = labeler(texts), ""
    labels = _csv([name for name, _ in reports], states)
    return states, labels, _sentence_rows(labeler, reports) if with_sentences else "", records


def _sentence_rows(labeler: Any, reports: list[Report]) -> str:
    rows = [
        (name, section, str(position), text[start:end])
        for name, text in reports
        for position, (section, (start, end)) in enumerate(labeler.sentences(text))
    ]
    return _csv(rows, labeler.label_sentences([row[-1] for row in rows])) if rows else ""


def _csv(heads: Sequence[Any], states: np.ndarray) -> str:
    """Returns CSV lines: an id (or several columns), then the states, blank where unmentioned."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for head, row in zip(heads, states.tolist(), strict=True):
        columns = [head] if isinstance(head, str) else list(head)
        writer.writerow(columns + ["" if state != state else int(state) for state in row])
    return text.getvalue()


def _explain(config: LabelConfig, labeler: Any, reports: Reports) -> int:
    if config.labeler != "rules":
        raise UserError("--explain needs --labeler rules; a network has no rules to show.")
    if config.output != "-":
        if not config.output.endswith((".html", ".json")):
            raise UserError(f"{config.output}: explanations are written to .html or .json, or to - for the screen.")
        return _write_explained(Path(config.output), labeler, reports)
    from labelers.explain import explain_rows

    for name, text in reports.stream:
        columns = ["observation", "state", "mention", "attributes", "cue", "rule"]
        rows = [[row[column] for column in columns] for row in explain_rows(text, labeler.explain(text))]
        print_table(name, columns, rows)
    return 0


def _write_explained(path: Path, labeler: Any, reports: Reports) -> int:
    """Writes a page of the first reports, or the first report as JSON; says how many are left out."""
    from labelers.explain import explain_json, explain_page
    from medclip.utils.io import write_atomically

    shown = list(islice(reports.stream, _ON_PAGE if path.suffix == ".html" else 1))
    if not shown:
        raise UserError("There are no reports to explain.")
    left_out = sum(1 for _ in reports.stream)
    text = explain_json(labeler, shown[0][1]) if path.suffix == ".json" else None
    page = text or explain_page(labeler, shown, left_out=left_out)
    write_atomically(path, lambda part: part.write_text(page, encoding="utf-8"))
    more = f"; {left_out} are left out. All of them, as records: --findings FILE.jsonl" if left_out else ""
    print(f"{path}: explains {len(shown)} of {len(shown) + left_out} reports{more}")
    return 0


def _score(config: LabelConfig, labeler: Labeler, reports: Reports) -> int:
    """Prints precision, recall and F1 against given labels, or agreement with them."""
    import pandas as pd

    from medclip.runs.score_labels import score_labels

    path = config.score or config.compare
    agreement = score_labels(labeler, reports, Path(path), id_column=config.id_column)
    title = f"{labeler.name}, {len(agreement.ids)} reports, {path}"
    if config.compare:
        rows = [[name, f"{value:.3f}"] for name, value in agreement.kappas().items()]
        print_table(f"{title}: Cohen's kappa", ["observation", "kappa"], rows)
        return 0
    rates = agreement.rates()
    for state, table in rates.items():
        _print_rates(f"{title}: {state}", table)
    if config.output != "-":
        pd.concat(rates.values()).to_csv(config.output, index=False)
    return 0


def _print_rates(title: str, table: pd.DataFrame) -> None:
    rates = ("precision", "recall", "f1")
    rows = [
        [row["observation"], str(row["count"])]
        + [f"{row[rate]:.3f} ({row[f'{rate}_low']:.3f}-{row[f'{rate}_high']:.3f})" for rate in rates]
        for _, row in table.iterrows()
    ]
    print_table(title, ["observation", "count", *rates], rows)


main = command(run)
